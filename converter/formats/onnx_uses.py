"""Which nodes take a tensor, and as what: weight, bias, running mean, or a constant of the graph.

Nodes that only pass a tensor on (``Identity``, ``Transpose``, ``Cast``, ``Reshape``) are looked
through, so that a weight is always told by the node that computes with it.

Source: onnx 1.23.2, docs/Operators.md (inputs of each operator).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from converter.formats.onnx_graph import Model, Node

_PASSED_ON = frozenset({"Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten"})
_AFFINE = {1: "weight", 2: "bias"}
ROLES: Mapping[str, Mapping[int, str]] = {
    "Conv": _AFFINE,
    "ConvTranspose": _AFFINE,
    "Gemm": _AFFINE,
    "MatMul": {0: "weight", 1: "weight"},
    "BatchNormalization": {1: "weight", 2: "bias", 3: "running_mean", 4: "running_var"},
    "InstanceNormalization": _AFFINE,
    "LayerNormalization": _AFFINE,
    "GroupNormalization": _AFFINE,
    "RMSNormalization": {1: "weight"},
    "SimplifiedLayerNormalization": {1: "weight"},
    "PRelu": {1: "weight"},
    "Gather": {0: "weight"},
}
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
# Inputs 4 to 6 of recurrent nodes: lengths and initial states, which are no parameters.
_STATES = range(4, 7)
_LINEAR = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
_FAR = 8  # nodes that are looked through; a graph made to be slow has chains of a million
_NORMALISING = frozenset({"InstanceNormalization", "LayerNormalization", "GroupNormalization"})


@dataclass(frozen=True, slots=True)
class Use:
    """One node that computes with a tensor.

    Attributes:
        node: The node.
        index: Which of its inputs the tensor is.
        role: What the tensor is to it (``"weight"``), or ``None``.
        is_transposed: Whether its two axes are exchanged on the way to the node.
        is_soft: Whether the role is told by what the node computes with, not by the node.
    """

    node: Node
    index: int
    role: str | None
    is_transposed: bool
    is_soft: bool = False

    @property
    def is_state(self) -> bool:
        """Whether it is an initial state, or lengths, of a recurrent node."""
        return self.node.op in RECURRENT and self.index in _STATES


class Uses:
    """Every use of every value of a model."""

    def __init__(self, model: Model) -> None:
        """Note who takes and who gives each value."""
        self._takers: dict[str, list[tuple[Node, int]]] = {}
        self._givers: dict[str, Node] = {}
        for node in model.nodes:
            for index, name in enumerate(node.inputs):
                if name:
                    self._takers.setdefault(name, []).append((node, index))
            for name in node.outputs:
                self._givers[name] = node

    def of(self, name: str) -> tuple[list[Use], list[str]]:
        """Return the uses of a tensor, and the further names that ``Identity`` nodes give it."""
        found: list[Use] = []
        aliases: list[str] = []
        waiting = [(name, False)]
        seen = set(waiting)
        while waiting:
            value, is_transposed = waiting.pop(0)
            for node, index in self._takers.get(value, ()):
                onward = self._onward(node, index, is_transposed)
                if onward is None:
                    found.append(self._use(node, index, value, is_transposed=is_transposed))
                elif onward not in seen:
                    seen.add(onward)
                    waiting.append(onward)
                    if node.op == "Identity":
                        aliases.append(onward[0])
        return found, aliases

    def source(self, name: str) -> str:
        """Return the name behind ``Identity`` nodes."""
        for _ in range(_FAR):
            node = self._givers.get(name)
            if node is None or node.op != "Identity" or not node.inputs:
                break
            name = node.inputs[0]
        return name

    def bias_of(self, node: Node) -> str:
        """Return the name of what is added to the product that a node computes, or nothing."""
        if node.op in _LINEAR and len(node.inputs) > 2:
            return self.source(node.inputs[2])
        takers = self._takers.get(node.outputs[0], ()) if node.outputs else ()
        for taker, index in takers[:_FAR]:
            if taker.op == "Add" and len(taker.inputs) == 2 and node.op in _LINEAR:
                return self.source(taker.inputs[1 - index])
        return ""

    def layer_name(self, node: Node) -> str:
        """Return the layer that the first value behind a node is called after.

        Source: onnxmltools 1.2 (keras2onnx), where the output of a layer's activation is
        ``<layer>_<operation>_<number>``.
        """
        for _ in range(_FAR):
            if not node.outputs:
                break
            layer, mark, number = node.outputs[0].rpartition(f"_{node.op}_")
            if mark and layer and number.isdecimal():
                return layer
            takers = self._takers.get(node.outputs[0], ())
            if len(takers) != 1 or takers[0][0].op in _LINEAR:
                break
            node = takers[0][0]
        return ""

    def _onward(self, node: Node, index: int, is_transposed: bool) -> tuple[str, bool] | None:  # noqa: FBT001 - the state of the walk
        """Return the value that a node passes on, or ``None`` where it computes with it."""
        if index != 0 or not node.outputs:
            return None
        if node.op == "Identity" or node.op in _PASSED_ON:
            return node.outputs[0], is_transposed
        if node.op == "Transpose" and node.attributes.get("perm", []) in ([1, 0], []):
            return node.outputs[0], not is_transposed
        return None

    def _use(self, node: Node, index: int, value: str, *, is_transposed: bool) -> Use:
        if node.op == "Gather" and node.attributes.get("axis", 0) not in (0, []):
            return Use(node, index, None, is_transposed)
        role = ROLES.get(node.op, {}).get(index) if node.domain in ("", "ai.onnx") else None
        if role is not None:
            return Use(node, index, role, is_transposed)
        other = node.inputs[1 - index] if len(node.inputs) == 2 else value
        if node.op not in ("Add", "Mul") or other == value:
            return Use(node, index, None, is_transposed)
        before = self._computed_by(other)
        soft = None
        if before in _NORMALISING:
            soft = "weight" if node.op == "Mul" else "bias"
        elif before in _LINEAR and node.op == "Add":
            soft = "bias"
        return Use(node, index, soft, is_transposed, is_soft=True)

    def _computed_by(self, name: str) -> str:
        """Return the operation behind a value; a multiplication on the way is looked through."""
        for _ in range(_FAR):
            node = self._givers.get(name)
            if node is None or not node.inputs:
                return ""
            if node.op not in _PASSED_ON | {"Mul", "Transpose", "Identity"}:
                return node.op
            name = _computed_input(node, self._givers)
        return ""


def _computed_input(node: Node, givers: Mapping[str, Node]) -> str:
    computed: Iterable[str] = (name for name in node.inputs if name in givers)
    return next(iter(computed), "")
