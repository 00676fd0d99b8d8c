"""A part of a model moved into another one: what is chosen changes, the rest keeps its bits.

Oracles: the models themselves, loaded by Keras and PyTorch. The heads differ, so that nothing but a
part can be moved.
"""

import json
from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest
import torch
from torch import nn

import converter
from converter.cli.schema import Written
from converter.errors import PlanError, UsageError

pytestmark = pytest.mark.frameworks


def keras_net(classes, seed):
    x = given = keras.Input((6, 5, 3))
    x = keras.layers.Conv2D(7, (2, 4), name="stem")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Flatten()(x)
    model = keras.Model(given, keras.layers.Dense(classes, name="head")(x))
    random = np.random.default_rng(seed)
    values = [random.uniform(0.1, 1, one.shape).astype(np.float32) for one in model.get_weights()]
    model.set_weights(values)
    return model


class TorchNet(nn.Module):
    def __init__(self, classes, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Conv2d(3, 7, (2, 4))
        self.norm = nn.BatchNorm2d(7, eps=1e-3)
        self.head = nn.Linear(7 * 5 * 2, classes)
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point():
                tensor.data.uniform_(0.1, 1)


@pytest.fixture
def nets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    big, small = keras_net(11, 1), keras_net(4, 2)
    big.save("big.keras")
    small.save("small.keras")
    other = TorchNet(4, 3)
    torch.save(other.state_dict(), "other.pt")
    return big, small, other


def by_name(model):
    return {one.path.removeprefix(f"{model.name}/"): one.numpy() for one in model.weights}


def assert_mixed(found, new, old, chosen):
    """Assert that what is chosen comes from ``new``, and all else from ``old``."""
    assert sorted(found) == sorted(old)
    for name, array in found.items():
        expected = new[name] if chosen(name) else old[name]
        assert array.tobytes() == expected.tobytes(), name
        if array.ndim:
            assert array.tobytes() != (old if chosen(name) else new)[name].tobytes(), name


@pytest.mark.parametrize(
    ("only", "chosen"),
    [("stem", lambda name: name.startswith("stem")), ("norm/*", lambda n: n.startswith("norm"))],
    ids=["layer", "pattern"],
)
def test_within_keras(nets, only, chosen):
    big, small, _ = nets
    converter.convert("big.keras", "mixed.keras", like="small.keras", only=only)
    found = by_name(keras.models.load_model("mixed.keras"))
    assert_mixed(found, by_name(big), by_name(small), chosen)


def state(module):
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def test_within_pytorch_below_another_name(nets):
    """A backbone trained alone goes below the backbone of a classifier."""
    *_, other = nets
    donor = TorchNet(9, 8)
    torch.save({f"module.body.{name}": one for name, one in donor.state_dict().items()}, "donor.pt")
    converter.convert("donor.pt", "mixed.pt", like="other.pt", only="stem", prefix="body=")
    found = {name: one.numpy() for name, one in torch.load("mixed.pt").items()}
    assert_mixed(found, state(donor), state(other), lambda name: name.startswith("stem"))
    other.load_state_dict(torch.load("mixed.pt"), strict=True)


def test_from_keras_into_pytorch(nets):
    big, _, other = nets
    written = converter.convert("big.keras", "mixed.pt", like="other.pt", only="stem/**")
    assert written.tensors == 9
    found, weights = torch.load("mixed.pt"), by_name(big)
    kernel = np.ascontiguousarray(weights["stem/kernel"].transpose(3, 2, 0, 1))
    assert found["stem.weight"].numpy().tobytes() == kernel.tobytes()
    for name, tensor in other.state_dict().items():
        if not name.startswith("stem"):
            assert found[name].equal(tensor), name


def test_from_pytorch_into_keras(nets):
    _, small, other = nets
    with torch.no_grad():
        other.norm.running_mean.normal_()
    torch.save(other.state_dict(), "other.pt")
    converter.convert("other.pt", "mixed.keras", like="small.keras", only="norm.**")
    found = by_name(keras.models.load_model("mixed.keras"))
    pairs = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
             "moving_variance": "running_var"}  # fmt: skip
    new = {f"norm/{ours}": state(other)[f"norm.{theirs}"] for ours, theirs in pairs.items()}
    for name, array in by_name(small).items():
        assert found[name].tobytes() == new.get(name, array).tobytes(), name


def test_into_live_models(nets):
    big, _, other = nets
    before = state(TorchNet(4, 3))
    converter.load(other, big, only="stem")
    assert other.stem.bias.detach().numpy().tobytes() == by_name(big)["stem/bias"].tobytes()
    assert state(other)["head.weight"].tobytes() == before["head.weight"].tobytes()
    model = keras_net(5, 9)
    head = by_name(model)["head/kernel"]
    converter.load(model, "big.keras", only="norm")
    assert by_name(model)["norm/gamma"].tobytes() == by_name(big)["norm/gamma"].tobytes()
    assert by_name(model)["head/kernel"].tobytes() == head.tobytes()


