"""Convert many checkpoints: a whole folder, or a list of jobs; several at once, and resumable.

A folder: every checkpoint below it, whatever its format, becomes ``OUT/NAME.safetensors``::

    python3 scripts/migrate_folder.py models/ --out converted/

A list in TOML, for jobs that need options; paths are relative to the list, and every further key is
an option of ``converter convert``::

    [defaults]
    dtype = "bfloat16"

    [[jobs]]
    source = "models/bert.weights.h5"
    target = "converted/bert.safetensors"
    mapping = "bert"
    set = ["heads=12"]

Each job is a process of its own, so that one that fails stops no other. What became of each is in a
JSON report, written anew after every job. Started again after Ctrl-C, a crash or a power cut, the
script does what is not done yet, what failed, and what has changed since. Exit codes: 0 all done,
1 some failed, 2 bad usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import converter

LOCK_SECONDS = 600.0  # how long another process may still be writing a target of ours
RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """One conversion.

    Attributes:
        source: What to read.
        target: What to write.
        options: Further arguments of ``converter convert``.
        folder: Where the command runs: what relative paths are relative to.
        found: Whether the source was found in a folder, so that it may be no checkpoint at all.
    """

    source: str
    target: str
    options: tuple[str, ...]
    folder: Path
    found: bool = False

    def stamp(self) -> list[Any]:
        """Return what tells whether the job is another one than it was: options, size, time."""
        try:
            status = (self.folder / self.source).stat()
        except OSError:
            return [self.source, *self.options]
        return [self.source, *self.options, status.st_size, status.st_mtime_ns]


class Report:
    """What became of each job, kept in a file that is complete at every moment."""

    def __init__(self, path: Path, jobs: Sequence[Job]) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._rows: dict[str, dict[str, Any]] = {
            job.target: {"source": job.source, "target": job.target, "status": "waiting"}
            for job in jobs
        }
        if path.exists():
            rows = json.loads(path.read_text(encoding="utf-8"))["jobs"]
            self._rows.update({row["target"]: row for row in rows if row["target"] in self._rows})
        self._before = dict(self._rows)
        self._stamps: dict[str, list[Any]] = {}

    def is_done(self, job: Job) -> bool:
        """Whether an earlier run has done a job, its source is the same and its target there."""
        row = self._before[job.target]
        done = row["status"] == "skipped" or (
            row["status"] == "done" and (job.folder / job.target).exists()
        )
        return done and row["stamp"] == job.stamp()

    def is_ours(self, job: Job) -> bool:
        """Whether an earlier run wrote, or began to write, the target of a job."""
        return self._before[job.target]["status"] in ("done", "running")

    def put(self, job: Job, status: str, **facts: Any) -> None:
        """Set what became of a job, and write the file.

        What is said of a source is of the source as it was when the job began.
        """
        with self._guard:
            if status == "running":
                self._stamps[job.target] = job.stamp()
            self._rows[job.target] = {
                "source": job.source,
                "target": job.target,
                "status": status,
                "stamp": self._stamps[job.target],
                **facts,
            }
            document = {"schema": 1, "counts": self.counts(), "jobs": list(self._rows.values())}
            part = self._path.with_name(f".{self._path.name}.part")
            part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            part.replace(self._path)

    def counts(self) -> dict[str, int]:
        """Return how many jobs there are of each status."""
        return dict(sorted(Counter(row["status"] for row in self._rows.values()).items()))


class Runner:
    """Runs jobs in processes; after :meth:`stop` no job begins and none goes on."""

    def __init__(self, report: Report, *, force: bool) -> None:
        self._report = report
        self._force = force
        self._stopped = threading.Event()
        self._processes: set[subprocess.Popen[str]] = set()

    def run(self, job: Job) -> str:
        """Do one job and return what became of it, in one line."""
        replace = self._force or self._report.is_ours(job)
        self._report.put(job, "running")
        end = time.monotonic() + LOCK_SECONDS
        code, found = self._convert(job, replace=replace)
        # After a crash of this script, a process that it had begun may still be at work.
        while _is_locked(found) and time.monotonic() < end and not self._stopped.is_set():
            time.sleep(RETRY_SECONDS)
            code, found = self._convert(job, replace=replace)
        if self._stopped.is_set() and code:
            return f"stopped  {job.source}"  # "running" in the report: it is done again next time
        if code == 0:
            self._report.put(job, "done", result=found)
            return f"done     {job.source} -> {job.target}"
        error = found["error"]
        skipped = job.found and error["type"] == "UnknownFormatError"
        self._report.put(job, "skipped" if skipped else "failed", error=error)
        return f"{'skipped' if skipped else 'failed '}  {job.source}: {error['summary']}"

    def stop(self) -> None:
        """End every process; each removes what it had written."""
        self._stopped.set()
        for process in list(self._processes):
            process.terminate()

    def _convert(self, job: Job, *, replace: bool) -> tuple[int, dict[str, Any]]:
        """Run ``converter convert``; return its exit code and what it printed."""
        command = [sys.executable, "-m", "converter", "convert", "--json", *job.options]
        command += ["--force"] if replace else []
        if self._stopped.is_set():
            return 130, {"error": {"type": "Ended", "summary": "stopped"}}
        (job.folder / job.target).parent.mkdir(parents=True, exist_ok=True)
        with subprocess.Popen(
            [*command, "--", job.source, job.target],
            cwd=job.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            self._processes.add(process)
            printed, said = process.communicate()
            self._processes.discard(process)
        try:
            return process.returncode, dict(json.loads(printed))
        except ValueError:  # an option that does not exist, or a process that was killed
            summary = said.partition("\n")[0].removeprefix("error: ")
            summary = summary or f"the process ended with exit code {process.returncode}"
            return process.returncode or 1, {"error": {"type": "Ended", "summary": summary}}


def _is_locked(found: Mapping[str, Any]) -> bool:
    return any(label == "lock" for label, _ in found.get("error", {}).get("facts", []))


def jobs_of_folder(folder: Path, out: Path, suffix: str) -> Iterator[Job]:
    """Yield a job for each file below a folder; shards that an index names are part of its job."""
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and out.resolve() not in path.parents
    ]
    shards = {shard for path in files if path.suffix == ".json" for shard in _shards(path)}
    for path in files:
        if path.resolve() not in shards:
            target = f"{out / path.relative_to(folder)}{suffix}"
            yield Job(str(path), target, (), Path.cwd(), found=True)


def _shards(index: Path) -> set[Path]:
    try:
        with converter.open(index) as checkpoint:
            return {file.resolve() for file in checkpoint.files} - {index.resolve()}
    except converter.ConverterError:
        return set()  # some other JSON


def jobs_of_list(path: Path) -> Iterator[Job]:
    """Yield the jobs of a list in TOML; see the top of this file.

    Raises:
        ValueError: If a job lacks its source or target.
    """
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    for number, one in enumerate(document.get("jobs", []), start=1):
        wanted = {**document.get("defaults", {}), **one}
        source, target = wanted.pop("source", None), wanted.pop("target", None)
        if source is None or target is None:
            raise ValueError(f"{path}: job {number} has no source or no target")
        yield Job(source, target, tuple(_options(wanted)), path.resolve().parent)


def _options(wanted: Mapping[str, Any]) -> Iterator[str]:
    for name, value in wanted.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not False:
                yield f"--{name}" if one is True else f"--{name}={one}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do all jobs that are not done yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path, help="a folder, or a list of jobs (.toml)")
    parser.add_argument("--out", type=Path, help="where the targets go, for a folder")
    parser.add_argument("--suffix", default=".safetensors", help="the ending of each target")
    parser.add_argument("--report", type=Path, help="by default OUT/report.json, LIST.report.json")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="jobs at once")
    parser.add_argument("--force", action="store_true", help="replace targets that are not ours")
    given = parser.parse_args(arguments)
    if given.workers < 1:
        parser.error("--workers must be 1 or more")
    try:
        if not given.source.is_dir():
            jobs = list(jobs_of_list(given.source))
            place = given.source.with_suffix(".report.json")
        elif given.out is None:
            parser.error("a folder needs --out")
        else:
            jobs = list(jobs_of_folder(given.source, given.out, given.suffix))
            given.out.mkdir(parents=True, exist_ok=True)
            place = given.out / "report.json"
        report = Report(given.report or place, jobs)
    except (ValueError, KeyError, OSError) as error:
        parser.error(str(error))
    twice = [target for target, count in Counter(job.target for job in jobs).items() if count > 1]
    if twice:
        parser.error(f"several jobs write {twice[0]}")
    waiting = [job for job in jobs if not report.is_done(job)]
    print(f"{len(jobs)} jobs, {len(jobs) - len(waiting)} done before", flush=True)
    return work(waiting, Runner(report, force=given.force), report, given.workers)


def work(jobs: Sequence[Job], runner: Runner, report: Report, workers: int) -> int:
    """Do jobs and return the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(runner.run, job) for job in jobs]
        try:
            for future in as_completed(futures):
                print(future.result(), flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            runner.stop()
            print("interrupted: the same command does the rest", file=sys.stderr)
            return 130
    counts = report.counts()
    print(", ".join(f"{count} {status}" for status, count in counts.items()) or "nothing to do")
    return 1 if counts.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
