"""Convolution kinds, odd sizes, groups, dilation, strides: both frameworks give the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from keras import layers
from support.layer_kinds import Case, check, described, randomise
from torch import nn

pytestmark = pytest.mark.frameworks

IMAGE = (3, 9, 11, 4)


def channels_first(module: Any, image: torch.Tensor) -> torch.Tensor:
    return module(image.movedim(-1, 1)).movedim(1, -1)


class OfXception(nn.Module):
    """With the names of timm's Xception."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 4, (3, 2), groups=4, bias=False)
        self.pointwise = nn.Conv2d(4, 7, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pointwise(self.conv1(x))


class Separable(nn.Module):
    def __init__(self, conv: Any, kernel: Any, bias: bool = True) -> None:
        super().__init__()
        self.depthwise = conv(4, 8, kernel, groups=4, bias=False)
        self.pointwise = conv(8, 7, 1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pointwise(self.depthwise(x))


CONVOLUTIONS = [
    Case("conv1d", "conv1d", lambda: layers.Conv1D(5, 3), lambda: nn.Conv1d(4, 5, 3),
         [(3, 9, 4)], channels_first),
    Case("conv1d, groups, dilation", "conv1d",
         lambda: layers.Conv1D(10, 3, groups=2, dilation_rate=2, use_bias=False),
         lambda: nn.Conv1d(4, 10, 3, groups=2, dilation=2, bias=False), [(3, 9, 4)],
         channels_first),
    Case("conv2d", "conv2d", lambda: layers.Conv2D(5, (3, 2)), lambda: nn.Conv2d(4, 5, (3, 2)),
         [IMAGE], channels_first),
    Case("conv2d without bias, stride", "conv2d",
         lambda: layers.Conv2D(5, (3, 2), strides=2, use_bias=False),
         lambda: nn.Conv2d(4, 5, (3, 2), stride=2, bias=False), [IMAGE], channels_first),
    Case("conv2d, groups, dilation", "conv2d",
         lambda: layers.Conv2D(12, (3, 5), groups=2, dilation_rate=2),
         lambda: nn.Conv2d(4, 12, (3, 5), groups=2, dilation=2), [IMAGE], channels_first),
    Case("conv2d, same", "conv2d", lambda: layers.Conv2D(5, (3, 1), padding="same"),
         lambda: nn.Conv2d(4, 5, (3, 1), padding="same"), [IMAGE], channels_first),
    Case("conv2d, channels first in Keras too", "conv2d",
         lambda: layers.Conv2D(5, (3, 2), data_format="channels_first"),
         lambda: nn.Conv2d(4, 5, (3, 2)), [(3, 4, 9, 11)], lambda m, x: m(x)),
    Case("conv2d of one pixel", "conv2d_as_linear", lambda: layers.Conv2D(5, 1),
         lambda: nn.Linear(4, 5), [(3, 1, 1, 4)], lambda m, x: m(x), automatic=False),
    Case("conv2d whose bias is often zero", "conv2d_bias_or_zero",
         lambda: layers.Conv2D(5, (3, 2)), lambda: nn.Conv2d(4, 5, (3, 2)), [IMAGE],
         channels_first, automatic=False),
    Case("separable conv2d of Xception", "separable_conv2d_xception",
         lambda: layers.SeparableConv2D(7, (3, 2), use_bias=False), OfXception, [IMAGE],
         channels_first, automatic=False),
    Case("conv3d", "conv3d", lambda: layers.Conv3D(6, (3, 2, 5)),
         lambda: nn.Conv3d(4, 6, (3, 2, 5)), [(3, 5, 7, 9, 4)], channels_first),
    Case("conv1d transpose", "conv1d_transpose", lambda: layers.Conv1DTranspose(5, 3, strides=2),
         lambda: nn.ConvTranspose1d(4, 5, 3, stride=2), [(3, 9, 4)], channels_first),
    Case("conv2d transpose", "conv2d_transpose",
         lambda: layers.Conv2DTranspose(5, (3, 2), strides=(1, 2)),
         lambda: nn.ConvTranspose2d(4, 5, (3, 2), stride=(1, 2)), [IMAGE], channels_first),
    Case("conv2d transpose without bias", "conv2d_transpose",
         lambda: layers.Conv2DTranspose(5, (3, 2), use_bias=False),
         lambda: nn.ConvTranspose2d(4, 5, (3, 2), bias=False), [IMAGE], channels_first),
    Case("conv3d transpose", "conv3d_transpose",
         lambda: layers.Conv3DTranspose(6, (3, 2, 5), strides=2),
         lambda: nn.ConvTranspose3d(4, 6, (3, 2, 5), stride=2), [(3, 5, 3, 7, 4)],
         channels_first),
    Case("depthwise 1d, multiplier 3", "depthwise_conv1d",
         lambda: layers.DepthwiseConv1D(5, depth_multiplier=3),
         lambda: nn.Conv1d(4, 12, 5, groups=4), [(3, 9, 4)], channels_first),
    Case("depthwise 2d, multiplier 3", "depthwise_conv2d",
         lambda: layers.DepthwiseConv2D((5, 2), depth_multiplier=3),
         lambda: nn.Conv2d(4, 12, (5, 2), groups=4), [IMAGE], channels_first),
    Case("depthwise 2d, multiplier 1, without bias", "depthwise_conv2d",
         lambda: layers.DepthwiseConv2D((5, 2), use_bias=False),
         lambda: nn.Conv2d(4, 4, (5, 2), groups=4, bias=False), [IMAGE], channels_first),
    Case("separable 1d", "separable_conv1d",
         lambda: layers.SeparableConv1D(7, 3, depth_multiplier=2),
         lambda: Separable(nn.Conv1d, 3), [(3, 9, 4)], channels_first),
    Case("separable 2d", "separable_conv2d",
         lambda: layers.SeparableConv2D(7, (3, 5), depth_multiplier=2),
         lambda: Separable(nn.Conv2d, (3, 5)), [IMAGE], channels_first),
    Case("separable 2d without bias", "separable_conv2d",
         lambda: layers.SeparableConv2D(7, (3, 5), depth_multiplier=2, use_bias=False),
         lambda: Separable(nn.Conv2d, (3, 5), bias=False), [IMAGE], channels_first),
    Case("time distributed conv2d", "conv2d",
         lambda: layers.TimeDistributed(layers.Conv2D(5, (3, 2))),
         lambda: nn.Conv2d(4, 5, (3, 2)), [(3, 2, *IMAGE[1:])],
         lambda m, x: channels_first(m, x.flatten(0, 1)).unflatten(0, (3, 2))),
]  # fmt: skip


def float_ids(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Make ids as float32: SpectralNormalization casts its output to the type of its input."""
    return rng.integers(0, 11, shape).astype("float32")


def spectral(kind: str, inner: Any, module: Any, inputs: Any, run: Any, **more: Any) -> Case:
    layer = lambda: layers.SpectralNormalization(inner())  # noqa: E731 - a name for one row
    return Case(f"spectral {kind}", f"spectral_{kind}", layer, module, inputs, run, **more)


SPECTRAL = [
    spectral("dense", lambda: layers.Dense(7), lambda: nn.Linear(5, 7), [(3, 5)],
             lambda m, x: m(x)),
    spectral("embedding", lambda: layers.Embedding(11, 5), lambda: nn.Embedding(11, 5), [(3, 4)],
             lambda m, x: m(x.long()), draw=float_ids),
    spectral("conv1d", lambda: layers.Conv1D(5, 3), lambda: nn.Conv1d(4, 5, 3), [(3, 9, 4)],
             channels_first),
    spectral("conv2d", lambda: layers.Conv2D(5, (3, 2)), lambda: nn.Conv2d(4, 5, (3, 2)), [IMAGE],
             channels_first),
    spectral("conv3d", lambda: layers.Conv3D(6, (3, 2, 5)), lambda: nn.Conv3d(4, 6, (3, 2, 5)),
             [(3, 5, 7, 9, 4)], channels_first),
    spectral("conv1d_transpose", lambda: layers.Conv1DTranspose(5, 3),
             lambda: nn.ConvTranspose1d(4, 5, 3), [(3, 9, 4)], channels_first),
    spectral("conv2d_transpose", lambda: layers.Conv2DTranspose(5, (3, 2)),
             lambda: nn.ConvTranspose2d(4, 5, (3, 2)), [IMAGE], channels_first),
    spectral("conv3d_transpose", lambda: layers.Conv3DTranspose(6, (3, 2, 5)),
             lambda: nn.ConvTranspose3d(4, 6, (3, 2, 5)), [(3, 5, 3, 7, 4)], channels_first),
    spectral("depthwise_conv2d", lambda: layers.DepthwiseConv2D((5, 2), depth_multiplier=3),
             lambda: nn.Conv2d(4, 12, (5, 2), groups=4), [IMAGE], channels_first),
]  # fmt: skip


@pytest.mark.parametrize("case", [*CONVOLUTIONS, *SPECTRAL], ids=lambda case: case.id)
def test_the_module_gives_the_outputs_of_the_layer(case):
    check(case)


def test_the_kernel_of_a_trained_spectral_normalization_is_used_as_it_is():
    layer = layers.SpectralNormalization(layers.Dense(7))
    x = np.random.default_rng(1).normal(size=(3, 5)).astype("float32")
    layer(x)
    randomise(layer, np.random.default_rng(2))
    for _ in range(30):
        layer(x, training=True)
    _, arrays = described(layer)
    expected = x @ arrays["kernel"] + arrays["bias"]
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=0, atol=2e-6)
    assert np.linalg.norm(arrays["kernel"], 2) == pytest.approx(1, abs=1e-3)
