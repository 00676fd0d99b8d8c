"""One class being translated: its values, where their channels stand, and what is written so far.

PyTorch holds images channels first. Every value remembers in which order its axes stand in the
code so far; a layer asks for the order that it needs, and the permutation is written once where
one is needed. A flattened image is kept as the image until a layer asks: what conversion by kind
reorders (a Dense behind a Flatten) reads it channels first, everything else in Keras' order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from converter.errors import UnsupportedFileError
from converter.graph.nested import found_in
from converter.graph.nodes import Call, Constant, Graph, Layer, ValueRef, ValueShape
from converter.mapping.naming import module_name
from converter.mapping.rules import Kind
from converter.scaffold.program import Argument, Code, Member, Part, Program, Statement, Use, call
from converter.scaffold.program import Literal as Lit

# "keras": axes as Keras has them. "first": channels first, as PyTorch has images. "flat": flattened
# from channels first, so that the features are in PyTorch's order.
Order = Literal["keras", "first", "flat"]


@dataclass(slots=True)
class Value:
    """A value of the graph in the code.

    Attributes:
        shape: As in Keras, the batch first.
        own: The order in which it was made.
        numbers: Order to the number of the value that holds it so.
        image: What was flattened, where that is still to be written.
        channels: For features flattened channels first: how many channels.
        mask: Number of the value that says which steps count, or ``None`` where all do.
    """

    shape: ValueShape
    own: Order
    numbers: dict[Order, int] = field(default_factory=dict)
    image: Value | None = None
    channels: int | None = None
    mask: int | None = None

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)


@dataclass(slots=True)
class Shared:
    """What all classes of one file share.

    Attributes:
        kinds: Layer path to the kind that conversion by kind chose.
        snippets: Names of the small modules and functions that the file needs, in order.
        programs: Finished classes, inner ones first.
        stubs: Layers that cannot be translated, with the reason.
        notes: What a person should know of the translation, whole sentences.
        class_names: Names of classes in use.
        custom: Class name to a translator of the user's.
        state: Gives the shape of every converted weight, asked where a layer has no translation.
    """

    kinds: Mapping[str, Kind]
    snippets: dict[str, None] = field(default_factory=dict)
    programs: list[Program] = field(default_factory=list)
    stubs: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    class_names: set[str] = field(default_factory=set)
    custom: Mapping[str, Any] = field(default_factory=dict)
    state: Callable[[], Mapping[str, tuple[int, ...]]] = dict


class Scope:
    """The class of one model.

    Args:
        graph: The model.
        program: Its class so far.
        prefix: Path of the model in the outermost one, with a slash at its end.
        shared: See there.
    """

    def __init__(self, graph: Graph, program: Program, prefix: str, shared: Shared) -> None:
        self.graph = graph
        self.program = program
        self.prefix = prefix
        self.shared = shared
        self.layers = {layer.path: layer for layer in graph.layers}
        self._values: dict[ValueRef, Value] = {}
        self._count = 0
        self._members: set[str] = set()

    def number(self) -> int:
        """Return a number for a new value."""
        self._count += 1
        return self._count

    def argument(self, ref: ValueRef, name: str, shape: ValueShape, order: Order) -> None:
        """Declare an input of ``forward``."""
        number = self.number()
        sizes = ordered(shape, order)
        shown = ", ".join(["batch", *("*" if size is None else str(size) for size in sizes[1:])])
        self.program.arguments.append(Argument(name, number, f"({shown})"))
        self._values[ref] = Value(shape, order, {order: number})

    def value(self, ref: ValueRef) -> Value:
        """Return a value."""
        return self._values[ref]

    def put(self, ref: ValueRef, value: Value) -> None:
        """Name a value: the output of a call."""
        self._values[ref] = value

    def write(self, code: Code, origin: str = "") -> int:
        """Write a statement and return the number of its value."""
        number = self.number()
        self.program.statements.append(Statement((number,), code, origin))
        return number

    def write_several(self, code: Code, count: int, origin: str = "") -> list[int]:
        """Write a statement that makes several values."""
        numbers = [self.number() for _ in range(count)]
        self.program.statements.append(Statement(tuple(numbers), code, origin))
        return numbers

    def use(self, value: Value, order: Order) -> Use:
        """Return a value in an order, with the permutation written where it is not there yet."""
        if order not in value.numbers:
            value.numbers[order] = self._reordered(value, order)
        return Use(value.numbers[order])

    def _reordered(self, value: Value, order: Order) -> int:
        if value.image is not None:
            image = self.use(value.image, "first" if order == "flat" else "keras")
            return self.write((image, ".flatten(1)"))
        have, number = next(iter(value.numbers.items()))
        if "flat" in (have, order) and value.rank == 2:
            return self._features_reordered(value, number, order)
        if value.rank < 3:  # a vector has one order only
            return number
        axes = channels_first(value.rank) if order == "first" else channels_last(value.rank)
        return self.write(_permuted(Use(number), axes))

    def _features_reordered(self, value: Value, number: int, order: Order) -> int:
        """Return flattened features in the other order: rows of channels become columns."""
        if value.channels is None:
            return number
        sizes = (value.channels, -1) if order == "keras" else (-1, value.channels)
        turned = (Use(number), ".unflatten(1, ", Lit(sizes), ").transpose(1, 2).flatten(1)")
        return self.write(turned)

    def member(self, path: str, code: Code, below: str = "") -> str:
        """Declare the module of a layer and return its attribute name."""
        name = module_name(path.removeprefix(self.prefix))
        name = f"{name}.{below}" if below else name
        if name not in self._members:
            self._members.add(name)
            self.program.members.append(Member(name, code))
        return name


def channels_first(rank: int) -> tuple[int, ...]:
    """Return the permutation from Keras' axes to PyTorch's.

    Examples:
        >>> channels_first(4), channels_last(4)
        ((0, 3, 1, 2), (0, 2, 3, 1))
    """
    return (0, rank - 1, *range(1, rank - 1))


def channels_last(rank: int) -> tuple[int, ...]:
    """Return the permutation from PyTorch's axes to Keras'."""
    return (0, *range(2, rank), 1)


def _permuted(use: Use, axes: tuple[int, ...]) -> Code:
    if len(axes) == 3:
        return (use, ".transpose(1, 2)")
    return (use, f".permute({', '.join(map(str, axes))})")


def ordered(shape: Sequence[Any], order: Order) -> tuple[Any, ...]:
    """Return a shape of Keras with its axes in another order."""
    if order == "first" and len(shape) >= 3:
        return tuple(shape[axis] for axis in channels_first(len(shape)))
    return tuple(shape)


def axis_in(axis: int, rank: int, order: Order) -> int:
    """Return where an axis of Keras stands in another order.

    Examples:
        >>> axis_in(-1, 4, "first"), axis_in(1, 4, "first"), axis_in(-1, 4, "keras")
        (1, 2, 3)
    """
    axis %= rank
    return channels_first(rank).index(axis) if order == "first" and rank >= 3 else axis


@dataclass(slots=True)
class Translation:
    """One call of one layer, for a translator.

    Attributes:
        scope: The class that it becomes part of.
        call: The call.
        layer: Its layer; inside a wrapper, the layer that the wrapper holds.
        path: Path of the layer whose module it is: that of the wrapper.
    """

    scope: Scope
    call: Call
    layer: Layer
    path: str

    @property
    def config(self) -> Mapping[str, Any]:
        """The layer's configuration."""
        return self.layer.config

    @property
    def kind(self) -> str:
        """Name of the kind that conversion by kind chose for the layer; empty for none."""
        kind = self.scope.shared.kinds.get(self.path)
        return kind.name if kind is not None else ""

    def refs(self) -> list[ValueRef]:
        """Return every value among the positional arguments, nested ones included.

        Where there are none, the values are named: those of the keyword arguments.
        """
        found = list(found_in(self.call.arguments, ValueRef))
        return found or list(found_in(self.call.keywords, ValueRef))

    def values(self) -> list[Value]:
        """Return the same as values."""
        return [self.scope.value(ref) for ref in self.refs()]

    @property
    def first(self) -> Value:
        """The first value that the call takes."""
        return self.values()[0]

    def keyword(self, name: str) -> list[Value]:
        """Return the values of a keyword argument."""
        return [self.scope.value(ref) for ref in found_in(self.call.keywords.get(name), ValueRef)]

    def use(self, order: Order, index: int = 0) -> Use:
        """Return an input in an order."""
        return self.scope.use(self.values()[index], order)

    def member(self, code: Code, below: str = "") -> str:
        """Declare the layer's module."""
        return self.scope.member(self.path, code, below)

    def write(self, code: Code) -> int:
        """Write a statement."""
        return self.scope.write(code, self.call.name)

    def give(self, number: int, order: Order, index: int = 0, channels: int | None = None) -> None:
        """Say which value is the output of the call, and in which order."""
        value = Value(self.output(index), order, {order: number}, channels=channels)
        self.scope.put(ValueRef(self.call.name, index), value)

    def mask(self) -> Use | None:
        """Return the mask that the first input brings along, or ``None``."""
        given = self.keyword("mask")
        if given:
            return self.scope.use(given[0], "keras")
        return None if self.first.mask is None else Use(self.first.mask)

    def set_mask(self, number: int | None, index: int = 0) -> None:
        """Say which steps of an output count."""
        self.scope.value(ValueRef(self.call.name, index)).mask = number

    def pass_mask(self) -> None:
        """Hand the mask of the input on to the output."""
        self.set_mask(self.first.mask)

    def output(self, index: int = 0) -> ValueShape:
        """Return the shape of an output in Keras."""
        specs = self.call.outputs
        shape = specs[index].shape if index < len(specs) else None
        if shape is None:
            raise UnsupportedFileError(
                f"cannot scaffold '{self.path}': nothing tells the shape of what it gives"
            )
        return shape

    def snippet(self, name: str) -> str:
        """Ask for a small module or function of the file and return its name."""
        self.scope.shared.snippets.setdefault(name)
        return name

    def note(self, text: str) -> None:
        """Tell a person something about the translation."""
        self.scope.shared.notes.setdefault(text)


def literal(value: Any) -> Part | Code:
    """Return a plain value or an array of the configuration as code."""
    if isinstance(value, Constant):
        return call("torch.tensor", Lit(value.value))
    return Lit(value)
