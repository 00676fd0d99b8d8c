"""One command is run and measured: wall time, processor time, peak memory by kind."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_SAMPLE_SECONDS = 0.01
_FIELDS = re.compile(rb"^(RssAnon|RssFile):\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took.

    Attributes:
        wall: Seconds from start to end.
        cpu: Seconds of processor time, user and system, of all threads.
        peak: Largest resident memory in bytes, as the kernel counted it (``ru_maxrss``).
        anonymous: Largest resident memory that is not of files, in bytes, sampled.
        mapped: Largest resident memory of mapped files, in bytes, sampled.
        code: Exit code.
        said: The end of what it wrote to stderr.
    """

    wall: float
    cpu: float
    peak: int
    anonymous: int
    mapped: int
    code: int
    said: str


def measure(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run a command to its end."""
    peaks = {b"RssAnon": 0, b"RssFile": 0}
    ended = threading.Event()
    begin = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )

    def sample() -> None:
        status = Path(f"/proc/{process.pid}/status")
        while not ended.wait(_SAMPLE_SECONDS):
            try:
                found = _FIELDS.findall(status.read_bytes())
            except OSError:
                return
            for name, kilobytes in found:
                peaks[name] = max(peaks[name], int(kilobytes) * 1024)

    watcher = threading.Thread(target=sample)
    watcher.start()
    said = b""
    if process.stderr is not None:
        with process.stderr:
            said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    watcher.join()
    return Run(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        peak=usage.ru_maxrss * 1024,
        anonymous=peaks[b"RssAnon"],
        mapped=peaks[b"RssFile"],
        code=process.returncode,
        said=said[-2000:].decode(errors="replace"),
    )


def middle(runs: Sequence[Run]) -> Run:
    """Return the medians of several runs; of memory the largest."""
    return Run(
        wall=median(run.wall for run in runs),
        cpu=median(run.cpu for run in runs),
        peak=max(run.peak for run in runs),
        anonymous=max(run.anonymous for run in runs),
        mapped=max(run.mapped for run in runs),
        code=max(abs(run.code) for run in runs),
        said=next((run.said for run in runs if run.code), ""),
    )
