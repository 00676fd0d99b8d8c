"""Live PyTorch modules, state dicts, weights lists: names, ties, dtypes, what is refused."""

from __future__ import annotations

from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn

import converter
from converter.errors import CheckpointError, ProblemsError, UsageError
from converter.live.keras_model import KerasModelCheckpoint
from converter.live.opening import open_live
from converter.live.torch_module import StateDictCheckpoint, TorchModuleCheckpoint, from_array
from converter.live.weights_list import WeightsList
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

pytestmark = [
    pytest.mark.frameworks,
    # Keras 3.15 on the torch backend asks NumPy for arrays in a way that NumPy 2 warns about.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 5)
        self.norm = nn.BatchNorm1d(5)
        self.head = nn.Linear(5, 11, bias=False)
        self.head.weight = self.embed.weight


def test_manifest_is_the_state_dict() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4))
    checkpoint = open_live(module)
    assert isinstance(checkpoint, TorchModuleCheckpoint)
    state = module.state_dict()
    assert list(checkpoint.manifest.tensors) == list(state)
    assert checkpoint.manifest.family == "torch"
    for name, tensor in state.items():
        spec = checkpoint.manifest[name]
        assert (spec.shape, spec.dtype.name) == (
            tuple(tensor.shape),
            str(tensor.dtype).removeprefix("torch."),
        )
        value = checkpoint.read(name)
        assert value.shape == spec.shape
        assert np.array_equal(value, tensor.numpy())


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_shared_tensor_is_a_tie(device: str) -> None:
    manifest = TorchModuleCheckpoint(Tied().to(device) if device == "cpu" else meta_tied()).manifest
    assert dict(manifest.ties) == {"head.weight": "embed.weight"}
    assert "head.weight" not in manifest
    assert "embed.weight" in manifest


def meta_tied() -> Any:
    with torch.device("meta"):
        return Tied()


def test_views_of_one_storage_are_no_ties() -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    manifest = StateDictCheckpoint(
        {"a": whole[0], "b": whole[1], "c": whole, "d": whole.T}
    ).manifest
    assert dict(manifest.ties) == {}
    values = StateDictCheckpoint({"d": whole.T})
    assert values.read("d").flags.c_contiguous
    assert np.array_equal(values.read("d"), whole.T.numpy())


def test_wrappers_are_left_out_by_component() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enc = torch.compile(nn.Linear(3, 2), backend="eager")
            self.module = nn.Linear(2, 4)  # a name of the user's own, no wrapper

    expected = ["enc.weight", "enc.bias", "module.weight", "module.bias"]
    outer = Outer()
    assert list(TorchModuleCheckpoint(outer).manifest.tensors) == expected
    assert list(TorchModuleCheckpoint(nn.DataParallel(outer)).manifest.tensors) == expected
    compiled = TorchModuleCheckpoint(torch.compile(nn.DataParallel(outer), backend="eager"))
    assert list(compiled.manifest.tensors) == expected
    assert compiled.keys["enc.weight"] == "_orig_mod.module.enc._orig_mod.weight"
    averaged = torch.optim.swa_utils.AveragedModel(nn.Linear(3, 2))
    assert set(TorchModuleCheckpoint(averaged).manifest.tensors) == {"n_averaged", "weight", "bias"}


def test_parametrizations_keep_their_names() -> None:
    module = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    assert "parametrizations.weight.original0" in TorchModuleCheckpoint(module).manifest


@pytest.mark.parametrize(
    "dtype",
    [torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn, torch.int64, torch.bool],
)
def test_every_dtype_arrives_bit_for_bit_and_goes_back(dtype: torch.dtype) -> None:
    tensor = torch.randn(3, 5).mul(4).to(dtype)
    value = StateDictCheckpoint({"a": tensor}).read("a")
    name = str(dtype).removeprefix("torch.")
    known = getattr(ml_dtypes, name, None)
    assert value.dtype == np.dtype(known if known is not None else name)
    back = from_array(value)
    assert back.dtype == dtype
    assert back.view(torch.uint8).equal(tensor.view(torch.uint8))


def test_loading_sets_in_place_and_checks_everything_first() -> None:
    module = Tied()
    checkpoint = TorchModuleCheckpoint(module)
    arrays = {name: checkpoint.read(name) + 1 for name in checkpoint.manifest.tensors}
    weight = module.embed.weight
    checkpoint.load(arrays)
    assert module.head.weight is weight
    assert np.array_equal(weight.detach().numpy(), arrays["embed.weight"])
    bad = {**arrays, "norm.bias": np.ones((1,)), "other": np.ones(2)}
    del bad["embed.weight"]
    with pytest.raises(ProblemsError) as raised:
        checkpoint.load(bad)
    assert str(raised.value) == (
        "cannot load into Tied\n"
        "  missing     embed.weight  (11, 5) float32\n"
        "  mismatched  norm.bias  expected (5,), found (1,)\n"
        "  unexpected  other  the module has no such tensor"
    )


