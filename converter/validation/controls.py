"""Negative controls: what a comparison must see, broken on purpose.

A pass is worth as much as the mistakes that would have failed. So the PyTorch side is given what a
wrong plan would have given it (two tensors of one shape exchanged, a square matrix as it stood,
gates in the other order, mean and variance exchanged) and is compared again. Where such a mistake
makes no difference, these weights and inputs prove nothing about it: fresh BatchNorm layers hold
ones and zeros in all four tensors. What a model treats alike on purpose is another matter: there
one tensor in the place of both must be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from converter.algebra.chain import Chain
from converter.algebra.rearrange import Rearrange
from converter.algebra.sums import SplitSum
from converter.planning.plan import Plan, Step
from converter.tensors.dtype import Array

MAX_CONTROLS = 12
_PER_KIND = 2
Read = Callable[[str], Array]
Changes = Mapping[str, Callable[[Read], Array]]
# Recurrent modules and attention hold their parts in blocks of rows; these two are exchanged. For a
# GRU that is Keras' own order (z r h) left as it is, where PyTorch has (r z n).
# Source: torch 2.13, torch/nn/modules/rnn.py and activation.py.
_BLOCKS = {
    "GRU": ("gates", 3, 0, 1),
    "GRUCell": ("gates", 3, 0, 1),
    "LSTM": ("gates", 4, 1, 2),
    "LSTMCell": ("gates", 4, 1, 2),
    "MultiheadAttention": ("query and key", 3, 0, 1),
}
_BLOCK_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "in_proj_")
_NORMS = (
    ("mean and variance", "running_mean", "running_var"),
    ("gamma and variance", "weight", "running_var"),
    ("beta and mean", "bias", "running_mean"),
)


@dataclass(frozen=True, slots=True)
class Broken:
    """One mistake.

    Attributes:
        kind: Which kind of mistake.
        what: The tensors concerned, one line.
        changes: State-dict name to its wrong value, computed when it is needed.
        instead: What must be seen where these make no difference, because the model treats both
            tensors alike (two biases whose layers are added up); empty where nothing is.
    """

    kind: str
    what: str
    changes: Changes
    instead: Changes = field(default_factory=dict)


def broken_plans(
    module: Any, shapes: Mapping[str, tuple[int, ...]], plan: Plan | None
) -> list[Broken]:
    """Return mistakes that shapes cannot show, the most different ones first.

    Args:
        module: The PyTorch module.
        shapes: State-dict name to shape, floating-point tensors only.
        plan: Keras to PyTorch, where there is one.
    """
    if plan is not None:
        fixed = {name for step in plan.steps for name in _fixed(step)}
        shapes = {name: shape for name, shape in shapes.items() if name not in fixed}
    kinds: list[list[Broken]] = [
        list(_exchanged_norms(module, shapes)),
        list(_blocks(module, shapes)),
        list(_untransposed(module, shapes)),
        list(_flattened(plan, shapes)) if plan is not None else [],
        list(_swapped(shapes, ranks=(2, 3, 4, 5))),
        list(_swapped(shapes, ranks=(1,))),
    ]
    chosen: dict[str, list[Broken]] = {}
    for one in (mistake for kind in kinds for mistake in _first_and_last(kind)):
        chosen.setdefault(one.kind, []).append(one)
    rounds = range(_PER_KIND)
    ordered = [found[turn] for turn in rounds for found in chosen.values() if len(found) > turn]
    return ordered[:MAX_CONTROLS] or list(_first_and_last(list(_rows(shapes))))


def _fixed(step: Step) -> tuple[str, ...]:
    """Return the targets that hold zeros whatever the source holds: no plan can exchange them."""
    return step.targets[1:] if isinstance(step.operation, SplitSum) else ()


def _rows(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Broken]:
    """Yield tensors whose rows stand one further: for models in which nothing else can go wrong."""
    for name, shape in shapes.items():
        if shape and shape[0] > 1:
            change = {name: partial(_one_further, name)}
            yield Broken("rows", f"rows of '{name}' one further", change)


def _one_further(name: str, read: Read) -> Array:
    return np.roll(read(name), 1, axis=0)


def _first_and_last(found: Sequence[Broken]) -> Iterator[Broken]:
    """Yield the first and the last mistake of each kind: early and late layers differ most."""
    for kind in dict.fromkeys(one.kind for one in found):
        same = [one for one in found if one.kind == kind]
        yield same[0]
        if len(same) > 1:
            yield same[-1]


def _exchange(kind: str, one: str, two: str) -> Broken:
    changes = {one: lambda read: read(two), two: lambda read: read(one)}
    instead = {one: changes[one]} if kind.startswith("swapped") else {}
    return Broken(kind, f"'{one}' and '{two}' exchanged", changes, instead)


def _exchanged_norms(module: Any, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Broken]:
    for name, _ in module.named_modules():
        prefix = f"{name}." if name else ""
        for kind, one, two in _NORMS:
            first, second = prefix + one, prefix + two
            if f"{prefix}running_var" in shapes and shapes.get(first) == shapes.get(second):
                yield _exchange(kind, first, second)


def _blocks(module: Any, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Broken]:
    for name, part in module.named_modules():
        found = _BLOCKS.get(type(part).__name__)
        if found is None:
            continue
        kind, count, one, two = found
        prefix = f"{name}." if name else ""
        tensors = [
            tensor
            for tensor in shapes
            if tensor.startswith(prefix) and tensor.removeprefix(prefix).startswith(_BLOCK_NAMES)
        ]
        changes = {tensor: _reordered(tensor, count, one, two) for tensor in tensors}
        if changes:
            yield Broken(kind, f"blocks {one} and {two} of {count} of '{name}' exchanged", changes)


def _reordered(tensor: str, count: int, one: int, two: int) -> Callable[[Read], Array]:
    def change(read: Read) -> Array:
        parts = np.split(read(tensor), count, axis=0)
        parts[one], parts[two] = parts[two], parts[one]
        return np.concatenate(parts, axis=0)

    return change


def _untransposed(module: Any, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Broken]:
    for name, part in module.named_modules():
        weight = f"{name}.weight" if name else "weight"
        shape = shapes.get(weight, ())
        kind = type(part).__name__
        is_matrix = kind in ("Linear", "Conv1D") or kind.startswith("Conv")
        if is_matrix and len(shape) > 1 and shape[0] == shape[1] > 1:
            yield Broken("untransposed", f"square '{weight}'", {weight: _transposed(weight)})


def _transposed(name: str) -> Callable[[Read], Array]:
    return lambda read: np.ascontiguousarray(np.swapaxes(read(name), 0, 1))


def _flattened(plan: Plan, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Broken]:
    """Yield kernels behind a Flatten whose rows stay in Keras' order."""
    for step in plan.steps:
        operations = step.operation.operations if isinstance(step.operation, Chain) else (
            step.operation,
        )  # fmt: skip
        for operation in operations:
            if isinstance(operation, Rearrange) and len(step.targets) == 1:
                wrong = _without_order(operation)
                name = step.targets[0]
                if wrong is not None and name in shapes:
                    yield Broken("flatten order", f"rows of '{name}'", {name: _apply(wrong, name)})


