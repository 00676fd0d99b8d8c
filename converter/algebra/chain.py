"""Operations one after the other, as one operation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from converter.algebra.base import Block, Law, Operation
from converter.algebra.composition import compose
from converter.algebra.copying import contiguous
from converter.algebra.rearrange import Rearrange
from converter.algebra.values import Cast, Elementwise, blocks_of, narrowed
from converter.tensors.dtype import Array, DType, Shape, get_dtype


@dataclass(frozen=True, slots=True)
class Chain(Operation):
    """The given operations, the first one first; with none, any tensors as they are.

    Attributes:
        operations: Each takes what the one before gives.
    """

    operations: tuple[Operation, ...] = ()

    @property
    def law(self) -> Law:
        """The weakest law of the operations."""
        return Law.weakest([operation.law for operation in self.operations])

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shapes that the last operation gives."""
        result = tuple(shapes)
        for operation in self.operations:
            result = operation.infer(result)
        return result

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the dtypes that the last operation gives."""
        result = tuple(dtypes)
        for operation in self.operations:
            result = operation.infer_dtypes(result)
        return result

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return what the last operation gives."""
        if not self.operations:
            return tuple(contiguous(array) for array in arrays)
        result = tuple(arrays)
        for operation in self.operations:
            result = operation.apply(result)
        return result

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield blocks; no tensor in between is ever whole where one operation moves elements.

        Functions of single values commute with patterns, and are done on the blocks that come out.
        Of two other operations in the chain, all but the last are computed whole.
        """
        operations = _elementwise_last(simplified(self.operations))
        functions: list[Elementwise] = []
        while operations and isinstance(last := operations[-1], Elementwise):
            functions.insert(0, last)
            operations.pop()
        dtypes = Chain(tuple(operations)).infer_dtypes([get_dtype(one.dtype) for one in arrays])
        stages = [
            Chain(tuple(functions[: end + 1])).infer_dtypes(dtypes) for end in range(len(functions))
        ]
        itemsize = min((dtype.numpy.itemsize for dtype in dtypes), default=1)
        share = narrowed(max_bytes, itemsize, [dtype for stage in stages for dtype in stage])
        for operation in operations[:-1]:
            arrays = operation.apply(arrays)
        blocks = operations[-1].stream(arrays, share) if operations else _blocks(arrays, share)
        for function, stage in zip(functions, stages, strict=True):
            blocks = _mapped(function, blocks, stage)
        yield from blocks

    def inverse(self) -> Chain:
        """Return the inverses in reversed order."""
        return Chain(tuple(operation.inverse() for operation in reversed(self.operations)))

    def describe(self) -> str:
        """Return the operations in order."""
        return ", then ".join(operation.describe() for operation in self.operations) or "as it is"


def chain(*operations: Operation) -> Operation:
    """Return the operations as one, simplified: the results are the same, bit for bit.

    Examples:
        >>> from converter.algebra.pattern import Pattern
        >>> operation = Rearrange(Pattern.parse("a b -> b a"))
        >>> chain(operation, Rearrange(Pattern.parse("x y -> (x y)"))).describe()
        'a b -> (b a)'
        >>> chain(operation, operation.inverse()).describe()
        'as it is'
    """
    simple = simplified(operations)
    if len(simple) == 1:
        return simple[0]
    if not simple and len(operations) == 1 and not isinstance(operations[0], Chain):
        return operations[0]
    return Chain(simple)


def simplified(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """Return fewer operations with the same result.

    Nested chains are opened; what changes nothing goes, alone or together with its inverse; moves
    are joined where one pattern says both.
    """
    result: list[Operation] = []
    for operation in _flat(operations):
        if _changes_nothing(operation):
            continue
        merged = _merged(result[-1], operation) if result else None
        if merged is None:
            result.append(operation)
            continue
        result.pop()
        result += merged
    return tuple(result)


def _flat(operations: Sequence[Operation]) -> Iterator[Operation]:
    for operation in operations:
        if isinstance(operation, Chain):
            yield from _flat(operation.operations)
        else:
            yield operation


def _changes_nothing(operation: Operation) -> bool:
    if isinstance(operation, Rearrange):
        return operation.pattern.is_identity
    return isinstance(operation, Cast) and operation.is_identity


def _merged(first: Operation, second: Operation) -> list[Operation] | None:
    """Return what does the same as two operations, or ``None`` when nothing shorter is known."""
    if first.law is Law.EXACT and second == first.inverse():
        return []
    if isinstance(first, Rearrange) and isinstance(second, Rearrange):
        both = compose(first, second)
        if both is not None:
            return [] if both.pattern.is_identity else [both]
    return None


def _elementwise_last(operations: Sequence[Operation]) -> list[Operation]:
    """Move functions of single values behind the pattern that follows them."""
    result = list(operations)
    for end in range(len(result) - 1, 0, -1):
        for index in range(end):
            one, other = result[index], result[index + 1]
            if isinstance(one, Elementwise) and one.is_uniform and isinstance(other, Rearrange):
                result[index : index + 2] = [other, one]
    return result


def _blocks(arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
    for index, array in enumerate(arrays):
        yield from blocks_of(array, index, max_bytes)


def _mapped(
    function: Elementwise, blocks: Iterator[Block], dtypes: Sequence[DType]
) -> Iterator[Block]:
    for block in blocks:
        yield function.block(block, dtypes[block.target])
