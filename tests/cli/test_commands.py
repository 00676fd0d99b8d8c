"""Every command: its help, its exit codes, its texts, and its JSON."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file

from converter.cli import schema
from converter.errors import UsageError

COMMANDS = [
    ("inspect",),
    ("plan",),
    ("convert",),
    ("draft",),
    ("scaffold",),
    ("validate",),
    ("diff",),
    ("plot",),
    ("edit",),
    ("average",),
    ("mappings", "list"),
    ("mappings", "show"),
    ("mappings", "check"),
    ("mappings", "new"),
    ("mappings", "prove"),
    ("mappings", "explain"),
    ("formats",),
    ("schema",),
]
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_and_is_in_the_readme(converter, command):
    outcome = converter(*command, "--help")
    assert outcome.code == 0
    assert outcome.err == ""
    assert f"converter {' '.join(command)}" in outcome.out.partition("Examples:")[2]
    assert f"converter {' '.join(command)}" in README


def test_no_command_is_missing_above(converter):
    """Read from the application itself, so that a new command must come with the test."""
    from converter.cli.app import app
    from converter.cli.mappings import app as mappings

    names = {(each.name or each.callback.__name__,) for each in app.registered_commands}
    names |= {("mappings", each.name) for each in mappings.registered_commands}
    assert names == set(COMMANDS)


def test_the_version_is_said_by_both_ways_of_starting(converter):
    from converter._version import __version__

    assert converter("--version").out == f"converter {__version__}\n"
    assert converter("--version").code == 0
    module = subprocess.run(
        [sys.executable, "-m", "converter", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert module.stdout == f"converter {__version__}\n"


def test_no_arguments_show_the_help(converter):
    outcome = converter()
    assert outcome.code == 2
    assert "Commands" in outcome.out
    assert outcome.err == ""


USAGE = [
    (
        ("inspect",),
        "error: Missing argument 'SOURCE'.\n  hint  converter inspect --help\n",
    ),
    (
        ("inspect", "--colour", "a"),
        "error: No such option: --colour\n  hint  converter inspect --help\n",
    ),
    (
        ("plan", "a.npz", "--set", "heads"),
        "error: cannot use --set 'heads': it is not of the form axis=size\n"
        "  expected  the name of an axis and a whole number, as in heads=12\n",
    ),
    (
        ("convert", "a.npz", "b.safetensors", "--max-shard-size", "big"),
        "error: cannot use --max-shard-size 'big': it is not a size\n"
        "  expected  a number and KB, MB, GB, TB, KiB, MiB, GiB or TiB, as in 5GB\n",
    ),
    (
        ("schema", "paint"),
        "error: cannot describe 'paint': it prints no JSON\n"
        "  one of  average, convert, diff, draft, edit, error, formats, inspect, mappings check, "
        "mappings explain, mappings list, mappings new, mappings prove, mappings show, plan, plot, "
        "scaffold, scaffold --to keras, validate\n",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), USAGE, ids=lambda value: str(value)[:40])
def test_bad_usage_is_one_clear_text_and_exit_code_2(
    converter, arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", weight=np.zeros((3, 4), np.float32))
    outcome = converter(*arguments)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", message)


def test_a_failure_in_json_carries_its_facts(converter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", weight=np.zeros((3, 4), np.float32))
    outcome = converter("plan", "a.npz", "--set", "heads", "--json")
    failure = msgspec.json.decode(outcome.out, type=schema.Error).error
    assert outcome.code == 2
    assert outcome.err.startswith("error: cannot use --set 'heads'")
    assert failure.type == UsageError.__name__
    assert failure.summary == "cannot use --set 'heads': it is not of the form axis=size"
    assert failure.facts == [("expected", "the name of an axis and a whole number, as in heads=12")]
    assert (failure.hint, failure.written, failure.problems) == (None, None, [])


def test_debug_lets_the_traceback_through(converter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", weight=np.zeros((3, 4), np.float32))
    monkeypatch.setattr(sys, "argv", ["converter", "plan", "a.npz", "--set", "heads", "--debug"])
    from converter.cli.app import main

    with pytest.raises(UsageError):
        main()


def test_formats_lists_what_is_read_and_written(converter):
    outcome = converter("formats")
    assert outcome.code == 0
    for name in ("safetensors", ".keras", ".weights.h5", ".npz"):
        assert name in outcome.out
    found = msgspec.json.decode(converter("formats", "--json").out, type=schema.Formats)
    assert {each.id for each in found.formats} >= {"safetensors", "npz"}


@pytest.mark.frameworks
class TestOnAFileThatKerasWrote:
    """The main way through: look, plan, convert, and back."""

    def test_inspect(self, converter, small_keras):
        outcome = converter("inspect", small_keras)
        assert (outcome.code, outcome.err) == (0, "")
        lines = outcome.out.splitlines()
        assert lines[0] == f"{small_keras}: format keras, names Keras, 8 tensors, 3.94 kB"
        assert lines[1].startswith("written by: Keras 3")
        assert lines[2] == "parameters: 984 (970 trainable, 14 not trainable)"
        assert lines[4].split() == ["tensor", "layer", "shape", "axes", "dtype", "bytes"]
        assert lines[5].split(maxsplit=2)[:2] == ["stem/kernel", "Conv2D"]
        assert "(2, 4, 3, 7)  kh kw in out  float32" in lines[5]

    def test_inspect_json(self, converter, small_keras):
        outcome = converter("inspect", small_keras, "--json")
        found = msgspec.json.decode(outcome.out, type=schema.Checkpoint)
        kernel = found.tensors[0]
        assert (kernel.name, kernel.shape, kernel.dtype) == ("stem/kernel", [2, 4, 3, 7], "float32")
        assert kernel.nbytes == 2 * 4 * 3 * 7 * 4
        assert [layer.class_name for layer in found.layers if layer.tensors] == [
            "Conv2D",
            "BatchNormalization",
            "Dense",
        ]

    def test_plan_writes_nothing(self, converter, small_keras, tmp_path):
        target = tmp_path / "small.safetensors"
        outcome = converter("plan", small_keras, target)
        assert (outcome.code, outcome.err) == (0, "")
        assert "head         head            (s c) out -> out (c s)" in outcome.out
        every = converter("plan", small_keras, target, "--all").out
        assert "stem/kernel" in every
        assert "stem.weight" in every
        assert not target.exists()
        document = json.loads(converter("plan", small_keras, "--json").out)
        assert document["schema"] == 1
        assert document["law"] in {"exact", "derived"}

    def test_there_and_back_through_a_folder_with_spaces(self, converter, small_keras, tmp_path):
        folder = tmp_path / "my models, 50 % \u00fc"
        folder.mkdir()
        source = Path(shutil.copy(small_keras, folder / "a b.keras"))
        middle, back = folder / "a b.safetensors", folder / "c d.weights.h5"
        there = converter("convert", source, middle, "--json")
        assert (there.code, there.err) == (0, "")
        written = msgspec.json.decode(there.out, type=schema.Written)
        assert written.files == [str(middle)]
        assert load_file(middle)["stem.weight"].shape == (7, 3, 2, 4)
        again = converter("convert", middle, back, "--like", source)
        assert (again.code, again.err) == (0, "")
        assert again.out.splitlines()[0] == f"wrote {back}"

    def test_a_target_that_exists_is_left_alone(self, converter, small_keras, tmp_path):
        target = tmp_path / "small.safetensors"
        target.write_bytes(b"precious")
        outcome = converter("convert", small_keras, target)
        assert outcome.code == 2
        assert outcome.out == ""
        assert outcome.err.startswith("error: ")
        assert "nothing" in outcome.err
        assert target.read_bytes() == b"precious"
        assert converter("convert", small_keras, target, "--force").code == 0
        assert load_file(target)

    def test_a_reader_that_goes_away_is_no_error(self, small_keras):
        command = f"{sys.executable} -m converter inspect '{small_keras}' | head -n 1"
        answer = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, check=False
        )
        assert answer.stdout.startswith(str(small_keras))
        assert answer.stderr == ""


def test_a_missing_file_is_one_clear_error(converter, tmp_path):
    outcome = converter("inspect", tmp_path / "no such file.keras")
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("error: cannot read ")
    assert "Traceback" not in outcome.err


def test_a_file_of_no_known_format_is_one_clear_error(converter, tmp_path):
    file = tmp_path / "note.keras"
    file.write_text("not a model\n")
    outcome = converter("inspect", file)
    assert outcome.code == 2
    assert outcome.err.startswith("error: cannot read 'note.keras'")


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals")
@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_gets_a_table_in_which_names_are_folded_and_never_cut(tmp_path, columns):
    import pty

    name = "".join(f"encoder{index:02}_" for index in range(13))
    np.savez(tmp_path / "a.npz", **{name: np.zeros((3, 4), np.float32)})
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "converter", "inspect", "a.npz"],
        cwd=tmp_path,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "dumb"},
    )
    os.close(slave)
    text = b""
    try:
        while part := os.read(master, 65536):
            text += part
    except OSError:  # the other end was closed
        pass
    assert process.wait() == 0
    os.close(master)
    lines = text.decode().splitlines()
    assert any(set(line.strip()) == {"\u2500"} for line in lines), "a rule below the headings"
    rows = lines[next(index for index, line in enumerate(lines) if "\u2500" in line) + 1 :]
    assert "".join(row.split()[0] for row in rows if row.split()) == name
