"""What both models are run on: seeded arrays for a Keras model's inputs, or those of a file.

The probe decides what can be seen. Constant, square or single-sample inputs hide half of the known
mistakes, so: zero-mean noise plus a smooth field (padding and shifts show on one or the other),
three samples, sizes that differ from axis to axis, integer ids over the whole range of the
Embedding that reads them, zero among them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import CheckpointError, Problem, ProblemsError, UsageError, shape_text
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
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    low: float | None = None
    high: float | None = None
    is_mask: bool = False
    is_ids: bool = False


def inputs_of(model: Any, values: Sequence[ModelValue] = ()) -> tuple[Input, ...]:
    """Return the inputs of a Keras model.

    Args:
        model: A Keras model; a subclassed one must have been built from a shape.
        values: What a mapping says about them: shape and range.

    Raises:
        UsageError: If the model does not say what it takes.
    """
    tensors = list(getattr(model, "inputs", None) or [])
    found = [_from_tensor(tensor) for tensor in tensors] if tensors else [_from_build(model)]
    said = {value.keras: value for value in values}
    return tuple(_refined(one, said.get(one.name) or said.get("")) for one in found)


def make_inputs(inputs: Sequence[Input], *, seed: int, batch: int = BATCH) -> dict[str, Array]:
    """Return an array for each input; the same seed gives the same arrays."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for one in inputs:
        open_axes = sum(size is None for size in one.shape)
        sizes = iter(_OPEN_SIZES.get(open_axes, _OPEN_SIZES[1] * max(open_axes, 1)))
        shape = (batch, *(next(sizes) if size is None else size for size in one.shape))
        arrays[one.name] = _values(one, shape, generator)
    return arrays


def load_inputs(path: Path, inputs: Sequence[Input]) -> dict[str, Array]:
    """Read arrays for the inputs of a model from an ``.npz`` file.

    Args:
        path: The file; a member is named after its input, or is the only one for a single input.
        inputs: The inputs of the model.

    Raises:
        CheckpointError: If the file cannot be read, or holds pickled objects.
        ProblemsError: If an input is missing, unexpected, or of a shape that the model refuses.
    """
    try:
        # NumPy leaves the file open when it is no archive, unless the caller opened it.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, EOFError) as error:
        raise CheckpointError(
            f"cannot read inputs from '{path.name}': it is not an .npz file of plain arrays",
            facts=[("reason", str(error).splitlines()[0] if str(error) else "none given")],
        ) from error
    return check_inputs(arrays, inputs, label=path.name)


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
    highest = _highest_id(tensor)
    if highest is None and not dtype.startswith(("int", "uint")):
        return Input(name, shape, dtype)
    return Input(name, shape, dtype, 0.0, 1.0 if highest is None else highest, is_ids=True)


def _highest_id(tensor: Any) -> int | None:
    """Return the largest id that the Embedding reading a tensor knows, or ``None``."""
    calls = list(getattr(tensor._keras_history.operation, "_outbound_nodes", []))  # noqa: SLF001 -- the only link
    for call in calls:
        for layer in (call.operation, *getattr(call.operation, "_layers", [])):
            for name in _EMBEDDED_SIZES:
                size = getattr(layer, name, None)
                if isinstance(size, int) and "mbedding" in type(layer).__name__:
                    return size - 1
    return None


def _from_build(model: Any) -> Input:
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    shape = next(iter(shapes.values()), None) if len(shapes) == 1 else None
    if not isinstance(shape, (tuple, list)) or not all(
        size is None or isinstance(size, int) for size in shape
    ):
        raise UsageError(
            f"cannot make inputs for '{model.name}': it does not say what it takes",
            hint="give the inputs, as arrays or as an .npz file",
        )
    return Input("input", tuple(shape[1:]), "float32")


def _refined(one: Input, value: ModelValue | None) -> Input:
    """Return an input with what a mapping says about it."""
    if value is None:
        return one
    shape = one.shape
    if len(value.shape) == len(shape):
        pairs = zip(shape, value.shape, strict=True)
        shape = tuple(said if size is None else size for size, said in pairs)
    return replace(one, shape=shape, low=value.low, high=value.high)


def _values(one: Input, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    if one.is_mask:
        return _lengths(shape).astype(one.dtype)
    if one.is_ids:
        return _ids(one, shape, generator).astype(one.dtype)
    field = generator.standard_normal(shape) * 0.5 + _smooth(shape, generator)
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
