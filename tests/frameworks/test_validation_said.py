"""What a mapping says about inputs and outputs: where PyTorch begins, and which positions count."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch

from converter.errors import UsageError
from converter.mapping.rules import ModelValue
from converter.validation.validate import Options, validate

pytestmark = pytest.mark.frameworks


def _images() -> tuple[Any, Any]:
    """Keras rescales inside the model, PyTorch does not."""
    layers = keras.layers
    image = keras.Input((6, 8, 3), name="image")
    scaled = layers.Rescaling(1 / 64, offset=-1.5, name="rescaling")(image)
    model = keras.Model(image, layers.Conv2D(5, (2, 3), name="stem")(scaled))
    module = torch.nn.Conv2d(3, 5, (2, 3))
    random = np.random.default_rng(0)
    stem = model.get_layer("stem")
    stem.set_weights([random.normal(size=one.shape).astype("f4") for one in stem.get_weights()])
    kernel, bias = stem.get_weights()
    module.weight.data = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
    module.bias.data = torch.from_numpy(bias)
    return model, module


def _input(before: str) -> Options:
    value = ModelValue(low=0.0, high=255.0, axes="b h w c -> b c h w", before=before)
    return Options(inputs=[value])


def test_pytorch_begins_behind_what_keras_does_with_the_image():
    report = validate(*_images(), options=_input("stem"))
    assert report.verdict == "pass"


def test_without_it_the_outputs_differ():
    assert validate(*_images(), options=_input("")).verdict == "fail"


def test_a_layer_that_is_not_there():
    with pytest.raises(UsageError) as caught:
        validate(*_images(), options=_input("stam"))
    assert caught.value.summary.endswith("up to 'stam': it has no such layer in its graph")


class _Masked(torch.nn.Module):
    """Another value than Keras' wherever the mask is 0."""

    def __init__(self, wrong: float, *, everywhere: bool = False) -> None:
        super().__init__()
        self.wrong = wrong
        self.everywhere = everywhere

    def forward(self, values: Any, mask: Any) -> Any:
        lost = torch.ones_like(mask) if self.everywhere else 1 - mask
        return values * 2 + self.wrong * lost[..., None]


def _masked(wrong: float, where: str, *, everywhere: bool = False) -> Any:
    values = keras.Input((7, 5), name="values")
    mask = keras.Input((7,), name="padding_mask", dtype="int32")
    model = keras.Model([values, mask], values * 2 + keras.ops.cast(mask, "float32")[..., None] * 0)
    inputs = [ModelValue("values", "values"), ModelValue("padding_mask", "mask")]
    options = Options(inputs=inputs, outputs=[ModelValue(model.output_names[0], "", where=where)])
    return validate(model, _Masked(wrong, everywhere=everywhere), options=options)


def test_masked_positions_do_not_count():
    assert _masked(3.0, "padding_mask").verdict == "pass"
    assert _masked(3.0, "").verdict == "fail"


def test_the_other_positions_do():
    assert _masked(3.0, "padding_mask", everywhere=True).verdict == "fail"


def test_a_mask_that_is_no_input():
    with pytest.raises(UsageError) as caught:
        _masked(3.0, "mask")
    assert str(caught.value) == (
        "cannot compare where 'mask' is not zero: there is no input of that name\n"
        "  inputs  values, padding_mask"
    )
