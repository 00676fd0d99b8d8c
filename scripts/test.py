"""Everything that has to hold: format, lint, import contracts, types, tests and documentation.

``python3 scripts/test.py`` is what CI runs, and needs nothing but Python 3.11 and git. Further
arguments go to pytest: ``python3 scripts/test.py --no-lint -k algebra``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import environment


@dataclass(frozen=True)
class Check:
    """One command and what it is called in the summary."""

    name: str
    command: tuple[str, ...]


def main() -> int:
    """Run every check, print a summary, return the exit code."""
    options, further = _parser().parse_known_args()
    if options.long:
        os.environ["WEIGHTFERRY_HYPOTHESIS"] = "long"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # there is a process for each core already
    environment.enter((*environment.GROUPS, *(("oracles",) if options.oracles else ())))
    results = []
    for check in _checks(options, further):
        print(f"\n== {check.name}: {' '.join(check.command)}", flush=True)
        begin = time.monotonic()
        code = subprocess.run(
            [environment.program(check.command[0]), *check.command[1:]],
            check=False,
            cwd=environment.ROOT,
        ).returncode
        results.append((check.name, code, time.monotonic() - begin))
        if code and options.fail_fast:
            break
    print("\n== summary")
    for name, code, seconds in results:
        print(f"{name:<18} {'ok' if code == 0 else 'FAILED':<7} {seconds:6.1f} s")
    return int(any(code for _, code, _ in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="Other arguments go to pytest."
    )
    parser.add_argument("--no-lint", action="store_true", help="tests only")
    parser.add_argument(
        "--long",
        action="store_true",
        help="also the tests that take minutes, and many times as many examples and crashes",
    )
    parser.add_argument(
        "--oracles",
        action="store_true",
        help="install keras-hub, transformers and torchvision, and compare with them too",
    )
    parser.add_argument("-x", "--fail-fast", action="store_true", help="stop at the first failure")
    return parser


def _checks(options: argparse.Namespace, further: list[str]) -> list[Check]:
    lint = [
        Check("format", ("ruff", "format", "--check", "--quiet", ".")),
        Check("lint", ("ruff", "check", "--quiet", ".")),
        Check("import contracts", ("lint-imports", "--no-logo")),
        Check("types", ("mypy",)),
    ]
    left_out = [
        name
        for name, wanted in (("long", options.long), ("oracles", options.oracles))
        if not wanted
    ]
    marks = ("-m", " and ".join(f"not {name}" for name in left_out)) if left_out else ()
    stop = ("-x",) if options.fail_fast else ()
    # A file stays with one process: many share what is slow to make in a fixture. In the order of
    # the folders, as else the files of few tests, which are the slow ones, come last and alone.
    many = ("-n", str(_processes()), "--dist", "loadfile", "--no-loadscope-reorder")
    tests = Check("tests", ("pytest", "-q", *many, *marks, *stop, *further))
    return [*([] if options.no_lint else lint), tests]


def _processes() -> int:
    """Return how many cores there are to use, no more than there is memory for frameworks."""
    return min(
        4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


if __name__ == "__main__":
    sys.exit(main())
