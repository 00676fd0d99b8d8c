"""Find out who is who by running both models: what goes into a module says which layer it is.

Keras runs first, with random weights, and what each layer gets is noted. Then PyTorch runs once,
and before each of its modules does, the layer that got the same input is looked up and its
weights are put into the module: so the next module gets the right input too. Only layers that get
the very same input (query, key and value) stay open; those are tried one after the other, by the
evidence of their names first, within a budget of runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from converter.drafting.activations import Recorded, first_tensor, sums_of_tensor
from converter.drafting.candidates import Candidate
from converter.live.torch_module import from_array
from converter.mapping.rules import Pairing, Rule
from converter.planning.sides import Side
from converter.planning.steps import StepMaker
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.validation.running import run_torch


@dataclass(frozen=True, slots=True)
class Choice:
    """One module that could be several layers, as they all get the same input.

    Attributes:
        module: The module.
        taken: The layer that it was taken for.
        others: The other layers, the likeliest first.
    """

    module: str
    taken: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Aligned:
    """What one run found.

    Attributes:
        found: Layer path to module.
        order: Module to its place in the order of execution.
        choices: Modules that could be other layers.
        stopped_at: The first module that gets what no layer gets, or ``None``.
    """

    found: Mapping[str, str]
    order: Mapping[str, float]
    choices: tuple[Choice, ...] = ()
    stopped_at: str | None = None


class _Stop(BaseException):
    """Nothing behind this module can be recognised. No error: what runs the module lets it pass."""


@dataclass(slots=True)
class Aligner:
    """Recognises modules by what they get.

    Attributes:
        candidates: All candidates, the likeliest of each module first.
        recorded: What Keras' layers got.
        values: The random weights, by Keras tensor.
        manifests: Keras' and PyTorch's.
        module: The live PyTorch module; its weights are overwritten.
        inputs: What it is run on, positional and named.
    """

    candidates: Sequence[Candidate]
    recorded: Recorded
    values: Mapping[str, Array]
    manifests: tuple[Manifest, Manifest]
    module: Any
    inputs: tuple[Sequence[Array], Mapping[str, Array]]
    _of_module: dict[str, list[Candidate]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.candidates:
            self._of_module.setdefault(one.place.module, []).append(one)

    def run(self, forced: Mapping[str, str]) -> Aligned:
        """Run the PyTorch side once.

        Args:
            forced: Module to the layer it is to be taken for.

        Raises:
            UsageError: If the module raises.
        """
        state = _State(forced)
        with contextlib.ExitStack() as stack:
            for name, one in self.module.named_modules():
                if name in self._of_module:
                    stack.enter_context(self._hooked(name, one, state))
            with contextlib.suppress(_Stop):
                run_torch(self.module, *self.inputs)
        return Aligned(state.found, state.order, tuple(state.choices), state.stopped_at)

    @contextlib.contextmanager
    def _hooked(self, name: str, module: Any, state: _State) -> Iterator[None]:
        def before(_: Any, arguments: Any, keywords: Any) -> None:
            self._meet(name, first_tensor((arguments, keywords)), state)

        handle = module.register_forward_pre_hook(before, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def _meet(self, name: str, value: Any, state: _State) -> None:
        if value is None or name in state.order:
            return
        state.order[name] = float(len(state.order))
        got = sums_of_tensor(value)
        fitting = [
            one
            for one in self._of_module[name]
            if one.unit.path not in state.found
            and any(got.is_like(sums) for sums in self.recorded.inputs.get(one.unit.path, ()))
        ]
        if not fitting:
            if all(one.unit.path not in self.recorded.inputs for one in self._of_module[name]):
                return  # its layers were never heard of: nothing can be said
            state.stopped_at = name
            raise _Stop
        wanted = state.forced.get(name)
        chosen = next((one for one in fitting if one.unit.path == wanted), fitting[0])
        others = tuple(
            dict.fromkeys(one.unit.path for one in fitting if one.unit.path != chosen.unit.path)
        )
        if others:
            state.choices.append(Choice(name, chosen.unit.path, others))
        state.found[chosen.unit.path] = name
        self._fill(chosen)

    def _fill(self, one: Candidate) -> None:
        """Put a layer's weights into a module."""
        rule = Rule(one.kind.name, one.unit.layer.path, one.place.module)
        pairing = Pairing(rule, one.kind, rule.keras, rule.torch, one.sizes)
        maker = StepMaker(Side("keras", self.manifests[0]), Side("torch", self.manifests[1]), None)
        made: dict[str, Array] = {}
        for outcome in maker.outcomes(pairing):
            if outcome.step is not None:
                sources = [self.values[name] for name in outcome.step.sources]
                targets = outcome.step.operation.apply(sources)
                made.update(zip(outcome.step.targets, targets, strict=True))
        write_tensors(self.module, made)


@dataclass(slots=True)
class _State:
    forced: Mapping[str, str]
    found: dict[str, str] = field(default_factory=dict)
    order: dict[str, float] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)
    stopped_at: str | None = None


def write_tensors(module: Any, arrays: Mapping[str, Array]) -> None:
    """Set some tensors of a module in place."""
    import torch

    state = module.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, array in arrays.items():
            state[name].copy_(from_array(array))
