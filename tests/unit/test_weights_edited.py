"""Edits and averages against NumPy: what was asked for is changed, all else keeps its bits."""

import ml_dtypes
import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from converter import api, weights
from converter.algebra.averaging import Average
from converter.cli.edit import parse
from converter.errors import OperationError, PlanError, UsageError


def state(seed=1):
    random = np.random.default_rng(seed)
    return {
        "encoder.conv.weight": random.normal(size=(5, 3, 2)).astype(np.float32),
        "encoder.conv.bias": random.normal(size=5).astype(np.float32),
        "head.weight": random.normal(size=(4, 5)).astype(np.float32),
        "head.steps": np.array(7 + seed, np.int64),
    }


@pytest.fixture
def source(tmp_path):
    save_file(state(), tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def edited(source, *arguments):
    with api.open(source) as checkpoint:
        conversion = weights.edited(checkpoint, parse(list(arguments)))
        return conversion.arrays(), conversion.plan


EDITS = [
    (("--set", "encoder.conv.bias=0.5"), {"encoder.conv.bias": lambda x: np.full_like(x, 0.5)}),
    (("--set", "head.steps=3"), {"head.steps": lambda x: np.array(3, np.int64)}),
    (("--scale", "encoder.**=0.5"),
     {"encoder.conv.bias": lambda x: x * np.float32(0.5),
      "encoder.conv.weight": lambda x: x * np.float32(0.5)}),
    (("--scale", "head.weight=3", "--scale", "head.weight=2"),
     {"head.weight": lambda x: ((x.astype(float) * 3).astype(np.float32).astype(float) * 2)
      .astype(np.float32)}),
    (("--scale", "head.weight=3", "--set", "head.weight=1"),
     {"head.weight": np.ones_like}),
    (("--cast", "bfloat16"),
     {name: lambda x: x.astype(ml_dtypes.bfloat16) for name in
      ("encoder.conv.weight", "encoder.conv.bias", "head.weight")}),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "changes"), EDITS, ids=lambda value: str(value)[:40])
def test_what_is_chosen_changes_and_all_else_keeps_its_bits(source, arguments, changes):
    found, _ = edited(source, *arguments)
    expected = {name: changes.get(name, lambda x: x)(array) for name, array in state().items()}
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes(), name


def test_names_are_changed_for_one_tensor_or_all_below_a_module(source):
    found, plan = edited(source, "--rename", "encoder=backbone.0", "--drop", "head.steps")
    assert sorted(found) == ["backbone.0.conv.bias", "backbone.0.conv.weight", "head.weight"]
    assert [(one.name, one.why) for one in plan.dropped] == [("head.steps", "--drop head.steps")]
    found, _ = edited(source, "--rename", "head.weight=tail.weight")
    assert found["tail.weight"].tobytes() == state()["head.weight"].tobytes()


def test_every_edit_that_cannot_be_done_is_listed(source):
    with pytest.raises(PlanError) as caught:
        edited(source, "--set", "tail=1", "--scale", "head.steps=2",
               "--rename", "encoder.conv.weight=head.weight")  # fmt: skip
    assert str(caught.value) == (
        "cannot edit\n"
        "  invalid   tail  no tensor to set\n"
        "  refused   head.steps  is int64: only floating-point values are calculated with\n"
        "  conflict  head.weight  two tensors would have this name\n"
        "  written   nothing"
    )


@pytest.mark.parametrize("text", ["--set=a", "--scale=a=x", "--rename=a", "--drop=", "--cast=f5"])
def test_what_is_no_edit_is_refused(text):
    with pytest.raises(UsageError, match="cannot use --"):
        parse([text])
    with pytest.raises(UsageError, match="no change was asked for"):
        parse(["a", "b"])


@pytest.mark.parametrize("shares", [None, [3, 1, 4]])
def test_the_mean_is_that_of_float64_rounded_once(tmp_path, shares):
    paths = []
    for seed in (1, 2, 3):
        paths.append(tmp_path / f"{seed}.safetensors")
        save_file(state(seed), paths[-1])
    weights.average(paths, tmp_path / "soup.safetensors", weights=shares)
    found = load_file(tmp_path / "soup.safetensors")
    for name, first in state(1).items():
        arrays = np.array([state(seed)[name] for seed in (1, 2, 3)], np.float64)
        expected = np.average(arrays, axis=0, weights=shares)
        if first.dtype == np.float32:
            assert found[name] == pytest.approx(expected.astype(np.float32), rel=1e-7, abs=1e-8)
        else:
            assert found[name] == first


def test_a_mean_in_blocks_is_the_mean():
    arrays = [np.arange(35, dtype=np.float32).reshape(5, 7).T * n for n in (1, 2)]
    operation = Average((0.25, 0.75))
    (whole,) = operation.apply(arrays)
    blocks = list(operation.stream(arrays, 32))
    assert len(blocks) > 3
    assert (
        np.concatenate([block.array.ravel() for block in blocks]).tolist() == whole.ravel().tolist()
    )
    with pytest.raises(OperationError, match="cannot undo an average"):
        operation.inverse()


def test_checkpoints_that_differ_are_refused_with_every_reason(tmp_path):
    other = state(2)
    del other["head.steps"]
    other["head.weight"] = np.zeros((4, 6), np.float32)
    with pytest.raises(PlanError) as caught:
        weights.average([state(1), other], tmp_path / "a.safetensors")
    assert str(caught.value) == (
        "cannot average: the checkpoints differ\n"
        "  mismatched  head.weight  is (4, 5) float32, in checkpoint 2 (4, 6) float32\n"
        "  missing     head.steps  checkpoint 2 has no such tensor\n"
        "  written     nothing"
    )
    with pytest.raises(UsageError, match="cannot average 1 checkpoints"):
        weights.average([state(1)], tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def run(tmp_path):
    import subprocess
    import sys

    def started(*arguments):
        command = [sys.executable, "-m", "converter", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return started


def test_the_commands_write_all_or_nothing_and_record_it(source, tmp_path, run):
    from converter.cli.schema import Written
    from converter.cli.schema_weights import Averaged

    done = run("edit", source, "b.safetensors", "--scale", "head.weight=2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = msgspec.json.decode(done.stdout, type=Written)
    assert (found.mapping, found.law) == ("edit", "rounded")
    expected = state()["head.weight"] * 2
    assert load_file(tmp_path / "b.safetensors")["head.weight"].tobytes() == expected.tobytes()
    assert b"weightferry" in (tmp_path / "b.safetensors").read_bytes()
    again = run("edit", source, "b.safetensors", "--drop", "head")
    assert again.returncode == 2
    assert "nothing" in again.stderr
    mean = run("average", source, "b.safetensors", "--out", "c.safetensors", "--json")
    assert (mean.returncode, mean.stderr) == (0, "")
    assert msgspec.json.decode(mean.stdout, type=Averaged).tensors == 4
    bad = run("average", source, "b.safetensors", "--out", "d.safetensors", "--weights", "a,b")
    assert (bad.returncode, bad.stdout) == (2, "")
