"""``converter validate --inputs``: a person's own arrays, images and ids, and the tolerances."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.validation_pair import NETWORK, keras_network, keras_recurrent

from converter.cli import schema

pytestmark = pytest.mark.frameworks

CLASSIFIER = (
    NETWORK
    + """

class Classifier(Twin):
    def forward(self, x):
        return super().forward(x).softmax(-1)
"""
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    import keras

    import converter as package

    folder = tmp_path_factory.mktemp("inputs")
    network = keras_network()
    network.save(folder / "net.keras")
    package.convert(folder / "net.keras", folder / "net.safetensors")
    predictions = keras.layers.Softmax(name="predictions")(network.outputs[0])
    keras.Model(network.inputs, predictions).save(folder / "classes.keras")
    keras_recurrent().save(folder / "recurrent.keras")
    package.convert(folder / "recurrent.keras", folder / "recurrent.safetensors")
    (folder / "network.py").write_text(CLASSIFIER)
    return folder


@pytest.fixture(autouse=True)
def _there(pairs, monkeypatch) -> None:
    monkeypatch.chdir(pairs)


NET = ("validate", "net.keras", "net.safetensors", "--torch", "network.py:Twin")
IDS = ("validate", "recurrent.keras", "recurrent.safetensors", "--torch", "network.py:Recurrent")


def report_of(converter, *given: str | Path) -> schema.Report:
    found = converter(*given, "--no-controls", "--json")
    assert found.err == ""
    return msgspec.json.decode(found.out, type=schema.Report)


def written_images(path: Path) -> None:
    from PIL import Image

    path.mkdir()
    random = np.random.default_rng(1)
    for name, size in (("a.png", (15, 12)), ("b.png", (40, 31)), ("c.png", (7, 9))):
        Image.fromarray(random.integers(0, 256, (*size[::-1], 3)).astype("uint8")).save(path / name)


def test_each_kind_of_file_is_what_both_models_run_on(converter, tmp_path):
    random = np.random.default_rng(0)
    image = random.standard_normal((5, 12, 15, 3)).astype("float32")
    np.savez(tmp_path / "named.npz", image=image)
    np.save(tmp_path / "bare.npy", image)
    np.save(tmp_path / "other.npy", image[:2])
    written_images(tmp_path / "images")
    (tmp_path / "ids.txt").write_text("3 5 16 2\n7, 1, 1\n9\n")
    given = {name: report_of(converter, *NET, "--inputs", tmp_path / name)
             for name in ("named.npz", "bare.npy", "other.npy", "images")}  # fmt: skip
    given["ids.txt"] = report_of(converter, *IDS, "--inputs", tmp_path / "ids.txt")
    assert {name: (one.verdict, one.rows[0].shape[0]) for name, one in given.items()} == {
        "named.npz": ("pass", 5),
        "bare.npy": ("pass", 5),
        "other.npy": ("pass", 2),
        "images": ("pass", 3),
        "ids.txt": ("pass", 3),
    }
    hashes = {name: one.settings["inputs_sha256"] for name, one in given.items()}
    assert hashes["named.npz"] == hashes["bare.npy"]
    hashes["seeded"] = report_of(converter, *NET).settings["inputs_sha256"]
    assert len(set(hashes.values())) == len(hashes) - 1


def test_what_is_no_input_exits_2(converter, tmp_path):
    zeros = np.zeros((2, 12, 15, 4), np.float32)
    np.savez(tmp_path / "wrong.npz", image=zeros, picture=zeros)
    found = converter(*NET, "--inputs", tmp_path / "wrong.npz")
    assert (found.code, found.out) == (2, "")
    assert "expected (batch, 12, 15, 3), found (2, 12, 15, 4)" in found.err
    assert "the model has no such input" in found.err
    (tmp_path / "ids.txt").write_text("1 2 3\n")
    found = converter(*NET, "--inputs", tmp_path / "ids.txt")
    assert found.code == 2
    assert "the model does not take ids alone" in found.err


def test_the_divergence_of_a_classifier_is_that_of_torch(converter, tmp_path):
    """Against a wrong twin, as two equal ones have none."""
    import keras
    import torch
    from safetensors.torch import load_file, save_file

    state = load_file("net.safetensors")
    state["head.bias"] += torch.tensor([0.3, -0.2, 0.1, 0.0])
    save_file(state, tmp_path / "wrong.safetensors")
    image = np.random.default_rng(0).standard_normal((5, 12, 15, 3)).astype("float32")
    np.save(tmp_path / "image.npy", image)
    given = ("validate", "classes.keras", tmp_path / "wrong.safetensors")
    report = report_of(
        converter, *given, "--torch", "network.py:Classifier", "--inputs", tmp_path / "image.npy"
    )
    assert report.verdict == "fail"
    space: dict = {}
    exec(CLASSIFIER, space)  # noqa: S102  # the text above
    module = space["Classifier"]()
    module.load_state_dict(state)
    with torch.no_grad():
        theirs = module.eval()(torch.from_numpy(image.transpose(0, 3, 1, 2).copy()))
    ours = torch.tensor(np.array(keras.models.load_model("classes.keras")([image]).detach()))
    wanted = torch.nn.functional.kl_div(ours.log(), theirs, reduction="batchmean")
    assert report.rows[0].kl == pytest.approx(float(wanted), rel=1e-4)
    assert report.rows[0].agreement == float((ours.argmax(-1) == theirs.argmax(-1)).float().mean())


def test_tolerances_decide_on_the_command_line(converter, tmp_path):
    (tmp_path / "wrong.py").write_text(NETWORK.replace("eps=1e-3", "eps=1e-5"))
    given = (*NET[:3], "--torch", f"{tmp_path}/wrong.py:Twin", "--no-controls", "--no-explain")
    assert converter(*given).code == 1
    lax = converter(*given, "--atol", "0.1")
    assert lax.code == 0
    assert "within the tolerances given, beyond 300 noise floors" in lax.out
    assert converter(*given, "--rtol", "1e-7").code == 1