def test_a_keras_model_on_the_torch_backend_is_no_pytorch_module() -> None:
    if keras.backend.backend() != "torch":
        pytest.skip("a Keras model is a torch module on the torch backend only")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert isinstance(model, nn.Module)
    assert isinstance(open_live(model), KerasModelCheckpoint)
    with pytest.raises(CheckpointError, match="it is a Keras model on the torch backend, whose"):
        TorchModuleCheckpoint(model)
    with pytest.raises(CheckpointError, match="'0' is a Keras layer on the torch backend"):
        TorchModuleCheckpoint(nn.Sequential(model))


def test_what_has_no_values_is_said() -> None:
    checkpoint = TorchModuleCheckpoint(meta_tied())
    with pytest.raises(CheckpointError, match="it is on the 'meta' device and has no values"):
        checkpoint.read("embed.weight")
    lazy = nn.LazyLinear(3)
    with pytest.raises(CheckpointError, match="2 lazy parameters have no shape yet"):
        TorchModuleCheckpoint(lazy)
    sparse = StateDictCheckpoint({"s": torch.eye(3).to_sparse()})
    with pytest.raises(CheckpointError, match="has no plain memory"):
        sparse.read("s")


def test_dictionaries() -> None:
    checkpoint = open_live({"w": torch.ones(2, 3), "step": 7, "b": np.ones(3)})
    assert checkpoint is not None
    assert list(checkpoint.manifest.tensors) == ["w", "b"]
    assert checkpoint.manifest.family == "torch"
    assert checkpoint.manifest.notices == ("'step' is left out: it is a int, not a tensor",)
    plain = open_live({"b": np.ones(3)})
    assert plain is not None
    assert plain.manifest.family is None
    with pytest.raises(CheckpointError) as raised:
        open_live({"state_dict": {"w": torch.ones(1)}, "epoch": 3})
    assert str(raised.value) == (
        "cannot read state dict: it holds no tensor\n"
        "  tensors under  'state_dict'\n"
        "  hint           open the inner dictionary: checkpoint['state_dict']"
    )


LIKE = Manifest.of(
    [
        TensorSpec(name, shape, StateDictCheckpoint({"a": np.ones(1, "f4")}).manifest["a"].dtype)
        for name, shape in (("d/kernel", (2, 3)), ("d/bias", (3,)), ("e/kernel", (3, 4)))
    ],
    family="keras",
)


def test_a_list_takes_the_names_of_the_model() -> None:
    arrays = [np.full(spec.shape, index, np.float64) for index, spec in enumerate(LIKE)]
    checkpoint = WeightsList(arrays, LIKE)
    assert list(checkpoint.manifest.tensors) == list(LIKE.tensors)
    assert checkpoint.manifest["d/bias"].dtype.name == "float64"
    assert np.array_equal(checkpoint.read("e/kernel"), arrays[2])


def test_every_difference_of_a_list_is_told_at_once() -> None:
    with pytest.raises(ProblemsError) as raised:
        WeightsList([np.ones((3, 2)), np.ones(3)], LIKE)
    assert str(raised.value) == (
        "cannot read the list of 2 arrays as 3 tensors\n"
        "  mismatched  array 0, 'd/kernel'  expected (2, 3), found (3, 2)\n"
        "  missing     e/kernel  (3, 4) float32"
    )
    with pytest.raises(ProblemsError) as raised:
        WeightsList([np.ones((2, 3)), np.array(["a"] * 3), np.ones((3, 4)), np.ones(2)], LIKE)
    assert str(raised.value) == (
        "cannot read the list of 4 arrays as 3 tensors\n"
        "  mismatched  array 1, 'd/bias'  no tensor has elements of type '<U1'\n"
        "  unexpected  array 3  (2,) float64"
    )
    with pytest.raises(UsageError, match="cannot read a list of arrays: it has no names"):
        open_live([np.ones(2)])


def test_a_state_dict_of_a_tied_module_has_both_names() -> None:
    """load_state_dict is strict about both; the manifest holds the tensor once."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(7, 3)
            self.head = nn.Linear(3, 7, bias=False)
            self.head.weight = self.words.weight

    source, target = Tied(), Tied()
    target.load_state_dict(converter.plan(source, like=target).state_dict())
    assert torch.equal(target.head.weight, source.words.weight)
