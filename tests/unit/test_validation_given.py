"""Inputs from files: arrays, images and ids, each refused where it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from converter.errors import CheckpointError, ProblemsError, UsageError
from converter.validation.given import load_inputs
from converter.validation.inputs import Input, make_inputs

IMAGE = Input("image", (6, 9, 3), "float32")
IDS = Input("ids", (None,), "int32", 0, 40, is_ids=True)
MASK = Input("mask", (None,), "int32", 0, 1, is_mask=True)


def picture(path: Path, seed: int = 0) -> np.ndarray:
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_an_array_is_for_the_only_input(tmp_path: Path) -> None:
    array = np.random.default_rng(0).standard_normal((4, 6, 9, 3)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    assert np.array_equal(load_inputs(tmp_path / "a.npy", [IMAGE])["image"], array)
    with pytest.raises(ProblemsError, match=r"expected \(batch, any\), found \(4, 6, 9, 3\)"):
        load_inputs(tmp_path / "a.npy", [IDS])


def test_images_of_a_folder_in_the_order_of_their_names(tmp_path: Path) -> None:
    second, first = picture(tmp_path / "b.png", 1), picture(tmp_path / "a.png", 2)
    (tmp_path / "notes.md").write_text("no image")
    found = load_inputs(tmp_path, [IMAGE])["image"]
    assert (found.shape, found.dtype) == ((2, 6, 9, 3), np.float32)
    assert np.array_equal(found[0], first)
    assert np.array_equal(found[1], second)


def test_an_image_is_scaled_and_made_grey_where_the_model_wants_it(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    grey = load_inputs(tmp_path / "a.png", [Input("image", (12, 5, 1), "float32")])["image"]
    assert grey.shape == (1, 12, 5, 1)
    assert 0 <= grey.min() < grey.max() <= 255
    free = load_inputs(tmp_path / "a.png", [Input("image", (None, None, 3), "float32")])["image"]
    assert free.shape == (1, 96, 128, 3)


def test_ids_are_padded_and_the_mask_says_where(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("5 6 7 8\n9, 10\n\n11\n")
    found = load_inputs(tmp_path / "ids.txt", [IDS, MASK])
    assert found["ids"].tolist() == [[5, 6, 7, 8], [9, 10, 0, 0], [11, 0, 0, 0]]
    assert found["mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]


def broken_image(folder: Path) -> Path:
    (folder / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    return folder / "x.png"


def text(content: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "ids.txt").write_text(content)
        return folder / "ids.txt"

    return write


def objects(folder: Path) -> Path:
    np.save(folder / "o.npy", np.array([object()]), allow_pickle=True)
    return folder / "o.npy"


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


@pytest.mark.parametrize(
    ("write", "inputs", "kind", "message"),
    [
        (broken_image, [IMAGE], CheckpointError, "inputs from 'x.png': it is not an image"),
        (broken_image, [IDS], UsageError, "the model does not take images alone"),
        (text("1 two 3"), [IDS], CheckpointError, "it is not lines of whole numbers"),
        (text("\n"), [IDS], UsageError, "there is no number in it"),
        (text("1 2"), [IMAGE], UsageError, "the model does not take ids alone"),
        (
            text("1 2 3"),
            [Input("ids", (2,), "int32", 0, 9, is_ids=True)],
            UsageError,
            "line 1 has 3 ids, and 'ids' takes 2",
        ),
        (objects, [IMAGE], CheckpointError, "it is not an .npy file of one plain array"),
        (empty, [IMAGE], UsageError, "there is no image in this folder"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_does_not_fit_is_refused(tmp_path, write, inputs, kind, message) -> None:
    with pytest.raises(kind) as raised:
        load_inputs(write(tmp_path), inputs)
    assert message in str(raised.value)


def test_made_inputs_hold_noise_a_smooth_field_and_both() -> None:
    image = make_inputs([Input("image", (None, None, 3), "float32")], seed=0)["image"]
    assert image.shape == (3, 70, 93, 3)
    steps = [float(np.abs(np.diff(sample, axis=1)).mean()) for sample in image]
    assert steps[0] > 20 * steps[1]  # neighbours of noise are strangers
    assert steps[1] < steps[2] < steps[0]
    assert abs(float(image[0].mean())) < 0.02


def test_made_ids_are_padded_where_zero_masks_and_nowhere_else() -> None:
    padded = Input("ids", (11,), "int32", 0, 40, is_ids=True, is_padded=True)
    ids = make_inputs([padded], seed=0)["ids"]
    assert (ids[0] > 0).all()
    assert [int((row == 0).sum()) for row in ids] == [0, 1, 2]
    assert (ids[2, :9] > 0).all()
    plain = make_inputs([Input("ids", (11,), "int32", 0, 40, is_ids=True)], seed=0)["ids"]
    assert (plain[:, -1] > 0).any()
    masked = make_inputs([IDS, MASK], seed=0)
    assert np.array_equal(masked["ids"] > 0, masked["mask"] == 1)
