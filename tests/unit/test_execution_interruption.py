"""Killed, interrupted or out of room at any moment: the old file, the new file or nothing."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parents[1]

PROGRAM = """
import sys, pathlib
sys.path.insert(0, {tests!r})
import numpy as np
from support.flat_files import FlatCheckpoint, FlatWriter, make_plan, specs
from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange
from converter.execution.executor import execute_with
folder, files, size = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
tensors = specs({{f"t{{index}}": (size // 4000, 1000) for index in range(8)}})
target = folder / "target.bin"
with FlatCheckpoint(folder / "source.bin", tensors) as source:
    swap = Rearrange(Pattern.parse("a b -> b a"))
    plan = make_plan(source.manifest, [([s.name], ["n" + s.name], swap) for s in tensors])
    make = lambda place: FlatWriter(place, target.name, plan.target, index=files > 1)
    events = []
    def note(event):
        print(type(event).__name__, flush=True)
    execute_with(make, plan, source, target, force=True, progress=note)
"""

SIZE = 4_000_000  # bytes, of each of eight tensors


def prepare(folder: Path, size: int = SIZE) -> None:
    block = np.random.default_rng(1).bytes(size)
    (folder / "source.bin").write_bytes(block * 8)


def command(folder: Path, files: int = 1, size: int = SIZE) -> list[str]:
    program = PROGRAM.format(tests=str(TESTS))
    return [sys.executable, "-c", program, str(folder), str(files), str(size)]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "absent"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


KILLS = 60 if os.environ.get("WEIGHTFERRY_HYPOTHESIS") == "long" else 12


@pytest.mark.parametrize("files", [1, 2])
def test_kill_at_random_moments(tmp_path, files):
    prepare(tmp_path)
    target = tmp_path / "target.bin"
    subprocess.run(command(tmp_path, files), check=True, capture_output=True)
    new = digest(target)
    complete = names(tmp_path)
    moments = np.random.default_rng(7).uniform(0, 0.12, size=KILLS)
    for moment in moments:
        target.write_bytes(b"old")
        old = digest(target)
        run = subprocess.Popen(command(tmp_path, files), stdout=subprocess.PIPE)
        run.stdout.readline()  # it has begun
        time.sleep(moment)
        run.kill()
        run.communicate()
        allowed = {old, new} if files == 1 else {old, new, "absent"}
        assert digest(target) in allowed, moment
    subprocess.run(command(tmp_path, files), check=True, capture_output=True)
    assert digest(target) == new
    assert names(tmp_path) == complete


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_while_values_are_written(tmp_path, number):
    prepare(tmp_path)
    target = tmp_path / "target.bin"
    target.write_bytes(b"old")
    run = subprocess.Popen(
        command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in run.stdout:
        if line == "Advanced\n":
            run.send_signal(number)
            break
    errors = run.communicate()[1]
    if run.returncode == 0:
        pytest.skip("it was done before the signal came")
    assert run.returncode == (-number if number == signal.SIGINT else 128 + number)
    assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == {"source.bin", "target.bin"}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_a_file_that_may_not_grow(tmp_path, share):
    """A limit on the size of files stands for a full disk; 1.0 is one byte too little."""
    prepare(tmp_path)
    (tmp_path / "target.bin").write_bytes(b"old")
    limit = int(8 * SIZE * share) - (share == 1.0)
    program = command(tmp_path)
    program[2] = (
        f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        + program[2]
    )
    run = subprocess.run(program, capture_output=True, text=True, check=False)
    said = run.stderr.strip().splitlines()
    start = next(i for i, line in enumerate(said) if "errors.WriteError" in line)
    assert said[start] == (
        "converter.errors.WriteError: cannot write 'target.bin': "
        "the file would be larger than the system allows"
    )
    assert said[-1] == "  written  nothing"
    assert (tmp_path / "target.bin").read_bytes() == b"old"
    assert names(tmp_path) == {"source.bin", "target.bin"}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_fills_up(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        prepare(place)  # 32 MB
        (place / "target.bin").write_bytes(b"old")
        program = command(place)
        # Taken by somebody else after the free space was looked at.
        filling = "(folder / 'other').write_bytes(bytes(16_000_000))"
        program[2] = (
            program[2]
            .replace("    events = []\n", "")
            .replace(
                "    def note(event):\n",
                f"    def note(event):\n        if type(event).__name__ == 'Started': {filling}\n",
            )
        )
        run = subprocess.run(program, capture_output=True, text=True, check=False)
        left = names(place)
        kept = (place / "target.bin").read_bytes()
    finally:
        subprocess.run(["umount", str(place)], check=True)
    said = run.stderr.strip().splitlines()
    start = next(i for i, line in enumerate(said) if "errors.WriteError" in line)
    assert said[start].endswith("cannot write 'target.bin': the disk is full")
    assert said[start + 2] == "  needed   32,000,000 bytes"
    assert said[-1] == "  written  nothing"
    assert left == {"source.bin", "target.bin", "other"}
    assert kept == b"old"


MEASURE = """
import re
def peaks():
    text = pathlib.Path("/proc/self/status").read_text()
    return {name: int(re.search(name + r":\\s+(\\d+) kB", text)[1]) * 1024
            for name in ("VmHWM", "RssAnon")}
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize("pattern", ["a b -> a b", "a b -> b a"])
def test_memory_is_bounded_whatever_the_size_of_a_tensor(tmp_path, pattern):
    """600 MB in one tensor, kept or permuted, with less than 400 MB resident, pages included."""
    rows, columns = 12_000, 12_500
    with (tmp_path / "source.bin").open("wb") as file:
        file.truncate(rows * columns * 4)  # sparse: no disk is read, every page is touched
    program = PROGRAM.format(tests=str(TESTS)) + MEASURE + "print(peaks()['VmHWM'])\n"
    program = program.replace(
        "(size // 4000, 1000) for index in range(8)", f"({rows}, {columns}) for index in range(1)"
    )
    program = program.replace("a b -> b a", pattern)
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), "1", "0"],
        capture_output=True,
        text=True,
        check=True,
    )
    peak = int(run.stdout.split()[-1])
    assert (tmp_path / "target.bin").stat().st_size == rows * columns * 4
    assert peak < 400e6
