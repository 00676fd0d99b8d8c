"""What Keras 3 cannot be told of is named and not written; what is written says what changed."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import record_keras_words
from support.upgraded import config_of, upgraded

from converter.cli import upgrading as command
from converter.errors import TargetExistsError, UsageError
from converter.upgrading.words import words

pytestmark = pytest.mark.frameworks

FOLDER = Path(__file__).parents[1] / "fixtures" / "tf_keras"


def _old(tmp_path: Path, layers: list[dict], name: str = "old.h5") -> Path:
    """Write a Sequential model of Keras 2 without weights."""
    import h5py

    first = {"class_name": "InputLayer", "config": {"name": "i", "batch_input_shape": [None, 6, 3]}}
    described = {"class_name": "Sequential", "config": {"name": "m", "layers": [first, *layers]}}
    path = tmp_path / name
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(described)
        file.attrs["keras_version"] = "2.4.0"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = []
        group.attrs["keras_version"] = "2.4.0"
    return path


def _layer(class_name: str, **config) -> dict:
    return {"class_name": class_name, "config": {"name": "it", **config}}


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (
            _layer("Lambda", function=["4wEAAAA=", None, None]),
            "a Lambda is Python code, which is not run",
        ),
        (_layer("MyPackage>Stem"), "the class Stem is not one of Keras"),
        (_layer("Highway", activation="relu"), "Keras 3 has no layer Highway"),
        (
            _layer("Activation", activation="my_own"),
            "its activation 'my_own' is not one of Keras",
        ),
        (
            _layer("BatchNormalization", mode=1),
            "its mode is 1, which Keras 3 does not know",
        ),
        (
            _layer("LSTM", units=2, time_major=True),
            "its time_major is True, which Keras 3 does not know",
        ),
    ],
    ids=["lambda", "custom", "gone", "activation", "mode", "time_major"],
)
def test_a_layer_without_words_in_keras_3_is_named_and_nothing_written(tmp_path, layer, why):
    target = tmp_path / "new.keras"
    found = upgraded(_old(tmp_path, [layer]), target)
    assert dict(found.refused) == {"it": why}
    assert not found.is_complete
    assert found.written is None
    assert not target.exists()


_CODE = {"module": "os", "class_name": "system", "config": {"command": "id"}}
_LAMBDA = {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}}
_WORDS = {"max_tokens": None, "vocabulary": "/etc/passwd"}


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (_layer("Dropout", rate=0.5, seed=_CODE), "its seed is an object, which Keras would make"),
        (_layer("Normalization", axis=[-1], mean=[_CODE], variance=[1.0]), "its mean is an object"),
        (_layer("Dense", units=2, lora_rank=_CODE), "its lora_rank is an object"),
        (_layer("Dense", units=2, use_bias=_LAMBDA), "its use_bias is an object"),
        (_layer("StringLookup", **_WORDS), "its vocabulary is the name of a file"),
        (_layer("TextVectorization", **_WORDS), "its vocabulary is the name of a file"),
        (_layer("TextVectorization", standardize=_CODE), "its standardize is an object"),
        (_layer("TFSMLayer", filepath="saved"), "it runs a SavedModel from another file"),
        (_layer("TorchModuleWrapper", module="gAJj"), "it holds a pickled PyTorch module"),
        (_layer("JaxLayer", call_fn=_CODE), "it calls a function of Python"),
    ],
    ids=[
        "seed",
        "list",
        "object",
        "lambda",
        "strings",
        "text",
        "function",
        "saved",
        "torch",
        "jax",
    ],
)
def test_nothing_that_keras_would_run_or_read_is_written(tmp_path, layer, why):
    """The new file is opened with Keras: only numbers, texts and known classes may be in it."""
    target = tmp_path / "new.keras"
    found = upgraded(_old(tmp_path, [layer]), target)
    assert list(found.refused) == ["it"]
    assert found.refused["it"].startswith(why)
    assert not target.exists()


def test_an_object_among_the_settings_of_an_initializer_is_left_out(tmp_path):
    value = {"class_name": "Constant", "config": {"value": [_CODE]}}
    source = _with_settings(tmp_path, kernel_initializer=value)
    upgraded(source, tmp_path / "new.keras")
    dense = config_of(tmp_path / "new.keras")["config"]["layers"][-1]["config"]
    assert dense["kernel_initializer"]["config"] == {}


def test_an_object_among_the_arguments_of_a_call_is_refused(tmp_path):
    import keras

    values = keras.Input((3,), name="i")
    keras.Model(values, keras.layers.ReLU(name="it")(values)).save(tmp_path / "sound.keras")
    with zipfile.ZipFile(tmp_path / "sound.keras") as sound:
        members = {name: sound.read(name) for name in sound.namelist()}
    described = json.loads(members["config.json"])
    described["config"]["layers"][1]["inbound_nodes"][0]["kwargs"]["more"] = _LAMBDA
    members["config.json"] = json.dumps(described).encode()
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as changed:
        for name, content in members.items():
            changed.writestr(name, content)
    found = upgraded(tmp_path / "old.keras", tmp_path / "new.keras")
    assert dict(found.refused) == {"it": "a call of it takes an object, which Keras would make"}
    assert not (tmp_path / "new.keras").exists()


def test_entries_of_earlier_versions_are_translated(tmp_path):
    leaky = {"class_name": "LeakyReLU", "config": {"alpha": 0.25}}
    layers = [
        _layer("LeakyReLU", alpha=0.17),
        {"class_name": "Activation", "config": {"name": "a", "activation": leaky}},
        {"class_name": "Dropout", "config": {"name": "d", "rate": 0.5, "noise_shape": None}},
    ]
    upgraded(_old(tmp_path, layers), tmp_path / "new.keras")
    _, one, other, _ = config_of(tmp_path / "new.keras")["config"]["layers"]
    assert one["config"]["negative_slope"] == 0.17
    assert other["config"]["activation"]["config"]["negative_slope"] == 0.25


def _with_settings(tmp_path: Path, **settings) -> Path:
    """Copy a recorded model with other settings in its Dense layer."""
    import h5py

    path = tmp_path / "changed.h5"
    shutil.copy(FOLDER / "lstm.h5", path)
    with h5py.File(path, "r+") as file:
        described = json.loads(file.attrs["model_config"])
        described["config"]["layers"][-1]["config"].update(settings)
        file.attrs["model_config"] = json.dumps(described)
    return path


def test_a_regularizer_of_ones_own_is_left_out_and_said(tmp_path):
    mine = {"class_name": "Mine>Prior", "config": {"rate": 3}}
    known = {"class_name": "L2", "config": {"l2": 0.5}}
    source = _with_settings(tmp_path, kernel_regularizer=mine, bias_regularizer=known)
    found = upgraded(source, tmp_path / "new.keras")
    assert found.changes[-1] == "'dense': kernel_regularizer left out, a class of somebody's own."
    dense = config_of(tmp_path / "new.keras")["config"]["layers"][-1]["config"]
    assert "kernel_regularizer" not in dense
    assert dense["bias_regularizer"]["class_name"] == "L2"
    assert dense["bias_regularizer"]["config"] == {"l2": 0.5}


def test_a_layer_whose_weights_are_not_those_of_its_class_is_named(tmp_path):
    source = _with_settings(tmp_path, use_bias=False)
    found = upgraded(source, tmp_path / "new.keras")
    assert dict(found.refused) == {"dense": "its tensors (kernel, bias) are not those of a Dense"}
    assert not (tmp_path / "new.keras").exists()


def test_an_existing_file_stays(tmp_path):
    source = _old(tmp_path, [_layer("ReLU")])
    (tmp_path / "new.keras").write_bytes(b"mine")
    with pytest.raises(TargetExistsError):
        upgraded(source, tmp_path / "new.keras")
    assert (tmp_path / "new.keras").read_bytes() == b"mine"


def test_another_name_than_keras_is_refused(tmp_path):
    with pytest.raises(UsageError) as caught:
        upgraded(_old(tmp_path, [_layer("ReLU")]), tmp_path / "new.h5")
    assert str(caught.value) == (
        "cannot write 'new.h5': a model of Keras 3 is a .keras file\n"
        "  hint  give a name such as 'new.keras'"
    )


@pytest.mark.parametrize(
    ("target", "to", "others", "message"),
    [
        (
            "net.keras",
            "torch",
            [],
            "cannot write PyTorch source to 'net.keras': that is the name of a Keras file",
        ),
        ("net.py", "onnx", [], "cannot scaffold to 'onnx': there is no such target"),
        (
            "net.keras",
            "keras",
            ["--custom"],
            "cannot use --custom with --to keras: it is for PyTorch source",
        ),
    ],
)
def test_options_that_do_not_go_together(target, to, others, message):
    with pytest.raises(UsageError) as caught:
        command.check_options(Path(target), to, others)
    assert caught.value.summary == message


def test_the_recorded_words_are_those_of_the_installed_keras():
    import keras

    if keras.__version__ != words()["version"]:
        pytest.skip(f"the words are those of Keras {words()['version']}")
    assert json.loads(json.dumps(record_keras_words.recorded())) == words()
