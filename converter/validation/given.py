"""Inputs that a person gives: arrays, images or token ids in files.

What a file means is decided by its ending and by the model's inputs: images fit an input of rank
four with 1, 3 or 4 channels, and are scaled to its size; ids fit an input of integers, and are
padded with zeros. Nothing is normalised: preprocessing is the person's, or the graph's.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converter._optional import require
from converter.errors import CheckpointError, UsageError
from converter.tensors.dtype import Array
from converter.validation.inputs import Input, check_inputs

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"})
_TEXTS = frozenset({".txt", ".ids", ".csv"})
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_DEFAULT_SIZE = (96, 128)  # height and width for a model that takes any; odd shapes are the user's


def load_inputs(path: Path, inputs: Sequence[Input]) -> dict[str, Array]:
    """Read arrays for the inputs of a model.

    Args:
        path: An ``.npz`` file whose members are named after the inputs, or an ``.npy`` file, image,
            folder of images, or text of ids (one sample a line) for a model with one input, or
            with one and a mask.
        inputs: The inputs of the model.

    Raises:
        CheckpointError: If the file cannot be read, or holds pickled objects.
        UsageError: If it is of no known kind, or the model takes nothing of that kind.
        ProblemsError: If an input is missing, unexpected, or of a shape that the model refuses.
        MissingDependencyError: If it is an image and Pillow is not installed.
    """
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in IMAGES:
        arrays = {_only(inputs, path, is_ids=False).name: _images(path, inputs)}
    elif suffix in _TEXTS:
        arrays = _ids(path, inputs)
    elif suffix == ".npy":
        arrays = {"": _array(path)}
    else:
        arrays = _archive(path)
    return check_inputs(arrays, inputs, label=path.name)


def _archive(path: Path) -> dict[str, Array]:
    try:
        # NumPy leaves the file open when it is no archive, unless the caller opened it.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, EOFError) as error:
        raise _unreadable(path, "an .npz file of plain arrays", error) from error


def _array(path: Path) -> Array:
    try:
        with path.open("rb") as stream:
            array: Array = np.load(stream, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, "an .npy file of one plain array", error) from error
    return array


def _images(path: Path, inputs: Sequence[Input]) -> Array:
    """Return images as ``(batch, height, width, channels)``, values from 0 to 255."""
    image = require("PIL.Image", why=f"cannot read '{path.name}'", extra="images")
    one = _only(inputs, path, is_ids=False)
    height, width = (
        size or default for size, default in zip(one.shape[:2], _DEFAULT_SIZE, strict=True)
    )
    files = sorted(found for found in path.iterdir() if found.suffix.lower() in IMAGES) if (
        path.is_dir()
    ) else [path]  # fmt: skip
    if not files:
        raise UsageError(
            f"cannot read inputs from '{path.name}': there is no image in this folder",
            facts=[("endings", " ".join(sorted(IMAGES)))],
        )
    mode = _MODES[one.shape[2] or 3]
    return np.stack([_image(image, file, mode, (width, height)) for file in files])


def _image(image: Any, file: Path, mode: str, size: tuple[int, int]) -> Array:
    try:
        with image.open(file) as opened:
            resized = opened.convert(mode).resize(size, image.Resampling.BILINEAR)
    except (OSError, ValueError, image.DecompressionBombError) as error:
        raise _unreadable(file, "an image", error) from error
    array: Array = np.asarray(resized, dtype=np.float32)
    return array if array.ndim == 3 else array[..., None]


def _ids(path: Path, inputs: Sequence[Input]) -> dict[str, Array]:
    """Return ids, padded with zeros, and for a model that takes a mask the one that says so."""
    one = _only(inputs, path, is_ids=True)
    try:
        texts = path.read_text(encoding="utf-8").replace(",", " ").splitlines()
        samples = [[int(word) for word in text.split()] for text in texts if text.strip()]
    except (OSError, ValueError) as error:
        raise _unreadable(path, "lines of whole numbers", error) from error
    if not samples:
        raise UsageError(f"cannot read inputs from '{path.name}': there is no number in it")
    length = one.shape[0] if one.shape and one.shape[0] else max(map(len, samples))
    shape = (len(samples), length)
    ids, mask = np.zeros(shape, one.dtype), np.zeros(shape, np.int64)
    for index, sample in enumerate(samples):
        if len(sample) > length:
            raise UsageError(
                f"cannot use '{path.name}': line {index + 1} has {len(sample)} ids, "
                f"and '{one.name}' takes {length}"
            )
        ids[index, : len(sample)], mask[index, : len(sample)] = sample, 1
    arrays: dict[str, Array] = {one.name: ids}
    for other in inputs:
        if other.is_mask:
            arrays[other.name] = mask.astype(other.dtype)
        elif other.name != one.name:
            arrays[other.name] = np.zeros(shape, other.dtype)  # segments: all of the first
    return arrays


def _only(inputs: Sequence[Input], path: Path, *, is_ids: bool) -> Input:
    """Return the input that ids, or images, are for."""
    if is_ids:
        fitting = [one for one in inputs if one.is_ids and not one.is_mask and len(one.shape) == 1]
    else:
        fitting = [one for one in inputs if len(one.shape) == 3 and one.shape[2] in (*_MODES, None)]
    if fitting and (is_ids or len(fitting) == len(inputs) == 1):
        return fitting[0]
    what = "ids" if is_ids else "images"
    raise UsageError(
        f"cannot use '{path.name}' as inputs: the model does not take {what} alone",
        facts=[("inputs", ", ".join(f"{one.name} {one.shape}" for one in inputs))],
        hint="give an .npz file with an array for each input",
    )


def _unreadable(path: Path, what: str, error: Exception) -> CheckpointError:
    first = str(error).splitlines()[0] if str(error) else "none given"
    return CheckpointError(
        f"cannot read inputs from '{path.name}': it is not {what}", facts=[("reason", first)]
    )
