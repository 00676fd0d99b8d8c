"""Dense, embedding, normalisation and activation kinds: both frameworks give the same outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from keras import layers
from support.layer_kinds import Case, check
from torch import nn

pytestmark = pytest.mark.frameworks


def same(module: Any, *inputs: torch.Tensor) -> torch.Tensor:
    return module(*inputs)


def channels_first(module: Any, image: torch.Tensor) -> torch.Tensor:
    return module(image.movedim(-1, 1)).movedim(1, -1)


class Flattened(nn.Linear):
    """A Linear behind a channels-first image."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image.movedim(-1, 1).flatten(1))


class InOut(nn.Module):
    """The Conv1D of GPT-2 in transformers: weight (in, out)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(5, 7))
        self.bias = nn.Parameter(torch.empty(7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


class Untied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.reverse = nn.Linear(5, 11, bias=False)


class PositionEmbedding(layers.Layer):
    """The variable and the output of keras_hub's layer of this name."""

    def build(self, shape: Any) -> None:
        self.position_embeddings = self.add_weight(
            name="position_embeddings", shape=(11, shape[-1])
        )

    def call(self, x: Any) -> Any:
        return self.position_embeddings[: x.shape[1]]


class Standardised(nn.Module):
    """keras.layers.Normalization as buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.empty(5))
        self.register_buffer("variance", torch.empty(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.variance.sqrt().clamp_min(1e-7)


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, 5, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.movedim(-1, 1)
        return (x.clamp_min(0) - self.weight * (-x).clamp_min(0)).movedim(1, -1)


class Stft(nn.Module):
    """Magnitude of two convolutions with the stored kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.real_kernel = nn.Parameter(torch.empty(9, 1, 16))
        self.imag_kernel = nn.Parameter(torch.empty(9, 1, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [
            nn.functional.conv1d(x.movedim(-1, 1), kernel, stride=4)
            for kernel in (self.real_kernel, self.imag_kernel)
        ]
        return (parts[0] ** 2 + parts[1] ** 2).sqrt().movedim(1, -1)


class Scaled(nn.Module):
    def __init__(self, name: str, *shape: int) -> None:
        super().__init__()
        self.name = name
        self.register_parameter(name, nn.Parameter(torch.empty(shape)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * getattr(self, self.name)


class OnePlus(nn.Module):
    """Gemma's RMSNorm in transformers: 1 + weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return x * scale * (1 + self.weight)


def einsum(equation: str, shape: Any, bias_axes: str | None) -> Callable[[], Any]:
    return lambda: layers.EinsumDense(equation, shape, bias_axes=bias_axes)


def layer_scale() -> Any:
    from keras.src.applications.convnext import LayerScale

    return LayerScale(0.1, 5)


def integers(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.integers(0, 11, shape)


DENSE = [
    Case("dense", "dense", lambda: layers.Dense(7), lambda: nn.Linear(5, 7), [(3, 5)], same),
    Case("dense without bias", "dense", lambda: layers.Dense(7, use_bias=False),
         lambda: nn.Linear(5, 7, bias=False), [(3, 2, 5)], same),
    Case("dense after Flatten", "dense_after_flatten", lambda: layers.Dense(7),
         lambda: Flattened(5 * 4 * 3, 7), [(3, 5, 4, 3)], same,
         call=lambda layer, x: layer(x.reshape(len(x), -1)), sizes={"c": 3}, automatic=False),
    Case("weight in, out", "linear_in_out", lambda: layers.Dense(7), InOut, [(3, 5)], same,
         automatic=False),
    Case("1x1 convolution", "conv_1x1", lambda: layers.Dense(7), lambda: nn.Conv2d(5, 7, 1),
         [(3, 4, 2, 5)], channels_first, automatic=False),
    Case("1x1 convolution over steps", "conv_1x1_1d", lambda: layers.Dense(7),
         lambda: nn.Conv1d(5, 7, 1), [(3, 4, 5)], channels_first, automatic=False),
    Case("time distributed", "dense", lambda: layers.TimeDistributed(layers.Dense(7)),
         lambda: nn.Linear(5, 7), [(3, 4, 5)], same),
    Case("einsum, one to one", "einsum_dense", einsum("ab,bc->ac", (7,), "c"),
         lambda: nn.Linear(5, 7), [(3, 5)], same),
    Case("einsum, dots", "einsum_dense", einsum("...x,xy->...y", 7, None),
         lambda: nn.Linear(5, 7, bias=False), [(3, 4, 5)], same),
    Case("einsum, out before in", "einsum_dense", einsum("abc,dc->abd", (None, 7), "d"),
         lambda: nn.Linear(5, 7), [(3, 4, 5)], same),
    Case("einsum, one to two", "einsum_dense", einsum("abc,cde->abde", (None, 2, 7), "de"),
         lambda: nn.Linear(5, 14), [(3, 4, 5)], lambda m, x: m(x).unflatten(-1, (2, 7))),
    Case("einsum, heads first", "einsum_dense", einsum("btd,ndh->btnh", (None, 2, 7), None),
         lambda: nn.Linear(5, 14, bias=False), [(3, 4, 5)],
         lambda m, x: m(x).unflatten(-1, (2, 7))),
    Case("einsum, two to one", "einsum_dense", einsum("abde,dec->abc", (None, 7), "c"),
         lambda: nn.Linear(10, 7), [(3, 4, 2, 5)], lambda m, x: m(x.flatten(2))),
    Case("attention projection", "attention_projection",
         einsum("abc,cde->abde", (None, 2, 7), "de"), lambda: nn.Linear(5, 14), [(3, 4, 5)],
         lambda m, x: m(x).unflatten(-1, (2, 7)), automatic=False),
    Case("attention projection, heads first", "attention_projection_heads_first",
         einsum("btd,ndh->btnh", (None, 2, 7), "nh"), lambda: nn.Linear(5, 14), [(3, 4, 5)],
         lambda m, x: m(x).unflatten(-1, (2, 7)), automatic=False),
    Case("attention output", "attention_output", einsum("abde,dec->abc", (None, 7), "c"),
         lambda: nn.Linear(10, 7), [(3, 4, 2, 5)], lambda m, x: m(x.flatten(2)), automatic=False),
]  # fmt: skip

EMBEDDING = [
    Case("embedding", "embedding", lambda: layers.Embedding(11, 5), lambda: nn.Embedding(11, 5),
         [(3, 4)], same, draw=integers),
    Case("positions", "position_embedding", PositionEmbedding, lambda: nn.Embedding(11, 5),
         [(3, 4, 5)], lambda m, x: m(torch.arange(4))),
    Case("reversible, tied", "reversible_embedding", lambda: layers.ReversibleEmbedding(11, 5),
         lambda: nn.Embedding(11, 5), [(3, 4, 5)], lambda m, x: x @ m.weight.T,
         call=lambda layer, x: layer(x, reverse=True)),
    Case("reversible, untied", "reversible_embedding_untied",
         lambda: layers.ReversibleEmbedding(11, 5, tie_weights=False), Untied, [(3, 4)],
         lambda m, x: m.reverse(m.embedding(x)),
         call=lambda layer, x: layer(layer(x), reverse=True), draw=integers),
]  # fmt: skip

BATCH_NORM = [
    Case(f"batch norm scale={scale} center={center} rank {rank}", "batch_norm",
         lambda scale=scale, center=center: layers.BatchNormalization(
             scale=scale, center=center, epsilon=1e-3),
         {2: lambda: nn.BatchNorm1d(5, eps=1e-3), 4: lambda: nn.BatchNorm2d(5, eps=1e-3)}[rank],
         [(3, 5) if rank == 2 else (3, 4, 2, 5)], channels_first)
    for scale in (True, False) for center in (True, False) for rank in (2, 4)
]  # fmt: skip

NORMALISATION = [
    *BATCH_NORM,
    Case("batch norm, no affine on either side", "batch_norm",
         lambda: layers.BatchNormalization(scale=False, center=False, epsilon=1e-5),
         lambda: nn.BatchNorm1d(5, affine=False), [(3, 5)], same),
    Case("batch norm, renorm", "batch_norm_renorm",
         lambda: layers.BatchNormalization(renorm=True, epsilon=1e-5),
         lambda: nn.BatchNorm2d(5), [(3, 4, 2, 5)], channels_first),
    Case("layer norm", "layer_norm", lambda: layers.LayerNormalization(epsilon=1e-5),
         lambda: nn.LayerNorm(5), [(3, 4, 5)], same),
    Case("layer norm, two axes", "layer_norm",
         lambda: layers.LayerNormalization(axis=(-2, -1), epsilon=1e-5),
         lambda: nn.LayerNorm((4, 5)), [(3, 2, 4, 5)], same),
    Case("layer norm, no gamma", "layer_norm",
         lambda: layers.LayerNormalization(scale=False, epsilon=1e-5),
         lambda: nn.LayerNorm(5), [(3, 4, 5)], same),
    Case("layer norm, no beta on either side", "layer_norm",
         lambda: layers.LayerNormalization(center=False, epsilon=1e-5),
         lambda: nn.LayerNorm(5, bias=False), [(3, 4, 5)], same),
    Case("group norm", "group_norm", lambda: layers.GroupNormalization(2, epsilon=1e-5),
         lambda: nn.GroupNorm(2, 6), [(3, 4, 5, 6)], channels_first),
    Case("group norm, no gamma", "group_norm",
         lambda: layers.GroupNormalization(3, scale=False, epsilon=1e-5),
         lambda: nn.GroupNorm(3, 6), [(3, 4, 5, 6)], channels_first),
    Case("rms norm", "rms_norm", lambda: layers.RMSNormalization(epsilon=1e-6),
         lambda: nn.RMSNorm(5, eps=1e-6), [(3, 4, 5)], same),
    Case("normalization", "normalization", layers.Normalization, Standardised, [(3, 5)], same),
    Case("layer scale vector", "layer_scale_vector", layer_scale, lambda: Scaled("gamma", 5),
         [(3, 4, 2, 5)], same),
    Case("layer scale", "layer_scale", layer_scale, lambda: Scaled("layer_scale", 5, 1, 1),
         [(3, 4, 2, 5)], channels_first, automatic=False),
]  # fmt: skip

PRELU = [
    Case("prelu", "prelu", layers.PReLU, lambda: nn.PReLU(5), [(3, 5)], same),
    Case("prelu 1d", "prelu_1d", lambda: layers.PReLU(shared_axes=[1]), lambda: nn.PReLU(5),
         [(3, 4, 5)], channels_first),
    Case("prelu 2d", "prelu_2d", lambda: layers.PReLU(shared_axes=[1, 2]), lambda: nn.PReLU(5),
         [(3, 4, 2, 5)], channels_first),
    Case("prelu 3d", "prelu_3d", lambda: layers.PReLU(shared_axes=[1, 2, 3]), lambda: nn.PReLU(5),
         [(3, 4, 2, 6, 5)], channels_first),
    Case("prelu, channels first", "prelu_2d_channels_first",
         lambda: layers.PReLU(shared_axes=[2, 3]), lambda: nn.PReLU(5), [(3, 5, 4, 2)], same),
    Case("prelu, one slope", "prelu_2d", lambda: layers.PReLU(shared_axes=[1, 2]),
         lambda: nn.PReLU(1), [(3, 4, 2, 1)], channels_first),
    Case("prelu per position", "prelu_per_position", layers.PReLU, Positions, [(4, 5, 7, 3)], same,
         automatic=False),
]  # fmt: skip

OTHER = [
    Case("stft", "stft_spectrogram",
         lambda: layers.STFTSpectrogram(
             mode="magnitude", frame_length=16, frame_step=4, fft_length=16),
         Stft, [(3, 50, 1)], same),
]  # fmt: skip


@pytest.mark.parametrize(
    "case", [*DENSE, *EMBEDDING, *NORMALISATION, *PRELU, *OTHER], ids=lambda case: case.id
)
def test_the_module_gives_the_outputs_of_the_layer(case):
    check(case)


def test_rms_norm_offsets_give_the_outputs_and_round_once():
    from support.layer_kinds import BOUND, difference, run_keras, run_torch, to_keras, to_torch

    case = Case("", "rms_norm_minus_one", lambda: layers.RMSNormalization(epsilon=1e-6), OnePlus,
                [(3, 4, 5)], same, automatic=False)  # fmt: skip
    ran = run_keras(case)
    state = to_torch(ran.kind, ran.arrays)
    assert difference(run_torch(case, ran, state), ran.keras) <= BOUND
    back = to_keras(ran.kind, state, ran.arrays)["scale"]
    np.testing.assert_allclose(back, ran.arrays["scale"], rtol=0, atol=1.2e-7)


def test_rms_norm_plus_one_is_the_inverse_of_minus_one():
    from support.layer_kinds import to_torch

    from converter.mapping.catalogue import load_catalogue

    kinds = load_catalogue().kinds
    scale = np.array([0.5, 1.0, -2.0], "float32")
    there = to_torch(kinds["rms_norm_plus_one"], {"scale": scale})["weight"]
    np.testing.assert_array_equal(there, [1.5, 2.0, -1.0])
    back = to_torch(kinds["rms_norm_minus_one"], {"scale": there})["weight"]
    np.testing.assert_array_equal(back, scale)
