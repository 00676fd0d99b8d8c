"""Ctrl-C and SIGTERM end a conversion with one line, and leave nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.signals import heard

SIZE = 600_000_000  # bytes, so that writing takes long enough to be interrupted


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """Return a safetensors file of PyTorch tensors; most of it is a hole in the file."""
    import json

    folder = tmp_path_factory.mktemp("large")
    file = folder / "large.safetensors"
    count = 60
    each = SIZE // count // 4 * 4
    header = {
        f"blocks.{index}.weight": {
            "dtype": "F32",
            "shape": [each // 4],
            "data_offsets": [index * each, (index + 1) * each],
        }
        for index in range(count)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(np.uint64(len(text)).tobytes() + text)
        stream.truncate(8 + len(text) + count * each)
    yield file
    file.unlink()


@pytest.mark.skipif(os.name == "nt", reason="signals are different there")
@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGINT, 130, "error: interrupted; no target was changed\n"),
        (signal.SIGTERM, 143, ""),
    ],
)
def test_an_interrupted_conversion_leaves_the_old_target(
    large: Path, tmp_path: Path, number: int, code: int, message: str
):
    target = tmp_path / "out.npz"
    target.write_bytes(b"the old one")
    with heard(number):
        process = subprocess.Popen(
            [sys.executable, "-m", "converter", "convert", large, target, "--force", "--to=torch"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    deadline = time.monotonic() + 30
    while not any(tmp_path.glob(".weightferry-*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.0005)  # early: the folder has just been made
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, "", message)
    assert target.read_bytes() == b"the old one"
    assert [str(path) for path in tmp_path.rglob("*")] == [str(target)]
