"""How a PyTorch module is called with what a Keras model takes, and which of its outputs are which.

What names say comes first, position is next; a module that raises is called otherwise. Nothing of
this is certain before the outputs of both sides agree.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from converter._optional import require
from converter.drafting.names import Likeness
from converter.mapping.rules import ModelValue
from converter.tensors.dtype import Array
from converter.validation.alignment import pair_outputs, torch_inputs
from converter.validation.inputs import Input
from converter.validation.keras_side import KerasFacts

# Names of one line mean the same. Sources: keras_hub 0.32 and transformers 5.23, what their models
# take; PyTorch 2.13, nn/modules/transformer.py.
_SAME = (
    ("token_ids", "input_ids", "tokens", "ids", "src"),
    ("segment_ids", "token_type_ids", "type_ids", "segments"),
    ("padding_mask", "attention_mask", "mask", "src_key_padding_mask"),
    ("features", "input_features", "input_values"),
    ("images", "pixel_values", "image", "x"),
)
_SHORT = (7, 5)  # lengths of a sequence that most models take
_MEANING = {name: line[0] for line in _SAME for name in line}


@dataclass(frozen=True, slots=True)
class Call:
    """One way to call a PyTorch module.

    Attributes:
        inputs: Keras input to argument, in the order of the module; empty for what both sides'
            names or their order say anyhow.
        layouts: Keras input to ``channels_last`` where PyTorch takes it as Keras does, though its
            layers have another order of axes.
    """

    inputs: tuple[ModelValue, ...] = ()
    layouts: Mapping[str, str] = field(default_factory=dict)

    def arrays(
        self, arrays: Mapping[str, Array], facts: KerasFacts, module: Any
    ) -> tuple[list[Array], dict[str, Array]]:
        """Return arrays by Keras name as PyTorch takes them, by position and by name."""
        return torch_inputs(arrays, facts, module, said=self.inputs, given_layouts=self.layouts)

    def order(self, names: Sequence[str]) -> list[int]:
        """Return the place among Keras' inputs of each of PyTorch's."""
        names = list(names)
        return [names.index(one.keras) for one in self.inputs] or list(range(len(names)))


def calls_to_try(facts: KerasFacts, module: Any) -> Iterator[Call]:
    """Yield the calls, the likeliest first.

    Images are given in the layout of PyTorch's own layers, then in Keras' own: a module that raises
    with the first may move the axes itself.

    Args:
        facts: The Keras model.
        module: The PyTorch module.
    """
    by_name = _by_name([one.name for one in facts.inputs], module)
    ranks = {one.name: len(one.shape) for one in facts.inputs}
    layouts: list[dict[str, str]] = [{}]
    if any(rank > 1 for rank in ranks.values()):
        layouts.append({name: "channels_last" for name, rank in ranks.items() if rank > 1})
    for one in layouts:
        if by_name:
            yield Call(by_name, one)
        yield Call((), one)


def _by_name(names: Sequence[str], module: Any) -> tuple[ModelValue, ...]:
    """Return which argument each input is, by what their names mean; nothing where one has none."""
    try:
        parameters = list(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        return ()
    if len(names) < 2 or set(names) <= set(parameters):
        return ()
    meant = {_meaning(name): name for name in reversed(parameters)}
    found = [ModelValue(name, meant.get(_meaning(name), "")) for name in names]
    if not all(one.torch for one in found) or len({one.torch for one in found}) < len(found):
        return ()
    return tuple(sorted(found, key=lambda one: parameters.index(one.torch)))


def _meaning(name: str) -> str:
    """Return what an input is, and on which side of the model.

    Examples:
        >>> _meaning("encoder_token_ids"), _meaning("decoder_input_ids")
        ('token_ids', 'decoder_token_ids')
    """
    side = "decoder_" if name.startswith("decoder_") else ""
    name = name.removeprefix("decoder_").removeprefix("encoder_")
    return side + _MEANING.get(name, name)


def unmasked(inputs: Sequence[Input]) -> tuple[Input, ...]:
    """Return inputs whose masks let all positions count: what is masked may come out anyhow."""
    return tuple(
        Input(one.name, one.shape, one.dtype, 1.0, 1.0, is_ids=True) if one.is_mask else one
        for one in inputs
    )


def inputs_to_try(inputs: Sequence[Input], lengths: Sequence[int]) -> Iterator[tuple[Input, ...]]:
    """Yield inputs without masks, in sizes that a model may take where it leaves them open.

    Embedded positions bound the length of a sequence, and a model that halves its features with
    strides takes just twice as many.

    Args:
        inputs: What the Keras model says.
        lengths: For how many positions it has embeddings.
    """
    plain = unmasked(inputs)
    yield plain
    if not any(None in one.shape for one in inputs):
        return
    shortest = min([*_SHORT, *lengths])
    for size in (*_SHORT, *lengths):
        yield tuple(_of_size(one, size, size) for one in plain)
    for size in lengths:
        yield tuple(_of_size(one, shortest, 2 * size) for one in plain)


def _of_size(one: Input, ids: int, features: int) -> Input:
    """Return an input whose open axes have one size, another one for ids than for features."""
    size = ids if one.is_ids else features
    return replace(one, shape=tuple(size if axis is None else axis for axis in one.shape))


def find_outputs(
    expected: Mapping[str, Array], found: Mapping[str, Array]
) -> tuple[ModelValue, ...]:
    """Return which PyTorch output each Keras output is; nothing where their order says so anyhow.

    Args:
        expected: Keras' outputs by name.
        found: PyTorch's, in its own layout.

    Raises:
        UsageError: If a Keras output has the shape of none.
    """
    if len(expected) == len(found) or set(expected) <= set(found):
        pairs = pair_outputs(expected, found, ())
        if all(_may_be(expected[one.keras], found[one.torch]) for one in pairs):
            return ()
    names, others = list(expected), list(found)
    alike = Likeness(names, others)
    costs = np.array(
        [
            [
                place / len(others) - alike(name, other)
                if _may_be(expected[name], found[other])
                else np.inf
                for place, other in enumerate(others)
            ]
            for name in names
        ]
    ).reshape(len(names), len(others))
    scipy = require("scipy.optimize", why="cannot draft a mapping", extra="draft")
    try:
        rows, columns = scipy.linear_sum_assignment(costs)
    except ValueError:  # which says that no assignment is possible
        pairs = pair_outputs(expected, found, ())
        return tuple(pairs)
    return tuple(
        ModelValue(names[row], others[column]) for row, column in zip(rows, columns, strict=True)
    )


def _may_be(one: Array, other: Array) -> bool:
    return one.shape[:1] == other.shape[:1] and sorted(one.shape) == sorted(other.shape)
