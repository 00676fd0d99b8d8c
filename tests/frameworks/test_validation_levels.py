"""Each level of a validation alone, which of them are run, and what they say when they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from support.validation_pair import (
    NETWORK,
    keras_network,
    keras_recurrent,
    randomise,
    twin,
)

import converter
from converter.errors import UsageError

pytestmark = [
    pytest.mark.frameworks,
    # Keras 3.15 on the torch backend asks NumPy for arrays in a way that NumPy 2 warns about.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path, str]:
    folder = tmp_path_factory.mktemp("levels")
    keras_network().save(folder / "net.keras")
    converter.convert(folder / "net.keras", folder / "net.safetensors")
    (folder / "network.py").write_text(NETWORK)
    return folder / "net.keras", folder / "net.safetensors", f"{folder / 'network.py'}:Twin"


def statuses(report: Any) -> dict[str, str]:
    return {level.name: level.status for level in report.levels}


def test_the_strongest_level_that_can_be_run_is_run_and_the_others_say_why_not(files) -> None:
    first, second, factory = files
    report = converter.validate(first, second, torch=factory)
    assert report.verdict == "pass", report.lines()
    assert report.level == "outputs"
    assert statuses(report) == {
        "mapping": "pass",
        "structure": "pass",
        "values": "not run",
        "outputs-random": "not run",
        "outputs": "pass",
    }
    assert report.lines()[0].startswith("pass: 1 output compared, at most ")
    without = converter.validate(first, second)
    assert (without.level, without.verdict) == ("values", "pass")
    assert without.levels[4].sentence == "nothing says how to build the PyTorch module (--torch)"


@pytest.mark.parametrize(
    ("level", "sentence"),
    [
        ("mapping", "by kind: 7 layers paired"),
        ("structure", "16 Keras and 17 PyTorch tensors: 1 derived, 16 exact"),
        ("values", "16 tensors, none differs"),
        ("outputs-random", "1 output, at most "),
        ("outputs", "1 output, at most "),
    ],
)
def test_each_level_is_run_alone(files, level, sentence) -> None:
    first, second, factory = files
    report = converter.validate(first, second, torch=factory, levels=[level])
    assert (report.level, report.verdict) == (level, "pass")
    found = {one.name: one for one in report.levels}
    assert found[level].sentence.startswith(sentence)
    assert [one.status for name, one in found.items() if name != level] == ["not run"] * 4
    assert len(report.lines()) <= 5


def test_random_weights_are_put_back_on_both_sides() -> None:
    model = keras_network()
    module = twin(model)
    before = [np.array(one) for one in model.get_weights()]
    state = {name: value.clone() for name, value in module.state_dict().items()}
    report = converter.validate(model, module, levels=["outputs-random"])
    assert report.verdict == "pass", report.lines()
    assert all(map(np.array_equal, model.get_weights(), before))
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_random_weights_show_what_fresh_ones_hide() -> None:
    """Gamma and variance exchanged: a fresh BatchNormalization holds ones in both."""
    model = keras_network(fresh=True)
    module = twin(model)
    forward = type(module).forward

    def crossed(self, x):
        gain, variance = self.bn.weight, self.bn.running_var
        self.bn.weight, self.bn.running_var = (
            torch.nn.Parameter(variance.clone()),
            gain.detach().clone(),
        )
        try:
            return forward(self, x)
        finally:
            self.bn.weight, self.bn.running_var = gain, variance

    type(module).forward = crossed
    hidden = converter.validate(model, module, levels=["outputs"])
    assert hidden.rows[0].verdict == "pass"
    assert hidden.verdict == "warn"
    assert converter.validate(model, module, levels=["outputs-random"]).verdict == "fail"
    # Without levels the random weights are run too, since the real ones proved nothing.
    assert converter.validate(model, module).verdict == "fail"


def test_what_proves_more_is_run_where_the_outputs_prove_too_little() -> None:
    model = keras_network(fresh=True)
    report = converter.validate(model, twin(model))
    assert report.verdict == "warn"
    assert {one.name: one.status for one in report.levels} == {
        "mapping": "pass",
        "structure": "pass",
        "values": "pass",
        "outputs-random": "pass",
        "outputs": "warn",
    }
    told = {one.name: one.sentence for one in report.levels}
    assert told["values"] == ("16 tensors, none differs (run because the outputs prove too little)")
    assert all(one.note for one in report.controls if not one.is_detected)
    without = converter.validate(model, twin(model), control_seconds=0)
    assert [one.status for one in without.levels][2:] == ["not run", "not run", "pass"]


def test_fresh_normalisations_are_told_to_prove_nothing() -> None:
    model = keras_network(fresh=True)
    report = converter.validate(model, twin(model), levels=["outputs"])
    assert report.verdict == "warn"
    missed = {one.kind for one in report.controls if not one.is_detected}
    assert {"gamma and variance", "beta and mean"} <= missed
    line = next(text for text in report.lines() if text.startswith("  controls"))
    assert line.endswith("not seen: too weak to prove anything")
    assert any("it changes nothing: both hold equal values" in text for text in report.lines())


def test_every_kind_of_broken_plan_fails_clearly_on_random_weights() -> None:
    network = keras_network()
    report = converter.validate(network, twin(network))
    assert {one.kind for one in report.controls} == {
        "mean and variance",
        "gamma and variance",
        "beta and mean",
        "untransposed",
        "flatten order",
        "swapped",
        "swapped vectors",
    }
    assert all(one.is_detected and one.floors > 300 for one in report.controls)
    model = keras_recurrent()
    recurrent = converter.validate(model, twin(model, "Recurrent"))
    assert recurrent.verdict == "pass", recurrent.lines()
    assert [one.kind for one in recurrent.controls if one.is_detected] == [
        one.kind for one in recurrent.controls
    ]
    assert "gates" in {one.kind for one in recurrent.controls}


def test_controls_cost_nothing_when_they_are_not_wanted_or_there_is_no_time() -> None:
    model = keras_network()
    module = twin(model)
    assert converter.validate(model, module, control_seconds=0).controls == ()
    report = converter.validate(model, module, control_seconds=1e-9)
    assert any("broken plans were not compared: no time was left" in one for one in report.notices)


def test_inputs_that_reach_nothing_are_too_weak() -> None:
    """Constant zeros: kernels of the first layer have no effect."""
    model = keras_network()
    module = twin(model)
    zeros = np.zeros((3, 12, 15, 3), np.float32)
    report = converter.validate(model, module, inputs=zeros)
    assert report.rows[0].verdict == "pass"
    assert "the same for every sample: it proves little" in " ".join(report.notices)


def test_tolerances_decide_where_they_are_given() -> None:
    model = keras_network()
    module = twin(model)
    assert converter.validate(model, module, rtol=0, atol=0).verdict == "fail"
    module.bn.eps = 1e-5
    strict = converter.validate(model, module)
    assert strict.verdict == "fail"
    lax = converter.validate(model, module, atol=0.1)
    assert lax.verdict == "warn"
    assert lax.rows[0].note == "within the tolerances given, beyond 300 noise floors"
    tight = converter.validate(model, module, atol=1e-7)
    assert tight.verdict == "fail"
    assert tight.rows[0].note.endswith("of 12 elements exceed the tolerances")


class Crowd(torch.nn.Module):
    """Normalises with the statistics of the batch although it is in evaluation mode."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Any:
        return self.inner(x - x.mean(0, keepdim=True))


