"""Which input and output of one side is which of the other, and in which layout."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from converter.errors import UsageError
from converter.mapping.rules import ModelValue
from converter.tensors.dtype import Array
from converter.validation import layouts
from converter.validation.keras_side import KerasFacts


def torch_inputs(
    arrays: Mapping[str, Array],
    facts: KerasFacts,
    module: Any,
    *,
    said: Sequence[ModelValue],
    given_layouts: Mapping[str, str],
) -> tuple[list[Array], dict[str, Array]]:
    """Return the inputs in PyTorch's layout, by position and by name.

    Args:
        arrays: Inputs by Keras name, in Keras' layout.
        facts: The Keras model.
        module: The PyTorch module.
        said: What a mapping says about the inputs, in the order of the module.
        given_layouts: What the user says about layouts.
    """
    values = {value.keras: value for value in said}
    positional, named = [], {}
    by_name = len(arrays) > 1 and set(arrays) <= _parameters(module)
    ordered = [name for name in values if name in arrays]
    ordered += [name for name in arrays if name not in ordered]
    for name in ordered:
        value = values.get(name) or values.get("")
        default = facts.input_layouts.get(name) or by_rank(arrays[name])
        layout = layouts.chosen(given_layouts, name, default)
        moved = layouts.to_torch(arrays[name], layout, value.axes if value else None)
        if value is not None and value.torch:
            named[value.torch] = moved
        elif by_name:
            named[name] = moved
        else:
            positional.append(moved)
    return positional, named


def pair_outputs(
    expected: Mapping[str, Array], found: Mapping[str, Array], said: Sequence[ModelValue]
) -> list[ModelValue]:
    """Return each Keras output with its PyTorch output, both by their own names.

    Raises:
        UsageError: If they cannot be paired.
    """
    if said:
        return [
            replace(value, keras=_named(value.keras, expected), torch=_named(value.torch, found))
            for value in said
        ]
    if set(expected) <= set(found):
        return [ModelValue(name, name) for name in expected]
    if len(expected) == len(found):
        return [ModelValue(one, two) for one, two in zip(expected, found, strict=True)]
    raise UsageError(
        f"cannot pair {len(expected)} Keras outputs with {len(found)} PyTorch outputs",
        facts=[("keras", ", ".join(expected)), ("torch", ", ".join(found) or "none")],
    )


def in_keras_layout(
    name: str,
    reference: Array,
    expected: Mapping[str, Array],
    facts: KerasFacts,
    *,
    axes: str | None,
    given_layouts: Mapping[str, str],
) -> Array:
    """Return a PyTorch output with its axes in Keras' order."""
    if axes is not None and not _fits(reference, axes):
        return reference  # the better message is that the shapes differ
    default = by_rank(expected[name])
    if len(facts.output_layouts) == len(expected):
        default = facts.output_layouts[list(expected).index(name)]
    return layouts.to_keras(reference, layouts.chosen(given_layouts, name, default), axes)


def where_counted(array: Array, inputs: Mapping[str, Array], name: str) -> Array:
    """Return the positions of an output at which an input is not zero.

    Args:
        array: An output; one without the axes of the input is returned whole.
        inputs: All Keras inputs.
        name: One of them, such as a padding mask; empty for all positions.

    Raises:
        UsageError: If there is no such input.
    """
    if not name:
        return array
    if name not in inputs:
        raise UsageError(
            f"cannot compare where '{name}' is not zero: there is no input of that name",
            facts=[("inputs", ", ".join(inputs))],
        )
    counted = inputs[name].astype(bool)
    return array[counted] if array.shape[: counted.ndim] == counted.shape else array


def by_rank(array: Array) -> layouts.Layout:
    """Return the layout where no graph tells: images are known by their rank."""
    return "channels_first" if array.ndim in (4, 5) else "same"


def _parameters(module: Any) -> set[str]:
    try:
        return set(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        return set()


def _named(name: str, outputs: Mapping[str, Array]) -> str:
    if not name and len(outputs) == 1:
        return next(iter(outputs))
    if name not in outputs:
        raise UsageError(
            f"cannot compare output '{name or 'without a name'}': there is none of that name",
            facts=[("found", ", ".join(outputs) or "none")],
        )
    return name


def _fits(array: Array, axes: str) -> bool:
    return array.ndim == len(axes.partition("->")[2].split()) or "(" in axes
