"""Which tensors of an ONNX file are parameters, and what each is called.

A name that the exporter kept is the parameter's. Else the module that the consuming node belongs
to gives the name, and never the shape. What no module and no name says keeps the name it has in
the file, and that is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from converter.formats.onnx_folding import find_folded_weight, is_folded
from converter.formats.onnx_graph import Model, Node, Tensor
from converter.formats.onnx_names import (
    find_module,
    is_dotted,
    is_torch,
    own_name,
    owner,
    plain,
    weight_after,
)
from converter.formats.onnx_placement import Parameter, Placement, as_stored, flat, transposed
from converter.formats.onnx_recurrent import INPUTS, Recurrent
from converter.formats.onnx_storage import Storage, Stored, is_convertible
from converter.formats.onnx_uses import RECURRENT, Use, Uses

_MAX_IDENTITY = 2**16  # elements that are compared with ones and zeros


@dataclass(slots=True)
class Parameters:
    """What a file holds.

    Attributes:
        named: Every parameter, in the order in which the graph takes them.
        ties: Further name to the name that holds the same values.
        unnamed: Names of parameters that nothing but the file names.
        folded: Modules whose parameters are products with those of a BatchNormalization.
        left_out: Tensors of types that are not converted.
        notices: Further sentences.
    """

    named: list[Parameter] = field(default_factory=list)
    ties: dict[str, str] = field(default_factory=dict)
    unnamed: list[str] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Candidate:
    """A tensor that is a parameter, with the names that it may have."""

    stored: Stored
    rank: int
    own: str | None
    placement: Placement
    claims: list[tuple[str, Placement]]
    aliases: list[str]


def find_parameters(model: Model, storage: Storage, path: Path) -> Parameters:
    """Return the parameters of a model.

    Args:
        model: What its file says.
        storage: Finds and checks values.
        path: The file, for messages.

    Raises:
        CheckpointError: If values and description contradict each other.
    """
    return _Finder(model, storage, path).find()


class _Finder:
    def __init__(self, model: Model, storage: Storage, path: Path) -> None:
        self._model = model
        self._storage = storage
        self._path = path
        self._uses = Uses(model)
        self._found = Parameters()
        self._is_torch = is_torch(model.producer)
        self._taken: set[str] = set()
        self._same: Counter[str] = Counter()
        self._ranked: list[tuple[int, Parameter]] = []

    def find(self) -> Parameters:
        self._recurrent()
        candidates = [
            candidate
            for tensor in self._model.tensors.values()
            if tensor.name not in self._taken and (candidate := self._candidate(tensor)) is not None
        ]
        self._name(candidates)
        self._folded()
        self._ranked.sort(key=lambda pair: pair[0])
        self._found.named = [parameter for _, parameter in self._ranked]
        return self._found

    # Recurrent nodes

    def _recurrent(self) -> None:
        numbered: dict[str, dict[tuple[str, ...], int]] = {}
        places: dict[tuple[str, ...], str] = {}
        for node in self._model.nodes:
            if node.op not in RECURRENT:
                continue
            names = tuple(self._uses.source(name) for name in (*node.inputs, "", "", "")[1:4])
            tensors = {
                part: self._storage.find(self._model.tensors[name])
                for part, name in zip(INPUTS.values(), names, strict=True)
                if name in self._model.tensors
            }
            if not tensors:
                continue
            module = self._recurrent_module(node, names)
            layers = numbered.setdefault(module, {})
            if names in layers:  # one layer that runs twice
                continue
            layers[names] = len(layers)
            layer = Recurrent(node, module, layers[names], tensors)
            self._found.notices.extend(layer.notices())
            for parameter in layer.parameters(self._path):
                self._recurrent_parameter(node, parameter, places)

    def _recurrent_module(self, node: Node, names: Iterable[str]) -> str:
        for name in names:
            own = own_name(name, self._model.producer)
            module = find_module(node, name) or (owner(own) if own else "")
            if module:
                return module
        return "" if self._is_torch else plain(node.name or node.op)

    def _recurrent_parameter(
        self, node: Node, parameter: Parameter, places: dict[tuple[str, ...], str]
    ) -> None:
        name = parameter.stored.spec.name
        self._taken.add(name)
        place = (name, repr(parameter.placement))
        first = places.setdefault(place, parameter.name)
        if first == parameter.name:
            self._ranked.append((node.number, parameter))
        else:
            self._found.ties[parameter.name] = first

    # Everything else

    def _candidate(self, tensor: Tensor) -> _Candidate | None:
        uses, aliases = self._uses.of(tensor.name)
        if not is_convertible(tensor):
            if not tensor.is_constant:
                self._found.left_out.append(tensor.name)
            return None
        own = None if tensor.is_constant else own_name(tensor.name, self._model.producer)
        hard = [use for use in uses if use.role is not None and not use.is_soft]
        if tensor.is_constant and not hard:
            return None
        stored = self._storage.find(tensor)
        if not self._is_parameter(stored, own, uses, hard):
            return None
        claims = [
            (claim, self._placement(use, stored))
            for use in uses
            if (claim := self._claim(use, tensor.name)) is not None
            and not (own and is_dotted(own) and _belongs(claim, own))
        ]
        weight = find_folded_weight(tensor.name, uses)
        if weight is not None:
            own, claims = f"{owner(weight)}.bias".lstrip("."), []
        elif any(is_folded(use.node, self._model.producer) for use in uses) and own is not None:
            claims = []  # the node is said to be that of the BatchNormalization
        placement = as_stored(stored)
        if not (self._is_torch and own):  # what PyTorch did not rename it did not change
            told = [self._placement(use, stored) for use in (*hard, *uses) if use.role is not None]
            placement = told[0] if told else placement
        rank = min((use.node.number for use in uses), default=len(self._model.nodes))
        kept = [alias for alias in aliases if is_dotted(alias)]
        return _Candidate(stored, rank, own, placement, claims, kept)

    def _is_parameter(
        self, stored: Stored, own: str | None, uses: list[Use], hard: list[Use]
    ) -> bool:
        spec = stored.spec
        if own is not None and (is_dotted(own) or not uses):
            return True
        if not spec.dtype.is_floating or (uses and all(use.is_state for use in uses)):
            return False
        if own is None and hard and all(_is_identity(use, stored) for use in hard):
            return False
        if any(use.role is not None for use in uses) or (own is not None and self._is_torch):
            return True
        return len(spec.shape) > 0 and max(spec.shape) > 1

    def _claim(self, use: Use, name: str) -> str | None:
        """Return the name that a use gives to a tensor: of its module, or after its bias."""
        if use.role is None:
            return None
        module = find_module(use.node, name)
        if use.role == "weight" and not use.is_soft:
            bias = own_name(self._uses.bias_of(use.node), self._model.producer) or ""
            weight = weight_after(bias)
            if weight is not None and _belongs(f"{module}.", weight):
                return weight
        if not module and not self._is_torch:
            module = self._uses.layer_name(use.node)
        return f"{module}.{use.role}" if module else None

    def _placement(self, use: Use, stored: Stored) -> Placement:
        """Return a parameter as PyTorch's modules have it: a matrix as (out, in), vectors flat."""
        if use.is_soft or use.node.op == "PRelu":
            return flat(stored)
        if len(stored.spec.shape) != 2 or use.index != 1:
            return as_stored(stored)
        given_in_out = (use.node.op == "MatMul") or (
            use.node.op == "Gemm" and not use.node.attributes.get("transB", 0)
        )
        return transposed(stored) if given_in_out != use.is_transposed else as_stored(stored)

    # Names

    def _name(self, candidates: list[_Candidate]) -> None:
        strip = self._common_prefix(candidates)
        wanted: dict[str, set[int]] = {}
        for index, candidate in enumerate(candidates):
            candidate.claims = [(strip(name), place) for name, place in candidate.claims]
            for name, _ in candidate.claims:
                wanted.setdefault(name, set()).add(index)
        kept = {candidate.own for candidate in candidates if candidate.own}
        used = kept | {parameter.name for _, parameter in self._ranked}
        for index, candidate in enumerate(candidates):
            free = [
                (name, place)
                for name, place in dict(candidate.claims).items()
                if wanted[name] == {index} and name not in used
            ]
            name = self._choose(candidate, free, used)
            used.add(name)
            self._ranked.append(
                (candidate.rank, Parameter(name, candidate.stored, candidate.placement))
            )
            self._tie(name, candidate, free, used)

    def _choose(
        self, candidate: _Candidate, free: list[tuple[str, Placement]], used: set[str]
    ) -> str:
        own = candidate.own
        # An undotted name is a parameter of the whole model, unless a module's node says else.
        if own is not None and (is_dotted(own) or not free):
            return own
        if free:
            name, candidate.placement = free[0]
            return name
        base = name = plain(candidate.stored.spec.name)
        while name in used:
            self._same[base] += 1
            name = f"{base}_{self._same[base]}"
        self._found.unnamed.append(name)
        return name

    def _tie(
        self,
        name: str,
        candidate: _Candidate,
        free: list[tuple[str, Placement]],
        used: set[str],
    ) -> None:
        """Note the further names: of other modules that take the tensor, and of aliases."""
        further = [other for other, place in free if place == candidate.placement and other != name]
        for other in (*candidate.aliases, *further):
            if other not in used:
                used.add(other)
                self._found.ties[other] = name

    def _common_prefix(self, candidates: list[_Candidate]) -> _Strip:
        """Return what takes the name of the whole model off, where every claim has it."""
        if self._is_torch:
            return _Strip("")
        names = [name for candidate in candidates for name, _ in candidate.claims]
        first = {name.partition(".")[0] for name in names}
        modules = {owner(name) for name in names}
        if len(first) != 1 or len(modules) < 2 or any("." not in module for module in modules):
            return _Strip("")
        (prefix,) = first
        self._found.notices.append(
            f"The prefix '{prefix}.' (the whole model) was taken off {len(names)} names."
        )
        return _Strip(f"{prefix}.")

    def _folded(self) -> None:
        producer = self._model.producer
        names = {
            parameter.stored.spec.name: owner(parameter.name) or parameter.name
            for _, parameter in self._ranked
        }
        for node in self._model.nodes:
            if is_folded(node, producer):
                weight = self._uses.source(node.inputs[1]) if len(node.inputs) > 1 else ""
                self._found.folded.append(names.get(weight, node.name))


