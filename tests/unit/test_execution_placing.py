"""Several files are never mixed: complete old ones, complete new ones, or no index."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from converter.errors import TargetExistsError, WriteError
from converter.execution import placing
from converter.execution.staging import PREFIX, StagedTarget, remove_leftovers


def write_shards(target: Path, text: str, **options) -> tuple[Path, ...]:
    names = ["model-1.bin", "model-2.bin", "model.index"]
    with StagedTarget(target, **options) as staged:
        for name in names:
            (staged.folder / name).write_text(f"{text} {name}")
        return staged.commit(names)


def shards(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


OLD = {name: f"old {name}" for name in ("model-1.bin", "model-2.bin", "model.index")}
NEW = {name: f"new {name}" for name in OLD}


def test_several_files_replace_several(tmp_path):
    write_shards(tmp_path / "model.bin", "old")
    assert shards(tmp_path) == OLD
    with pytest.raises(TargetExistsError):
        write_shards(tmp_path / "model.bin", "new")
    assert shards(tmp_path) == OLD
    write_shards(tmp_path / "model.bin", "new", force=True)
    assert shards(tmp_path) == NEW


def test_a_single_file_gives_way_to_shards(tmp_path):
    """A loader that finds the old single file first would never look at the new shards."""
    target = tmp_path / "model.bin"
    target.write_text("old")
    write_shards(target, "new", force=True)
    assert shards(tmp_path) == NEW


@pytest.mark.parametrize("moment", range(6))
@pytest.mark.parametrize("crash", [False, True])
def test_no_mixture_when_placing_is_interrupted(tmp_path, monkeypatch, moment, crash):
    """Six renames replace three files; each of them fails or is the last before a crash."""
    write_shards(tmp_path / "model.bin", "old")
    renames = iter(range(100))
    rename, replace = Path.rename, Path.replace

    def counted(function):
        def run(self, other):
            # "placing.json" is written before; all other renames are those of place().
            if next(renames) == moment:
                raise OSError(errno.EIO, "injected")
            states.append(index_and_shards(tmp_path))
            return function(self, other)

        return run

    states = []
    monkeypatch.setattr(Path, "rename", counted(rename))
    monkeypatch.setattr(Path, "replace", counted(replace))
    if crash:
        monkeypatch.setattr(placing, "undo", lambda control, into: None)
        monkeypatch.setattr("shutil.rmtree", lambda path, ignore_errors=False: None)
    with pytest.raises(WriteError, match="the disk reports an error"):
        write_shards(tmp_path / "model.bin", "new", force=True)
    monkeypatch.undo()
    if crash:
        assert index_and_shards(tmp_path) in ("old", "none")
        remove_leftovers(tmp_path)
    assert shards(tmp_path) == OLD
    assert set(states) <= {"old", "none"}


def index_and_shards(folder: Path) -> str:
    found = shards_only(folder)
    if "model.index" not in found:
        return "none"
    words = {text.split()[0] for text in found.values()}
    return words.pop() if len(found) == 3 and len(words) == 1 else f"mixture {found}"


def shards_only(folder: Path) -> dict[str, str]:
    return {
        path.name: path.read_text()
        for path in folder.iterdir()
        if path.is_file() and path.suffix != ".lock"
    }


def test_what_was_placed_completely_stays(tmp_path, monkeypatch):
    """A crash after the last rename: the next run must not take the new files back."""
    write_shards(tmp_path / "model.bin", "old")
    monkeypatch.setattr("shutil.rmtree", lambda path, ignore_errors=False: None)
    write_shards(tmp_path / "model.bin", "new", force=True)
    monkeypatch.undo()
    remove_leftovers(tmp_path)
    assert shards(tmp_path) == NEW


@pytest.mark.parametrize(
    "journal",
    [
        b"{",
        b'{"names": ["../precious", "x"], "identities": [[1, 2], [3, 4]]}',
        b'{"names": ["precious", "x"], "identities": [[1, 2], [3, 4]]}',
        b'{"names": ["precious", "x"], "identities": [[1, 2]]}',
        b'{"names": [], "identities": []}',
    ],
)
def test_a_planted_journal_removes_no_file(tmp_path, journal):
    """A temporary folder may come out of an archive; it must not lead to a file of the user."""
    folder = tmp_path / "unpacked"
    planted = folder / f"{PREFIX}1-00000000"
    (planted / "previous").mkdir(parents=True)
    (planted / "placing.json").write_bytes(journal)
    (planted / "previous" / "precious").write_text("planted")
    (folder / "precious").write_text("mine")
    (tmp_path / "precious").write_text("mine too")
    remove_leftovers(folder)
    assert shards_only(folder) == {"precious": "mine"}
    assert (tmp_path / "precious").read_text() == "mine too"
    assert not planted.exists()