def test_statistics_of_the_batch_are_noticed() -> None:
    model = keras_network()
    report = converter.validate(model, Crowd(twin(model)), levels=["outputs"])
    assert report.verdict == "fail"
    assert any("it computes with statistics of the batch" in one for one in report.notices)


def test_probabilities_have_a_divergence() -> None:
    head = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, name="prob")])
    head.add(keras.layers.Softmax())

    class Twin(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.prob = torch.nn.Linear(5, 4)

        def forward(self, x: Any) -> Any:
            return self.prob(x).softmax(-1)

    module = Twin()
    module.load_state_dict(converter.plan(head).state_dict())
    row = converter.validate(head, module).rows[0]
    assert row.kl is not None
    assert row.kl < 1e-10
    assert row.agreement == 1.0
    with torch.no_grad():
        module.prob.weight.neg_()
    wrong = converter.validate(head, module).rows[0]
    assert wrong.kl is not None
    assert wrong.kl > 1e-2


def test_what_cannot_be_run_is_refused_by_name(files) -> None:
    first, second, _ = files
    with pytest.raises(UsageError, match="cannot run level 'outputs': nothing says how to build"):
        converter.validate(first, second, levels=["outputs"])
    with pytest.raises(UsageError, match="there is no level 'output'"):
        converter.validate(first, second, levels=["output"])
    with pytest.raises(UsageError, match="cannot run level 'mapping': both are Keras checkpoints"):
        converter.validate(first, first, levels=["mapping"])


def test_names_that_do_not_pair_are_no_fault_where_outputs_are_compared() -> None:
    model = keras_network()
    module = twin(model)
    renamed = torch.nn.Sequential(module)
    report = converter.validate(model, renamed)
    assert report.verdict == "pass", report.lines()
    assert report.levels[1].status == "not run"
    assert report.levels[1].sentence.startswith("no mapping pairs these names")
    alone = converter.validate(model, renamed, levels=["structure"])
    assert alone.verdict == "fail"
    assert {"0.bn.bias", "conv/kernel"} <= {row.name for row in alone.rows}
    assert alone.lines()[0] == "fail: 31 problems of names, shapes and kinds, no value compared"


def test_a_mapping_that_was_only_found_is_no_fault_either(tmp_path: Path) -> None:
    """It covers the Keras side; the module is somebody's own, with names of its own."""
    rules = [["conv2d", "conv"], ["batch_norm", "bn"], ["conv2d", "other"], ["dense", "head"]]
    rules += [["dense", "square"], ["dense", "second"]]
    rows = ", ".join(f'["{kind}", "{layer}", "theirs.{layer}"]' for kind, layer in rules)
    rows += ', ["dense_after_flatten", "hidden", "theirs.hidden", { sizes = { c = 6 } }]'
    text = f'schema = 1\nname = "own"\nkeras = "a"\ntorch = "b"\nrules = [{rows}]\n'
    (tmp_path / "own.toml").write_text(text)
    model = keras_network()
    report = converter.validate(model, twin(model), mapping_folders=[tmp_path / "own.toml"])
    assert report.verdict == "pass", report.lines()
    assert report.levels[1].sentence.startswith("no mapping pairs these names (own: ")
    named = converter.validate(model, twin(model), mapping=str(tmp_path / "own.toml"))
    assert named.verdict == "fail"
    assert named.level == "structure"


class Masked(torch.nn.Module):
    """Embedding and LSTM; reads the padding as well, or not."""

    def __init__(self, *, packs: bool) -> None:
        super().__init__()
        self.packs = packs
        self.table = torch.nn.Embedding(17, 5)
        self.lstm = torch.nn.LSTM(5, 6, batch_first=True)

    def forward(self, ids: Any) -> Any:
        x = self.table(ids)
        if self.packs:
            lengths = (ids != 0).sum(1)
            x = torch.nn.utils.rnn.pack_padded_sequence(
                x, lengths, batch_first=True, enforce_sorted=False
            )
        return self.lstm(x)[1][0][0]


def test_ids_are_padded_so_that_a_missing_mask_shows() -> None:
    ids = keras.Input((9,), name="ids", dtype="int32")
    table = keras.layers.Embedding(17, 5, mask_zero=True, name="table")
    model = randomise(keras.Model(ids, keras.layers.LSTM(6, name="lstm")(table(ids))))
    verdicts = []
    for packs in (True, False):
        module = Masked(packs=packs)
        module.load_state_dict(converter.plan(model).state_dict())
        verdicts.append(converter.validate(model, module, levels=["outputs"]).rows[0].verdict)
    assert verdicts == ["pass", "fail"]


def test_a_sound_mapping_of_another_model_fails_by_structure_only(files, tmp_path: Path) -> None:
    rules = '["conv2d", "conv", "conv"], ["conv2d", "nowhere{i}", "nowhere.{i}"]'
    text = f'schema = 1\nname = "own"\nkeras = "a"\ntorch = "b"\nrules = [{rules}]\n'
    path = tmp_path / "own.toml"
    path.write_text(text)
    first, second, _ = files
    sound = converter.validate(first, second, mapping=str(path), levels=["mapping"])
    assert (sound.verdict, sound.rows) == ("pass", ())
    other = converter.validate(first, second, mapping=str(path), levels=["structure"])
    assert other.verdict == "fail"
    assert "bn/gamma" in {row.name for row in other.rows}
    path.write_text(text.replace('["conv2d", "conv", "conv"]', '["dense", "conv", "conv"]'))
    wrong = converter.validate(first, second, mapping=str(path))
    assert wrong.verdict == "fail"