@dataclass(frozen=True, slots=True)
class _Strip:
    prefix: str

    def __call__(self, name: str) -> str:
        return name.removeprefix(self.prefix)


def _belongs(claim: str, name: str) -> bool:
    """Whether a claim is of the module that owns the name, or of one around it.

    PyTorch's older exporter leaves out containers that are never called (``ModuleDict``), so the
    parts of the module's path may have others between them.
    """
    parts = iter(owner(name).split("."))
    return all(part in parts for part in owner(claim).split(".") if part)


def _is_identity(use: Use, stored: Stored) -> bool:
    """Whether a normalisation only has it because the operator must: ones, or zeros."""
    if use.node.op != "InstanceNormalization" or stored.spec.nbytes > 4 * _MAX_IDENTITY:
        return False
    return bool((stored.read() == (1 if use.index == 1 else 0)).all())


def describe(found: Parameters, model: Model) -> tuple[str, ...]:
    """Return what is unusual about a file, as sentences."""
    sentences = []
    if found.folded:
        sentences.append(
            f"BatchNormalization was folded into {_list(found.folded)} when the file was exported: "
            "weight and bias are products, not those that were trained."
        )
    if found.ties:
        pairs = [f"'{further}' is '{name}'" for further, name in found.ties.items()]
        sentences.append(
            f"{_count(len(pairs), 'parameter')} shared or merged with an equal one: "
            f"{_list(pairs, quote=False)}."
        )
    if found.unnamed:
        sentences.append(
            f"{_count(len(found.unnamed), 'tensor')} named by nothing but the file: "
            f"{_list(found.unnamed)}."
        )
    if found.left_out:
        sentences.append(
            f"{_count(len(found.left_out), 'tensor')} left out, of types that are not converted: "
            f"{_list(found.left_out)}."
        )
    if model.hidden:
        sentences.append(
            f"{_count(len(model.hidden), 'tensor')} left out, of inner graphs and of names taken: "
            f"{_list(model.hidden)}."
        )
    if model.functions:
        sentences.append(
            f"It defines {model.functions} functions; what weights they hold is not read."
        )
    return (*sentences, *found.notices)


def _count(number: int, noun: str) -> str:
    return f"1 {noun} is" if number == 1 else f"{number} {noun}s are"


def _list(names: Iterable[str], *, quote: bool = True) -> str:
    shown = [f"'{name}'" if quote else name for name in dict.fromkeys(names)]
    more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
    return ", ".join(shown[:5]) + more


def metadata_of(model: Model) -> Mapping[str, str]:
    """Return what a model says about itself, as texts."""
    found = dict(model.metadata)
    if model.producer:
        found["producer"] = f"{model.producer} {model.version}".strip()
    if "" in model.opsets:
        found["opset"] = str(model.opsets[""])
    return found