def test_what_was_moved_and_kept_is_said_everywhere(nets, run_converter):
    said = run_converter("convert", "big.keras", "m.pt", "--like", "other.pt", "--only", "stem",
                         "--sidecar")  # fmt: skip
    assert (
        "note: 2 of 9 tensors chosen by --only 'stem'; the rest is kept as other.pt has it" in said
    )
    assert "dropped: head/kernel: not chosen by --only\n" in said
    assert "kept: norm.running_mean\nkept: norm.running_var\n" in said
    planned = run_converter("plan", "big.keras", "--like", "other.pt", "--only", "stem")
    assert "kept:head.weight               head.weight               as they are" in planned
    record = json.loads(Path("m.pt.provenance.json").read_text())
    assert [one["name"] for one in record["sources"]] == ["big.keras", "other.pt"]
    assert record["kept"] == [name for name in nets[2].state_dict() if not name.startswith("stem")]
    assert record["notes"][0].startswith("2 of 9 tensors chosen")
    tensors = {one["targets"][0]: one for one in record["tensors"]}
    assert tensors["head.bias"]["rule"] == "kept as other.pt has it"
    found = run_converter("convert", "other.pt", "n.pt", "--like", "other.pt", "--only", "body",
                          "--prefix", "stem=body", "--json", code=2)  # fmt: skip
    assert json.loads(found)["error"]["problems"][0]["where"] == "body.weight"


@pytest.fixture
def run_converter(capsys, monkeypatch):
    from converter.cli.app import main

    def run(*arguments, code=0):
        monkeypatch.setattr("sys.argv", ["converter", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == code
        return capsys.readouterr().out

    return run


def test_the_json_has_what_is_kept(nets, run_converter):
    text = run_converter("convert", "big.keras", "m.keras", "--like", "small.keras", "--only",
                         "stem", "--json")  # fmt: skip
    found = msgspec.json.decode(text, type=Written)
    assert found.kept == [name for name in by_name(nets[1]) if not name.startswith("stem")]
    assert len(found.dropped) == 6


REFUSED = [
    ({"only": "tail"}, PlanError,
     "cannot convert a part\n  invalid  tail  no tensor of either side is called so\n"
     "  written  nothing"),
    ({"only": "head"}, PlanError,
     "cannot plan 'big.keras': its tensors are not those of small.keras\n"
     "  mismatched  head/kernel  has shape (70, 11), small.keras needs (70, 4)\n"
     "  mismatched  head/bias  has shape (11,), small.keras needs (4,)\n"
     "  written     nothing"),
    ({"only": "stem", "like": None}, UsageError,
     "cannot convert a part: nothing says where the rest comes from\n"
     "  hint  give the model that is to keep it: --like FILE"),
    ({"prefix": "body"}, UsageError,
     "cannot use --prefix 'body'\n"
     "  expected  OLD=NEW, as in backbone=encoder, =encoder or backbone="),
    ({"prefix": "body=trunk"}, UsageError,
     "cannot use --prefix 'body=trunk': no tensor begins with 'body'\n"
     "  found  stem/kernel, stem/bias, norm/gamma, ... in big.keras"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "kind", "message"), REFUSED, ids=lambda v: str(v)[:30])
def test_what_cannot_be_moved_is_refused(nets, options, kind, message):
    with pytest.raises(kind) as caught:
        converter.plan("big.keras", **{"like": "small.keras", **options})
    assert str(caught.value) == message


def test_a_fresh_model_of_a_factory_keeps_its_fresh_head(nets, tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def build():\n    net = nn.Module()\n    net.stem = nn.Conv2d(3, 7, (2, 4))\n"
        "    net.head = nn.Linear(70, 4)\n    return net\n"
    )
    converter.convert("other.pt", "mixed.pt", like="net.py:build", only="stem")
    found = torch.load("mixed.pt")
    assert found["stem.bias"].equal(nets[2].stem.bias)
    assert found["head.weight"].std() > 0.01


def test_a_prefix_beside_weights_in_parts_keeps_both_notes(nets, tmp_path):
    """Names are changed and a weight is computed: the plan says both, and is not exact."""
    torch.manual_seed(0)
    donor = nn.Sequential()
    donor.add_module("head", nn.utils.parametrizations.weight_norm(nn.Linear(70, 4)))
    torch.save({f"body.{name}": one for name, one in donor.state_dict().items()}, "donor.pt")
    for norms in (None, "materialise"):
        conversion = converter.plan(
            "donor.pt", like="small.keras", only="head", prefix="body=", norms=norms
        )
        assert conversion.plan.notes[0].startswith("--prefix body=: ")
        laws = {step.targets: str(step.law) for step in conversion.steps}
        assert laws[("head/kernel",)] == "canonical"
        found = dict(zip(conversion.plan.target.tensors, conversion.get_weights(), strict=True))
        expected = donor.head.weight.detach().numpy()
        assert found["head/kernel"].shape == (70, 4)
        np.testing.assert_allclose(
            np.sort(found["head/kernel"], axis=0), np.sort(expected.T, axis=0), rtol=1e-6
        )
