"""The graph of a PyTorch module's tensors: which take what others gave.

The module is run on tensors that have shapes and no values, and every function that gets one of
its tensors together with data is noted. Nothing is computed and nothing is written, so a module
on the ``meta`` device will do; one whose way depends on values has no graph.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from converter.drafting.flow import Flow, input_name
from converter.drafting.recording import Recorder, Sources, Tag, Trace, Use, without_log
from converter.live.torch_module import TorchModuleCheckpoint
from converter.tensors.dtype import Array
from converter.validation.running import evaluating, flatten_outputs

_STACKED = re.compile(r"_l([0-9]+)(_reverse)?$")


def trace(
    module: Any,
    inputs: tuple[Sequence[Array], Mapping[str, Array]],
    places: Sequence[int] | None = None,
) -> Trace | None:
    """Run a module without values.

    Args:
        module: A live ``torch.nn.Module``, on any device.
        inputs: What it takes, positional and named; only shapes and types matter.
        places: Which input of the other side each of them is; by default they have its order.

    Returns:
        The trace, or ``None`` where the module cannot be run so.
    """
    found: list[Trace] = []
    for on_meta in (True, False):
        # Whatever a foreign module raises on tensors without values, this is no way to trace it.
        with contextlib.suppress(Exception), kept(module), evaluating(module), without_log():
            found.append(_traced(module, *inputs, places=places, on_meta=on_meta))
        if found:
            return found[0]
    return None


def _traced(
    module: Any,
    positional: Sequence[Array],
    named: Mapping[str, Array],
    *,
    places: Sequence[int] | None,
    on_meta: bool,
) -> Trace:
    """Run a module on the ``meta`` device, or on tensors that only look as if they had values.

    The first takes a third of the time; the second serves modules that hold further tensors, which
    are on a device of their own.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    device = next((one.device for one in module.parameters()), torch.device("cpu"))
    recorder = Recorder(_names_of(module))
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if on_meta:
            device = torch.device("meta")
            _empty_tensors(module, lambda tensor: tensor.to(device), recorder)
        else:
            mode = stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
            _empty_tensors(module, mode.from_tensor, recorder)
        if device.type == "meta":
            stack.enter_context(device)
        given = [_empty(module, one, device) for one in positional]
        further = {name: _empty(module, one, device) for name, one in named.items()}
        every = [*given, *further.values()]
        for place, one in zip(places or range(len(every)), every, strict=True):
            recorder.tag(one, Tag(sources=frozenset({input_name(place)})))
        with recorder.listening():
            outputs = module(*given, **further)
    found = flatten_outputs(outputs).values()
    return Trace(recorder.uses, [recorder.of(one).sources for one in found])


def torch_flow(found: Trace, together: Iterable[frozenset[str]]) -> Flow:
    """Return the graph of a trace.

    Args:
        found: The trace.
        together: Tensors that are paired together, and so are one node.
    """
    uses = _unstacked(found.uses)
    node_of = _nodes([*(use.tensors for use in uses), *together])
    nodes = [node_of[min(use.tensors)] for use in uses]

    def named(sources: Sources) -> set[str]:
        return {nodes[int(one)] if one.isdigit() else one for one in sources}

    before: dict[str, set[str]] = {}
    for node, use in zip(nodes, uses, strict=True):
        before.setdefault(node, set()).update(named(use.sources))
    order = {node: float(place) for place, node in enumerate(before)}
    return Flow(
        {node: frozenset(sources - {node}) for node, sources in before.items()},
        [frozenset(named(sources)) for sources in found.results],
        order,
        {name: node for name, node in node_of.items() if node in before},
    )


def _nodes(groups: Iterable[frozenset[str]]) -> dict[str, str]:
    """Return tensor to node: tensors of one group, and of groups that overlap, are one."""
    above: dict[str, str] = {}

    def root(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    for group in groups:
        first, *others = sorted(group)
        for name in others:
            above[root(name)] = root(first)
        root(first)
    return {name: root(name) for name in list(above)}


def _unstacked(uses: Sequence[Use]) -> list[Use]:
    """Return the uses, those of a recurrent module of several layers as one after the other."""
    made: list[Use] = []
    last: dict[str, str] = {}
    for place, use in enumerate(uses):
        sources = frozenset(last.get(one, one) for one in use.sources)
        for tensors in _levels(use.tensors):
            made.append(Use(tensors, sources))
            sources = frozenset({str(len(made) - 1)})
        last[str(place)] = str(len(made) - 1)
    return made


def _levels(tensors: frozenset[str]) -> list[frozenset[str]]:
    """Return the tensors of each layer of a stack: ``weight_ih_l0`` comes before ``weight_ih_l1``.

    Examples:
        >>> [sorted(one) for one in _levels(frozenset({"a.w_l1", "a.w_l0", "a.w_l0_reverse"}))]
        [['a.w_l0', 'a.w_l0_reverse'], ['a.w_l1']]
    """
    levels: dict[int, set[str]] = {}
    for name in tensors:
        found = _STACKED.search(name)
        levels.setdefault(int(found.group(1)) if found else -1, set()).add(name)
    return [frozenset(levels[level]) for level in sorted(levels)]


def _names_of(module: Any) -> dict[int, str]:
    """Return the name of each tensor of a module, by its identity."""
    state = module.state_dict(keep_vars=True)
    names = {key: name for name, key in TorchModuleCheckpoint(module).keys.items()}
    found: dict[int, str] = {}
    for key, value in state.items():
        found.setdefault(id(value), names.get(key, key))
    return found


@contextlib.contextmanager
def kept(module: Any) -> Iterator[None]:
    """Take back what a module keeps of a run: a tensor without values is no good to anybody."""
    own = ("_parameters", "_buffers", "_modules")
    before = [
        (one, dict(one.__dict__), {key: dict(one.__dict__[key]) for key in own})
        for one in module.modules()
    ]
    try:
        yield
    finally:
        for one, attributes, parts in before:
            one.__dict__.clear()
            one.__dict__.update(attributes)
            for key, members in parts.items():
                attributes[key].clear()
                attributes[key].update(members)


def _empty_tensors(module: Any, emptied: Callable[[Any], Any], recorder: Recorder) -> None:
    """Put tensors without values in place of a module's own, so that nothing can change those.

    Names are kept for both: a recurrent module also holds its tensors in a list.
    """
    made: dict[int, Any] = {}
    for one in module.modules():
        for members in (one._parameters, one._buffers):  # noqa: SLF001 -- past setattr, which copies
            for key, tensor in members.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    made[id(tensor)] = emptied(tensor)
                members[key] = made[id(tensor)]
                if id(tensor) in recorder.names:
                    recorder.names[id(members[key])] = recorder.names[id(tensor)]


def _empty(module: Any, array: Array, device: Any) -> Any:
    import torch

    own = next((one for one in module.parameters() if one.is_floating_point()), None)
    dtype = torch.int64
    if array.dtype.kind not in "iub":
        dtype = torch.float32 if own is None else own.dtype
    elif array.dtype.kind == "b":
        dtype = torch.bool
    return torch.empty(array.shape, dtype=dtype, device=device)
