"""The parts of an ONNX model that say what its tensors are: nodes, attributes, where values lie.

Graphs inside nodes (the branches of ``If``, the bodies of ``Loop`` and ``Scan``) are read with the
graph around them: their nodes use its tensors, and the other way round is not possible.

Source: onnx 1.23.2, onnx/onnx.proto (IR version 14).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.errors import CorruptFileError, UnsafeFileError, UnsupportedFileError
from converter.formats.onnx_wire import FIXED32, LENGTH, MAX_TEXT, VARINT, Field, Span, Wire
from converter.formats.wording import cannot_read, quoted

MAX_DEPTH = 20  # of graphs in graphs
_MAX_NOTE_BYTES = 10_000
# What they cost later on, in fields: names are found for them.
_NODE_COST = 3
_TENSOR_COST = 12
# Notes of a node that are read; the others hold stack traces, and are long.
NAME_SCOPES = "pkg.torch.onnx.name_scopes"
REWRITE_RULE = "pkg.onnxscript.rewriter.rule_name"
_KEPT_NOTES = frozenset({NAME_SCOPES, REWRITE_RULE})

# Fields of a TensorProto that hold values.
FLOAT_DATA, INT32_DATA, STRING_DATA, INT64_DATA, RAW_DATA, DOUBLE_DATA, UINT64_DATA = (
    *(4, 5, 6, 7),
    *(9, 10, 11),
)
_VALUES = frozenset(
    {FLOAT_DATA, INT32_DATA, STRING_DATA, INT64_DATA, RAW_DATA, DOUBLE_DATA, UINT64_DATA}
)


@dataclass(slots=True)
class Tensor:
    """A tensor as the file describes it; nothing is checked yet.

    Attributes:
        name: Its name; of a ``Constant`` the name of the node's output.
        within: The messages around it and its own, outermost first.
        dims: Sizes.
        data_type: Number of its element type.
        data: Every field that holds values.
        external: Entries that say where values lie in another file: key, text, place.
        is_external: Whether they count.
        is_segment: Whether it is only a part of a tensor.
        is_constant: Whether it is the value of a node and no initializer.
        is_nested: Whether it is in a graph inside a node.
    """

    name: str
    within: tuple[Span, ...]
    dims: list[int] = field(default_factory=list)
    data_type: int = 0
    data: list[Field] = field(default_factory=list)
    external: list[tuple[str, str, Span]] = field(default_factory=list)
    is_external: bool = False
    is_segment: bool = False
    is_constant: bool = False
    is_nested: bool = False


@dataclass(slots=True)
class Node:
    """One node.

    Attributes:
        number: Its place in the order of the file.
        name: Its name, which may be empty.
        op: Its operation.
        domain: Where the operation is defined; empty for ONNX itself.
        inputs: Names of what it takes; empty where an optional input is left out.
        outputs: Names of what it gives.
        attributes: Numbers, texts and lists of integers by name.
        notes: What exporters wrote about it.
    """

    number: int
    name: str = ""
    op: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Model:
    """What is known of a model.

    Attributes:
        producer: Who wrote it.
        version: Which version of it.
        ir_version: Version of the format itself.
        opsets: Domain to version.
        nodes: All nodes, those of inner graphs too.
        tensors: Initializers and constants by name.
        metadata: Texts that it carries.
        notes: Where each of them lies, by key.
        functions: How many functions it defines; their nodes are not read.
        hidden: Tensors of inner graphs whose names another one has already.
    """

    producer: str = ""
    version: str = ""
    ir_version: int = 0
    opsets: dict[str, int] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    notes: list[tuple[str, Span]] = field(default_factory=list)
    functions: int = 0
    hidden: list[str] = field(default_factory=list)


def parse_model(wire: Wire) -> Model:
    """Return what a model says.

    Raises:
        CorruptFileError: If it is no complete model.
        UnsafeFileError: If graphs are nested too deeply, or it has too many fields.
        UnsupportedFileError: If it holds sparse tensors.
    """
    return _Parser(wire).model()


class _Parser:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._model = Model()

    def model(self) -> Model:
        wire, model = self._wire, self._model
        graphs = []
        for found in wire.fields(0, len(wire.data)):
            match found.number:
                case 1:
                    wire.expect(found, VARINT)
                    model.ir_version = found.value
                case 2:
                    model.producer = wire.text(found)
                case 3:
                    model.version = wire.text(found)
                case 7:
                    wire.expect(found, LENGTH)
                    graphs.append(found.span)
                case 8:
                    domain, number = self._opset(found)
                    model.opsets[domain] = number
                case 14:
                    key, text = self._entry(found, optional=True)
                    model.metadata[key] = text
                    model.notes.append((key, found.span))
                case 25:
                    model.functions += 1
        self._check(model.ir_version, graphs)
        self._graph(graphs[0], (graphs[0],), depth=0)
        return model

    def _check(self, ir_version: int, graphs: list[Span]) -> None:
        # Protobuf would merge two graphs into one, and takes an empty file for a model.
        path = self._wire.path
        if len(graphs) != 1:
            raise CorruptFileError(cannot_read(path, f"it has {len(graphs)} graphs, not one"))
        if ir_version < 1:
            raise CorruptFileError(cannot_read(path, "it does not say its version of ONNX"))
        if ir_version >= 3 and not self._model.opsets:
            raise CorruptFileError(cannot_read(path, "it does not say its version of operators"))

    def _graph(self, span: Span, within: tuple[Span, ...], *, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise UnsafeFileError(
                cannot_read(self._wire.path, f"it has graphs in graphs, {depth} deep")
            )
        for found in self._wire.fields(span.start, span.stop):
            match found.number:
                case 1:
                    self._node(found, (*within, found.span), depth=depth)
                case 5:
                    self._tensor(found, within, is_nested=depth > 0)
                case 15:
                    raise self._sparse()

    def _node(self, place: Field, within: tuple[Span, ...], *, depth: int) -> None:
        wire = self._wire
        wire.expect(place, LENGTH)
        wire.count(_NODE_COST)
        node = Node(len(self._model.nodes))
        self._model.nodes.append(node)
        attributes = []
        for found in wire.fields(place.span.start, place.span.stop):
            match found.number:
                case 1:
                    wire.count()
                    node.inputs.append(wire.text(found))
                case 2:
                    node.outputs.append(wire.text(found))
                case 3:
                    node.name = wire.text(found)
                case 4:
                    node.op = wire.text(found)
                case 5:
                    wire.expect(found, LENGTH)
                    attributes.append(found)
                case 7:
                    node.domain = wire.text(found)
                case 9:
                    self._note(found, node)
        for found in attributes:
            self._attribute(found, node, (*within, found.span), depth=depth)

    def _attribute(self, place: Field, node: Node, within: tuple[Span, ...], *, depth: int) -> None:
        wire = self._wire
        name = ""
        value: Any = None
        integers: list[int] = []
        for found in wire.fields(place.span.start, place.span.stop):
            match found.number:
                case 1:
                    name = wire.text(found)
                case 2:
                    wire.expect(found, FIXED32)
                    value = struct.unpack_from("<f", wire.data, found.span.start)[0]
                case 3:
                    value = wire.numbers(found)[-1]
                case 4 if found.span.stop - found.span.start <= _MAX_NOTE_BYTES:
                    value = bytes(wire.data[found.span.start : found.span.stop])
                case 5 if node.op == "Constant" and node.outputs:
                    self._tensor(found, within, constant=node.outputs[0], is_nested=depth > 0)
                case 6 | 11:
                    wire.expect(found, LENGTH)
                    self._graph(found.span, (*within, found.span), depth=depth + 1)
                case 8:
                    integers += wire.numbers(found)
                case 22 | 23:
                    raise self._sparse()
        node.attributes[name] = value if value is not None else integers

    def _tensor(
        self,
        place: Field,
        within: tuple[Span, ...],
        *,
        constant: str | None = None,
        is_nested: bool,
    ) -> None:
        wire = self._wire
        wire.expect(place, LENGTH)
        wire.count(_TENSOR_COST)
        tensor = Tensor(
            "",
            (*within, place.span),
            is_constant=constant is not None,
            is_nested=is_nested,
        )
        for found in wire.fields(place.span.start, place.span.stop):
            match found.number:
                case 1:
                    tensor.dims += wire.numbers(found)
                case 2:
                    wire.expect(found, VARINT)
                    tensor.data_type = found.value
                case 3:
                    tensor.is_segment = True
                case 8:
                    tensor.name = wire.text(found)
                case 13:
                    tensor.external.append((*self._entry(found), found.span))
                case 14:
                    wire.expect(found, VARINT)
                    tensor.is_external = found.value == 1
                case number if number in _VALUES:
                    tensor.data.append(found)
        if constant is not None:
            tensor.name = constant
        self._add(tensor)

    def _add(self, tensor: Tensor) -> None:
        path = self._wire.path
        if not tensor.name:
            raise CorruptFileError(cannot_read(path, "it has a tensor without a name"))
        if tensor.name in self._model.tensors and tensor.is_nested:
            self._model.hidden.append(tensor.name)  # allowed: two branches may use one name
            return
        if tensor.name in self._model.tensors:
            raise CorruptFileError(
                cannot_read(path, "two of its tensors have one name"),
                facts=[("tensor", quoted(tensor.name))],
            )
        self._model.tensors[tensor.name] = tensor

    def _note(self, place: Field, node: Node) -> None:
        if place.span.stop - place.span.start > _MAX_NOTE_BYTES:
            return
        wire = self._wire
        wire.expect(place, LENGTH)
        key = ""
        for found in wire.fields(place.span.start, place.span.stop):
            if found.number == 1:
                key = wire.text(found)
            elif found.number == 2 and key in _KEPT_NOTES:
                node.notes[key] = wire.text(found)
            if key not in _KEPT_NOTES:
                return

    def _entry(self, place: Field, *, optional: bool = False) -> tuple[str, str]:
        """Return key and text of a StringStringEntryProto; a long text may be left out."""
        wire = self._wire
        wire.expect(place, LENGTH)
        texts: Mapping[int, str] = {
            found.number: wire.text(found)
            for found in wire.fields(place.span.start, place.span.stop)
            if found.number == 1
            or (found.number == 2 and not (optional and found.span.nbytes > MAX_TEXT))
        }
        return texts.get(1, ""), texts.get(2, "")

    def _opset(self, place: Field) -> tuple[str, int]:
        wire = self._wire
        wire.expect(place, LENGTH)
        domain, number = "", 0
        for found in wire.fields(place.span.start, place.span.stop):
            if found.number == 1:
                domain = wire.text(found)
            elif found.number == 2:
                wire.expect(found, VARINT)
                number = found.value
        return domain, number

    def _sparse(self) -> UnsupportedFileError:
        return UnsupportedFileError(
            cannot_read(self._wire.path, "it holds sparse tensors, which are not converted"),
            hint="export it again with dense weights",
        )
