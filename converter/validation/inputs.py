"""What both models are run on: seeded arrays for a Keras model's inputs.

The probe decides what can be seen. Constant, square or single-sample inputs hide half of the known
mistakes, so: three samples, one of zero-mean noise, one of a smooth field and one of both (padding
and shifts show on one or the other); sizes that differ from axis to axis, odd and even; integer ids
over the whole range of the Embedding that reads them, with padding at the end of all samples but
the first where the model masks it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from converter.errors import Problem, ProblemsError, UsageError, shape_text
from converter.mapping.rules import ModelValue
from converter.tensors.dtype import Array

BATCH = 3
# For axes that a model leaves open, outermost first: odd and even, pairwise different, and large
# enough for five halvings.
_OPEN_SIZES = {1: (13,), 2: (70, 93), 3: (18, 21, 16)}
_EMBEDDED_SIZES = ("input_dim", "vocabulary_size", "num_embeddings")


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a Keras model.

    Attributes:
        name: Its name.
        shape: Size of each axis without the batch; ``None`` where the model leaves it open.
        dtype: Element type.
        low: Smallest value, ``None`` for zero-mean noise.
        high: Largest value.
        is_mask: Whether it says which positions count.
        is_ids: Whether it holds integers, in whichever dtype: an Embedding may take floats.
        is_padded: Whether the Embedding that reads it masks zeros.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    low: float | None = None
    high: float | None = None
    is_mask: bool = False
    is_ids: bool = False
    is_padded: bool = False


def inputs_of(model: Any, values: Sequence[ModelValue] = ()) -> tuple[Input, ...]:
    """Return the inputs of a Keras model.

    Args:
        model: A Keras model; a subclassed one must have been built from a shape.
        values: What a mapping says about them: shape and range.

    Raises:
        UsageError: If the model does not say what it takes.
    """
    found = graph_inputs(model)
    built = None if found else built_input(model)
    return refined(found or tuple(one for one in (built,) if one), values, label=str(model.name))


def graph_inputs(model: Any) -> tuple[Input, ...]:
    """Return the inputs of a graph of layers; nothing for a subclassed model."""
    return tuple(_from_tensor(tensor) for tensor in getattr(model, "inputs", None) or [])


def built_input(model: Any) -> Input | None:
    """Return the one input that a model was built for, or ``None`` where that is not known."""
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    shape = next(iter(shapes.values()), None) if len(shapes) == 1 else None
    if not isinstance(shape, (tuple, list)) or not all(
        size is None or isinstance(size, int) for size in shape
    ):
        return None
    return Input("input", tuple(shape[1:]), "float32")


def refined(
    inputs: Sequence[Input], values: Sequence[ModelValue], *, label: str
) -> tuple[Input, ...]:
    """Return inputs with what a mapping says about them.

    Raises:
        UsageError: If there is none.
    """
    if not inputs:
        raise UsageError(
            f"cannot make inputs for '{label}': it does not say what it takes",
            hint="give the inputs, as arrays or as an .npz file",
        )
    said = {value.keras: value for value in values}
    return tuple(_refined(one, said.get(one.name) or said.get("")) for one in inputs)


def make_inputs(inputs: Sequence[Input], *, seed: int, batch: int = BATCH) -> dict[str, Array]:
    """Return an array for each input; the same seed gives the same arrays."""
    generator = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for one in inputs:
        open_axes = sum(size is None for size in one.shape)
        sizes = iter(_OPEN_SIZES.get(open_axes, _OPEN_SIZES[1] * max(open_axes, 1)))
        shape = (batch, *(next(sizes) if size is None else size for size in one.shape))
        arrays[one.name] = _values(one, shape, generator)
    _pad(inputs, arrays)
    return arrays


def check_inputs(
    arrays: Mapping[str, Array], inputs: Sequence[Input], *, label: str
) -> dict[str, Array]:
    """Return the arrays by input name, in the order of the model.

    Raises:
        ProblemsError: If an input is missing, unexpected, or of a shape that the model refuses.
    """
    if len(inputs) == len(arrays) == 1:
        arrays = {inputs[0].name: next(iter(arrays.values()))}
    problems = list(_problems(arrays, inputs))
    batches = {array.shape[:1] for array in arrays.values()}
    if not problems and len(batches) > 1:
        text = f"the inputs have different numbers of samples: {sorted(batches)}"
        problems.append(Problem("mismatched", "", text))
    if problems:
        raise ProblemsError(f"cannot run on the inputs of '{label}'", problems)
    return {one.name: arrays[one.name] for one in inputs}


def _problems(arrays: Mapping[str, Array], inputs: Sequence[Input]) -> Iterator[Problem]:
    for one in inputs:
        if one.name not in arrays:
            yield Problem("missing", one.name, f"an array of shape {_open_text(one.shape)}")
            continue
        shape = arrays[one.name].shape
        fits = len(shape) == len(one.shape) + 1 and all(
            size in (None, found) for size, found in zip(one.shape, shape[1:], strict=True)
        )
        if not fits:
            text = f"expected {_open_text(one.shape)}, found {shape_text(shape)}"
            yield Problem("mismatched", one.name, text)
    known = {one.name for one in inputs}
    for name in arrays:
        if name not in known:
            yield Problem("unexpected", name, "the model has no such input")


def _open_text(shape: tuple[int | None, ...]) -> str:
    return shape_text(("batch", *("any" if size is None else size for size in shape)))


def _from_tensor(tensor: Any) -> Input:
    dtype = str(tensor.dtype)
    shape = tuple(None if size is None else int(size) for size in tensor.shape[1:])
    name = str(tensor.name)
    if "mask" in name or dtype == "bool":
        return Input(name, shape, dtype, 0.0, 1.0, is_mask=True)
    highest, masks = _embedding(tensor)
    if highest is None and not dtype.startswith(("int", "uint")):
        return Input(name, shape, dtype)
    high = 1.0 if highest is None else highest
    return Input(name, shape, dtype, 0.0, high, is_ids=True, is_padded=masks)


def _embedding(tensor: Any) -> tuple[int | None, bool]:
    """Return the largest id that the Embedding reading a tensor knows, and whether it masks 0."""
    calls = list(getattr(tensor._keras_history.operation, "_outbound_nodes", []))  # noqa: SLF001 -- the only link
    for call in calls:
        for layer in (call.operation, *getattr(call.operation, "_layers", [])):
            for name in _EMBEDDED_SIZES:
                size = getattr(layer, name, None)
                if isinstance(size, int) and "mbedding" in type(layer).__name__:
                    return size - 1, bool(getattr(layer, "mask_zero", False))
    return None, False


def _refined(one: Input, value: ModelValue | None) -> Input:
    """Return an input with what a mapping says about it."""
    if value is None:
        return one
    shape = one.shape
    if len(value.shape) == len(shape):
        pairs = zip(shape, value.shape, strict=True)
        shape = tuple(said if size is None else size for size, said in pairs)
    if value.low is None or value.high is None:
        return replace(one, shape=shape)
    return replace(one, shape=shape, low=value.low, high=value.high)


def _values(one: Input, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    if one.is_mask:
        return _lengths(shape).astype(one.dtype)
    if one.is_ids:
        return _ids(one, shape, generator).astype(one.dtype)
    noise, smooth = generator.standard_normal(shape), _smooth(shape, generator)
    field = noise * 0.5 + smooth
    if len(shape) > 2 and shape[0] > 2:
        field[0], field[1] = noise[0], smooth[1]
    if one.low is not None and one.high is not None:
        spread = float(np.ptp(field)) or 1.0
        field = (field - field.min()) / spread * (one.high - one.low) + one.low
    return field.astype(one.dtype)


def _ids(one: Input, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    low, high = int(one.low or 0), int(one.high if one.high is not None else 1)
    ids = generator.integers(low, high, size=shape, endpoint=True)
    if ids.size > 1:
        # Both ends of the table are always read, and zero, which masks in some models.
        ids.reshape(-1)[0], ids.reshape(-1)[-1] = low, high
    return ids


def _pad(inputs: Sequence[Input], arrays: dict[str, Array]) -> None:
    """Put zeros at the end of ids that are masked there, and nowhere else."""
    masks = {arrays[one.name].shape for one in inputs if one.is_mask}
    for one in inputs:
        array = arrays[one.name]
        if not one.is_ids or one.low or not (one.is_padded or array.shape in masks):
            continue
        if one.high is not None and one.high > 1:
            array[array == 0] = 1  # a zero in the middle is nothing that a tokenizer gives
        array *= _lengths(array.shape).astype(array.dtype)


def _lengths(shape: tuple[int, ...]) -> Array:
    """Return ones, and zeros at the end: one position fewer from sample to sample."""
    mask = np.ones(shape, dtype=np.int64)
    if len(shape) > 1:
        for sample in range(1, shape[0]):
            mask[sample, max(1, shape[1] - sample) :] = 0
    return mask


def _smooth(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Return a slow wave over the inner axes, another one for each sample and channel."""
    field = np.zeros(shape)
    if len(shape) < 3:
        return field
    for axis in range(1, len(shape) - 1):
        place = np.linspace(0.0, 1.0, shape[axis]).reshape(-1, *[1] * (len(shape) - axis - 1))
        ends = (shape[0], *[1] * (len(shape) - 2), shape[-1])
        phase, speed = generator.uniform(0, 6.0, ends), generator.uniform(1.0, 6.0, ends)
        field = field + np.sin(place * speed + phase) * 0.7
    return field