def _without_order(operation: Rearrange) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None:
    """Return the target's axis, the sizes it is cut into and their order in Keras."""
    for axis, group in enumerate(operation.pattern.right):
        theirs = next((one for one in operation.pattern.left if set(one) == set(group)), None)
        if len(group) < 2 or theirs is None or theirs == group:
            continue
        if not all(isinstance(atom, str) and atom in operation.sizes for atom in group):
            continue
        sizes = tuple(operation.sizes[str(atom)] for atom in group)
        if sum(size > 1 for size in sizes) > 1:
            return axis, sizes, tuple(group.index(atom) for atom in theirs)
    return None


def _apply(wrong: tuple[int, tuple[int, ...], tuple[int, ...]], name: str) -> Callable[[Read], Any]:
    axis, sizes, order = wrong

    def change(read: Read) -> Array:
        array = read(name)
        before, after = array.shape[:axis], array.shape[axis + 1 :]
        cut = array.reshape(*before, *sizes, *after)
        axes = [*range(axis), *(axis + one for one in order)]
        axes += range(axis + len(order), cut.ndim)
        return np.ascontiguousarray(cut.transpose(axes)).reshape(array.shape)

    return change


def _swapped(shapes: Mapping[str, tuple[int, ...]], *, ranks: tuple[int, ...]) -> Iterator[Broken]:
    """Yield neighbours of one shape and one last name, but none of a normalisation."""
    norms = {name.removesuffix("running_var") for name in shapes if name.endswith("running_var")}
    alike: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for name, shape in shapes.items():
        owner, _, last = name.rpartition(".")
        if len(shape) in ranks and f"{owner}." not in norms:
            alike.setdefault((last, shape), []).append(name)
    kind = "swapped" if ranks != (1,) else "swapped vectors"
    for names in alike.values():
        for one, two in pairwise(names):
            yield _exchange(kind, one, two)
