"""Edits on every format that is written, opened by who it is for; and files without a family."""

import keras
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from support.keras_files import small_network
from support.keras_models import randomised

import converter
from converter import Edit
from converter.inspection.inventory import take_inventory
from converter.planning.families import families

pytestmark = pytest.mark.frameworks


@pytest.fixture
def keras_file(tmp_path):
    randomised(small_network()).save(tmp_path / "a.keras")
    return tmp_path / "a.keras"


def scaled(source, target, name, **options):
    edits = [Edit("scale", name, value=2.0)]
    with converter.open(source) as checkpoint:
        return converter.edited(checkpoint, edits).save(target, **options)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".h5"])
def test_keras_opens_what_was_edited(keras_file, tmp_path, ending):
    target = tmp_path / f"b{ending}"
    if ending != ".keras":
        model = keras.models.load_model(keras_file)
        keras_file = tmp_path / f"a{ending}"
        model.save_weights(keras_file) if "weights" in ending else model.save(keras_file)
    before = keras.models.load_model(tmp_path / "a.keras").get_weights()
    scaled(keras_file, target, "head/kernel")
    if ending == ".weights.h5":
        model = small_network()
        model.load_weights(target)
    else:
        model = keras.models.load_model(target)
    for variable, old in zip(model.weights, before, strict=True):
        expected = old * 2 if variable.path.endswith("head/kernel") else old
        assert np.asarray(variable.numpy()).tobytes() == expected.tobytes(), variable.path


def state():
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Linear(3, 4))
    return net.state_dict()


def expected_state():
    return {name: tensor.numpy() * (2 if name == "1.weight" else 1) for name, tensor in
            state().items()}  # fmt: skip


def test_pytorch_opens_what_was_edited(tmp_path):
    torch.save(state(), tmp_path / "a.pt")
    scaled(tmp_path / "a.pt", tmp_path / "b.pt", "1.weight")
    found = torch.load(tmp_path / "b.pt", weights_only=True)
    for name, array in expected_state().items():
        assert found[name].numpy().tobytes() == array.tobytes()


def test_shards_and_archives_hold_what_was_edited(tmp_path):
    torch.save(state(), tmp_path / "a.pt")
    written = scaled(tmp_path / "a.pt", tmp_path / "b.safetensors", "1.weight", max_shard_size=80)
    assert len(written.files) > 2
    parts = {}
    for file in sorted(tmp_path.glob("b-*.safetensors")):
        parts |= load_file(file)
    scaled(tmp_path / "a.pt", tmp_path / "b.npz", "1.weight")
    with np.load(tmp_path / "b.npz") as archive:
        for name, array in expected_state().items():
            assert parts[name].tobytes() == archive[name].tobytes() == array.tobytes()


def test_names_without_a_family_are_those_of_the_model_that_has_them(tmp_path):
    """A Linear alone has the keys 'weight' and 'bias': nothing in them says PyTorch."""
    donor, module = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    np.savez(tmp_path / "a.npz", **{name: one.numpy() for name, one in donor.state_dict().items()})
    assert converter.open(tmp_path / "a.npz").manifest.family is None
    converter.load(module, tmp_path / "a.npz")
    assert module.weight.equal(donor.weight)
    assert module.bias.equal(donor.bias)


def test_names_without_a_family_that_the_model_lacks_are_of_the_other_one(tmp_path, keras_file):
    np.savez(tmp_path / "a.npz", weight=np.zeros((3, 5), np.float32))
    with converter.open(tmp_path / "a.npz") as source, converter.open(keras_file) as like:
        assert families(source, like, None) == ("torch", "keras")
        assert families(source, None, "torch") == ("keras", "torch")


def test_a_keras_archive_of_numpy_loads_into_its_model(tmp_path, keras_file):
    converter.convert(keras_file, tmp_path / "a.npz", to="keras")
    model = small_network()
    converter.load(model, tmp_path / "a.npz")
    expected = keras.models.load_model(keras_file).get_weights()
    pairs = zip(model.get_weights(), expected, strict=True)
    assert all(one.tobytes() == other.tobytes() for one, other in pairs)


TRANSPOSED = [
    (torch.nn.ConvTranspose2d(5, 3, (2, 4)), 1),
    (torch.nn.ConvTranspose1d(4, 6, 3), 1),
    (torch.nn.Conv2d(5, 3, (2, 4)), 0),
    (torch.nn.Linear(5, 3), 0),
    (torch.nn.ConvTranspose2d(6, 10, 2, groups=2), None),  # (6, 5, ...) and a bias of 10
]


@pytest.mark.parametrize(("layer", "axis"), TRANSPOSED, ids=lambda value: str(value)[:30])
def test_dead_units_lie_along_the_axis_of_the_bias(layer, axis):
    with torch.no_grad():
        layer.weight.uniform_(0.1, 1)
        layer.weight.select(axis or 0, 2).zero_()
    (entry,) = (one for one in take_inventory(converter.open(layer).manifest) if one.role != "bias")
    assert entry.unit_axis == axis
    found = converter.statistics(layer)["weight"]
    assert found.dead == (() if axis is None else (2,))
    assert found.units == (0 if axis is None else layer.weight.shape[axis])


def test_filters_of_a_transposed_kernel_are_its_outputs(tmp_path):
    from converter.inspection.drawing import _kernel, _tiles

    layer = torch.nn.ConvTranspose2d(5, 4, (2, 3))
    with converter.open(layer) as checkpoint:
        entry = _kernel(checkpoint, None)
        tiles = _tiles(checkpoint.read("weight"), entry)
    weight = layer.weight.detach().numpy()
    assert tiles.shape == (20, 2, 3)
    assert tiles[7].tolist() == weight[2, 1].tolist()  # filters of one output stand together
