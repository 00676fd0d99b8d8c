"""A target appears complete under its name or not at all; what is there already is not harmed."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from support.signals import heard

from converter.errors import TargetExistsError, WriteError
from converter.execution import placing
from converter.execution.staging import PREFIX, StagedTarget
from converter.execution.write_errors import write_error


def write(target: Path, text: str, **options) -> tuple[Path, ...]:
    with StagedTarget(target, **options) as staged:
        (staged.folder / target.name).write_text(text)
        return staged.commit([target.name])


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_target_appears_only_at_the_commit(tmp_path):
    target = tmp_path / "new.bin"
    with StagedTarget(target) as staged:
        (staged.folder / "new.bin").write_text("new")
        assert not target.exists()
        assert staged.commit(["new.bin"]) == (target,)
        assert target.read_text() == "new"
    assert left_in(tmp_path) == ["new.bin"]


def test_new_file_has_the_mode_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "new.bin", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "new.bin").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    target = tmp_path / "old.bin"
    target.write_text("old")

    def fail():
        with StagedTarget(target, force=True) as staged:
            (staged.folder / "old.bin").write_text("new")
            raise failure

    with pytest.raises(failure):
        fail()
    assert target.read_text() == "old"
    assert left_in(tmp_path) == ["old.bin"]


def test_existing_target_needs_force(tmp_path):
    target = tmp_path / "old.bin"
    target.write_text("old")
    with pytest.raises(TargetExistsError) as caught:
        write(target, "new")
    assert str(caught.value) == (
        "cannot write 'old.bin': it exists\n"
        f"  path     {target}\n"
        "  hint     --force (in Python: force=True) replaces it\n"
        "  written  nothing"
    )
    assert isinstance(caught.value, FileExistsError)
    write(target, "new", force=True)
    assert target.read_text() == "new"
    assert left_in(tmp_path) == ["old.bin"]


def test_target_that_appears_meanwhile_is_not_replaced(tmp_path):
    target = tmp_path / "new.bin"
    with StagedTarget(target) as staged:
        (staged.folder / "new.bin").write_text("new")
        # After the last look at the name, which commit() does first.
        staged.claim = lambda names: target.write_text("of somebody else")
        with pytest.raises(TargetExistsError):
            staged.commit(["new.bin"])
    assert target.read_text() == "of somebody else"
    assert left_in(tmp_path) == ["new.bin"]


def test_no_hard_links_is_no_obstacle(tmp_path, monkeypatch):
    def refuse(*names):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    write(tmp_path / "new.bin", "new")
    assert (tmp_path / "new.bin").read_text() == "new"
    with pytest.raises(FileExistsError):
        placing.place(tmp_path, ["new.bin"], tmp_path / "new.bin", replace=False)


@pytest.mark.parametrize("name", ["same", "hard link", "other spelling"])
def test_a_source_is_never_written_over(tmp_path, name):
    source = tmp_path / "source.bin"
    source.write_text("source")
    target = source
    if name == "hard link":
        target = tmp_path / "target.bin"
        os.link(source, target)
    elif name == "other spelling":
        (tmp_path / "deep").mkdir()
        target = tmp_path / "deep" / ".." / "source.bin"
    with pytest.raises(WriteError, match="it is the source itself") as caught:
        write(target, "new", sources=[source], force=True)
    assert caught.value.hint == "give the target another name"
    assert caught.value.written == "nothing"
    assert source.read_text() == "source"


def test_a_symbolic_link_is_refused(tmp_path):
    (tmp_path / "real.bin").write_text("old")
    (tmp_path / "link.bin").symlink_to(tmp_path / "real.bin")
    with pytest.raises(WriteError) as caught:
        write(tmp_path / "link.bin", "new", force=True)
    assert str(caught.value) == (
        "cannot write 'link.bin': it is a symbolic link\n"
        f"  link to  {tmp_path / 'real.bin'}\n"
        "  hint     name the file itself, or remove the link\n"
        "  written  nothing"
    )
    assert (tmp_path / "real.bin").read_text() == "old"


def test_a_link_to_the_folder_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link" / "new.bin", "new")
    assert left_in(tmp_path / "real") == ["new.bin"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("folder", "cannot write 'folder': it is a folder"),
        ("pipe", "cannot write 'pipe': it is not a regular file"),
        ("missing/new.bin", "cannot write 'new.bin': its folder does not exist"),
        ("file/new.bin", "cannot write 'new.bin': what should be its folder is a file"),
        ("file/deep/new.bin", "cannot write 'new.bin': its folder does not exist"),
    ],
)
def test_places_that_cannot_be_written(tmp_path, name, says):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("")
    before = left_in(tmp_path)
    with pytest.raises(WriteError) as caught:
        write(tmp_path / name, "new", force=True)
    assert caught.value.summary == says
    assert caught.value.written == "nothing"
    assert left_in(tmp_path) == before


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(WriteError, match=": the name is too long\n"):
        write(tmp_path / ("x" * 256), "new")


@pytest.mark.parametrize("target", ["/", "..", "."])
def test_a_target_without_a_name_is_a_folder(target):
    with pytest.raises(WriteError, match="it is a folder"):
        write(Path(target), "new")


def test_too_little_room_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(WriteError) as caught:
        write(tmp_path / "new.bin", "new", needed=2**60)
    lines = str(caught.value).splitlines()
    assert lines[0] == "cannot write 'new.bin': the disk has not enough room"
    assert lines[1:3] == [
        f"  folder   {tmp_path}",
        "  needed   1,152,921,504,606,846,976 bytes",
    ]
    assert lines[3].startswith("  free     ")
    assert lines[4] == "  written  nothing"
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "why", "labels"),
    [
        (errno.ENOSPC, "the disk is full", ["folder", "needed", "free"]),
        (errno.EDQUOT, "the disk quota is used up", ["folder", "needed", "free"]),
        (
            errno.EFBIG,
            "the file would be larger than the system allows",
            ["folder", "needed", "free"],
        ),
        (errno.EROFS, "the file system is read-only", ["folder"]),
        (errno.EACCES, "the folder may not be written to", ["folder"]),
        (errno.EIO, "the disk reports an error", ["folder"]),
        (errno.ELOOP, os.strerror(errno.ELOOP), ["folder"]),
    ],
)
def test_what_the_system_says_in_our_words(tmp_path, number, why, labels):
    error = write_error(OSError(number, "x"), tmp_path / "new.bin", needed=1234)
    assert error.summary == f"cannot write 'new.bin': {why}"
    assert [label for label, _ in error.facts] == labels
    assert error.written == "nothing"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_read_only_file_system(tmp_path):
    place = tmp_path / "mounted"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(WriteError) as caught:
            write(place / "new.bin", "new")
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert caught.value.summary == "cannot write 'new.bin': the file system is read-only"


@pytest.fixture
def nobody():
    """Let the test run as a user whom permissions bind, as they do not bind root."""
    is_root = os.geteuid() == 0
    importlib.import_module("filelock")  # imported when it is used, from where nobody may read
    if is_root:
        os.seteuid(65534)
    yield
    if is_root:
        os.seteuid(0)


@pytest.mark.parametrize("has_old", [False, True])
def test_folder_without_permission(nobody, has_old):
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        target = folder / "new.bin"
        if has_old:
            target.write_text("old")
        folder.chmod(0o500)
        try:
            with pytest.raises(WriteError) as caught:
                write(target, "new", force=True)
        finally:
            folder.chmod(0o700)
        assert caught.value.summary == ("cannot write 'new.bin': the folder may not be written to")
        assert [path.read_text() for path in folder.iterdir()] == ["old"] * has_old


def test_second_writer_is_told_at_once(tmp_path):
    target = tmp_path / "new.bin"
    with StagedTarget(target) as staged:
        for attempt in (lambda: write(target, "second"), lambda: in_thread(write, target, "3rd")):
            with pytest.raises(WriteError) as caught:
                attempt()
            assert str(caught.value) == (
                "cannot write 'new.bin': another conversion is writing it\n"
                "  lock     '.new.bin.weightferry.lock'\n"
                "  written  nothing"
            )
        write(tmp_path / "other.bin", "another target is free")
        (staged.folder / "new.bin").write_text("first")
        staged.commit(["new.bin"])
    assert target.read_text() == "first"
    assert left_in(tmp_path) == ["new.bin", "other.bin"]


def in_thread(function, *arguments):
    caught = []

    def run():
        try:
            function(*arguments)
        except WriteError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    raise caught[0]


def test_many_writers_one_whole_result(tmp_path):
    """Of two at the same time one is told; the file is always one writer's, whole."""
    program = (
        "import sys, pathlib\n"
        "from converter.errors import WriteError\n"
        "from converter.execution.staging import StagedTarget\n"
        "target, text = pathlib.Path(sys.argv[1]), sys.argv[2] * 100000\n"
        "done = 0\n"
        "for _ in range(40):\n"
        "    try:\n"
        "        with StagedTarget(target, force=True) as staged:\n"
        "            (staged.folder / target.name).write_text(text)\n"
        "            staged.commit([target.name])\n"
        "            done += 1\n"
        "    except WriteError as error:\n"
        "        assert 'another conversion is writing it' in str(error), error\n"
        "    if target.exists():\n"
        "        assert len(set(target.read_text())) == 1\n"
        "print(done)\n"
    )
    target = tmp_path / "new.bin"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(target), letter], stdout=subprocess.PIPE
        )
        for letter in "ab"
    ]
    done = [int(run.communicate()[0]) for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sum(done) > 0
    assert len(target.read_text()) == 100000
    assert left_in(tmp_path) == ["new.bin"]


def test_leftovers_of_dead_runs_go_and_those_of_live_ones_stay(tmp_path):
    with StagedTarget(tmp_path / "live.bin") as live:
        dead = tmp_path / f"{PREFIX}1-0123abcd"
        (dead / "files").mkdir(parents=True)
        (dead / "files" / "half.bin").write_text("half")
        (tmp_path / f"{PREFIX}elsewhere").symlink_to(tmp_path)
        write(tmp_path / "new.bin", "new")
        assert not dead.exists()
        assert live.folder.exists()
    assert left_in(tmp_path) == [f"{PREFIX}elsewhere", "new.bin"]


SLEEPER = (
    "import sys, pathlib, time\n"
    "from converter.execution.staging import StagedTarget\n"
    "target = pathlib.Path(sys.argv[1])\n"
    "with StagedTarget(target, force=True) as staged:\n"
    "    (staged.folder / target.name).write_text('half')\n"
    "    print('ready', flush=True)\n"
    "    time.sleep(60)\n"
)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, -signal.SIGINT)],
)
def test_signals_leave_the_old_file_and_nothing_else(tmp_path, number, code):
    target = tmp_path / "old.bin"
    target.write_text("old")
    with heard(number):
        run = subprocess.Popen(
            [sys.executable, "-c", SLEEPER, str(target)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(number)
    run.communicate()
    assert run.returncode == code
    assert target.read_text() == "old"
    assert left_in(tmp_path) == ["old.bin"]


def test_signal_handlers_are_given_back(tmp_path):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    write(tmp_path / "new.bin", "new")
    assert before == {number: signal.getsignal(number) for number in before}


def test_sync_comes_before_the_rename_and_for_the_folder_after(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda number: calls.append(Path(f"/proc/self/fd/{number}").resolve()) or fsync(number),
    )
    monkeypatch.setattr(
        Path, "replace", lambda self, other: calls.append("rename") or replace(self, other)
    )
    with StagedTarget(tmp_path / "new.bin", force=True) as staged:
        (staged.folder / "new.bin").write_text("new")
        written = staged.folder / "new.bin"
        staged.commit(["new.bin"])
    assert calls == [written, "rename", tmp_path]
