"""A small file is the complete new one or the old one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from converter.errors import TargetExistsError, WriteError
from converter.execution.small_files import write_small

# A file may grow to 1,000 bytes: stands for a disk that is full.
PROGRAM = """
import resource, signal, sys
from pathlib import Path
from converter.errors import WriteError
from converter.execution.small_files import write_small
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_small(Path(sys.argv[1]), bytes(5000), force=True)
except WriteError as error:
    print(error)
"""


def test_a_new_file_and_its_replacement(tmp_path):
    target = tmp_path / "a b.toml"
    assert write_small(target, b"old", force=False) == target
    with pytest.raises(TargetExistsError, match=r"cannot write 'a b\.toml': it exists"):
        write_small(target, b"new", force=False)
    assert target.read_bytes() == b"old"
    write_small(target, b"new", force=True)
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.toml"
    target.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(target)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("cannot write 'a.toml'")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(WriteError, match="link"):
        write_small(tmp_path / "link", b"new", force=True)
    assert (tmp_path / "real").read_bytes() == b"old"
