"""Speed and memory, against copying the file, a plain script, and keras_hub's own loader.

    python3 scripts/bench.py --quick          a smoke run of half a minute
    python3 scripts/bench.py --json out.json  everything; needs 13 GB of disk

Every run is a process of its own. The contenders of a case alternate, so that a busy moment of
the machine meets all of them; of the wall times the medians count, of the memory the largest.
Before anything counts, everybody runs once, which brings the sources into the page cache, and what
they wrote is compared tensor by tensor, bit for bit. ``cp`` is followed by fsync, as every
conversion of ours is; the scripts compared with do not call fsync.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench_measure import Run, measure, middle
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
OURS = "weightferry"
COPY = "cp + fsync"
PLAIN = "plain script"
HUB = "keras_hub"
PYTHON = sys.executable


@dataclass(frozen=True)
class Case:
    """One conversion and everybody who does it.

    Attributes:
        name: What the table calls it.
        inputs: Which input files it needs.
        source: The source, in the folder of the inputs.
        target: Name of the target.
        options: Further arguments for our command; ``{folder}`` is the folder of the inputs.
        others: Contender to its script in ``bench_plain.py``.
        prepare: Arguments of a conversion of ours that makes the source first.
        needs: Packages without which the case is left out.
    """

    name: str
    inputs: str
    source: str
    target: str
    options: tuple[str, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)
    prepare: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


_BENCH = ("--to", "keras", "--mapping", "{folder}/bench.toml")
CASES = (
    Case(
        "VGG16: .keras to .safetensors",
        "vgg16",
        "vgg16.keras",
        "out.safetensors",
        others={PLAIN: "vgg_to_torch"},
    ),
    Case(
        "VGG16: .safetensors to .keras",
        "vgg16",
        "vgg16.safetensors",
        "out.keras",
        ("--like", "{folder}/vgg16.keras"),
        {PLAIN: "vgg_to_keras"},
        ("{folder}/vgg16.keras", "{folder}/vgg16.safetensors"),
    ),
    Case(
        "BERT: .safetensors to .weights.h5",
        "bert",
        "hub/model.safetensors",
        "out.weights.h5",
        ("--like", "{folder}/like.weights.h5"),
        {HUB: "bert_by_keras_hub"},
        needs=("keras_hub", "sentencepiece"),
    ),
    Case(
        "4 GB in shards, all permuted",
        "large",
        "model.safetensors.index.json",
        "out.safetensors",
        _BENCH,
        {PLAIN: "dense_layers"},
    ),
    Case(
        "20,000 small tensors",
        "small",
        "small.safetensors",
        "out.safetensors",
        _BENCH,
        {PLAIN: "dense_layers"},
    ),
)
START_UP = {
    "start-up: python alone": ("-c", "pass"),
    "start-up: import numpy": ("-c", "import numpy"),
    "start-up: converter --version": ("-m", "converter", "--version"),
    "start-up: converter formats": ("-m", "converter", "formats"),
}


def main() -> int:
    """Measure what was asked for, print the table, return the exit code."""
    options = _parser().parse_args()
    console = Console(width=max(100, Console().width))
    results: dict[str, dict[str, Run]] = {}
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")])
    )
    bench = _Bench(environment, options.rounds, quick=options.quick, console=console)
    for case in CASES:
        if options.only and options.only not in case.name:
            continue
        absent = [name for name in case.needs if importlib.util.find_spec(name) is None]
        if absent:
            console.print(f"left out: {case.name}: {', '.join(absent)} is not installed")
            continue
        with tempfile.TemporaryDirectory(prefix="weightferry-bench-", dir=options.folder) as folder:
            results[case.name] = bench.case(case, Path(folder))
    for name, arguments in START_UP.items():
        if not options.only or options.only in name:
            results[name] = {name: bench.repeat([PYTHON, *arguments])}
    console.print(_table(results))
    if options.json:
        Path(options.json).write_text(json.dumps(_document(results, options), indent=1) + "\n")
    return int(any(run.code for runs in results.values() for run in runs.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small inputs, one round")
    parser.add_argument("--only", help="only the cases whose name holds this text")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contender")
    parser.add_argument("--folder", help="where the files go; by default the temporary folder")
    parser.add_argument("--json", help="also write the results to this file")
    return parser


class _Bench:
    """Runs commands in one environment."""

    def __init__(
        self, environment: Mapping[str, str], rounds: int, *, quick: bool, console: Console
    ) -> None:
        self._environment = environment
        self._rounds = 1 if quick else rounds
        self._quick = quick
        self._console = console

    def case(self, case: Case, folder: Path) -> dict[str, Run]:
        """Make the inputs of a case, let the contenders alternate, return their medians."""
        self._console.print(f"{case.name}: making the inputs", style="dim")
        make = [PYTHON, str(HERE / "bench_inputs.py"), case.inputs, str(folder)]
        self._must(make + ["--quick"] * self._quick)
        if case.prepare:
            paths = [text.format(folder=folder) for text in case.prepare]
            self._must([PYTHON, "-m", "converter", "convert", *paths])
        commands = _commands(case, folder)
        self._console.print(f"  {self._agree(case, commands, folder)}", style="dim")
        runs: dict[str, list[Run]] = {name: [] for name in commands}
        for _ in range(self._rounds):
            for name, command in commands.items():
                run = self._measure(command, folder / "out")
                self._console.print(f"  {name:<14} {run.wall:7.2f} s", style="dim")
                runs[name].append(run)
        return {name: middle(found) for name, found in runs.items()}

    def _agree(self, case: Case, commands: Mapping[str, list[str]], folder: Path) -> str:
        """Run everybody once and compare what they wrote."""
        kept: dict[str, Path] = {}
        for name, command in commands.items():
            (folder / "out").mkdir()
            self._must(command)
            if name == COPY:
                shutil.rmtree(folder / "out")
            else:
                kept[name] = (folder / "out").rename(folder / f"kept-{len(kept)}") / case.target
        ours = kept.pop(OURS)
        for path in kept.values():
            self._must([PYTHON, str(HERE / "bench_same.py"), str(ours), str(path)])
        for path in (ours, *kept.values()):
            shutil.rmtree(path.parent)
        return " and ".join([OURS, *kept]) + " wrote the same values"

    def repeat(self, command: list[str]) -> Run:
        """Return the medians of a command that writes nothing."""
        measure(command, self._environment)
        return middle([measure(command, self._environment) for _ in range(2 * self._rounds + 1)])

    def _measure(self, command: list[str], out: Path) -> Run:
        out.mkdir()
        os.sync()  # what the one before left to write is not this one's
        run = measure(command, self._environment)
        shutil.rmtree(out)
        return run

    def _must(self, command: list[str]) -> None:
        run = measure(command, self._environment)
        if run.code:
            raise SystemExit(f"{shlex.join(command)}\n{run.said}")


def _commands(case: Case, folder: Path) -> dict[str, list[str]]:
    source, target = folder / case.source, folder / "out" / case.target
    files = sorted(source.parent.glob("*.safetensors")) if "index" in source.name else [source]
    copy = shlex.join(["cp", *map(str, files), str(target.parent)])
    copied = shlex.join(["sync", *(str(target.parent / path.name) for path in files)])
    commands = {
        COPY: ["sh", "-c", f"{copy} && {copied}"],
        OURS: [
            *(PYTHON, "-m", "converter", "convert", str(source), str(target)),
            *(text.format(folder=folder) for text in case.options),
        ],
    }
    for name, script in case.others.items():
        plain = str(HERE / "bench_plain.py")
        commands[name] = [PYTHON, plain, script, str(source), str(target)]
    return commands


def _table(results: Mapping[str, Mapping[str, Run]]) -> Table:
    table = Table(title="Wall time (median) and peak memory")
    table.add_column("case, and who", no_wrap=True)
    for heading in ("wall s", "/ cp", "/ ours", "cpu s", "peak MB", "anonymous MB"):
        table.add_column(heading, justify="right")
    for case, runs in results.items():
        copy, ours = runs.get(COPY), runs.get(OURS)
        if len(runs) > 1:
            table.add_row(case, style="bold")
        for index, (who, run) in enumerate(runs.items()):
            table.add_row(
                f"  {who}" if len(runs) > 1 else case,
                f"{run.wall:.2f}" if not run.code else "failed",
                f"{run.wall / copy.wall:.2f}" if copy else "",
                f"{run.wall / ours.wall:.2f}" if ours else "",
                f"{run.cpu:.2f}",
                f"{run.peak / 1e6:.0f}",
                f"{run.anonymous / 1e6:.0f}",
                end_section=len(runs) > 1 and index == len(runs) - 1,
            )
    return table


def _document(
    results: Mapping[str, Mapping[str, Run]], options: argparse.Namespace
) -> dict[str, object]:
    commit = subprocess.run(
        ["git", "-C", str(HERE), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "schema": 1,
        "commit": commit.stdout.strip(),
        "machine": {
            "system": platform.platform(),
            "processors": os.cpu_count(),
            "python": platform.python_version(),
        },
        "rounds": options.rounds,
        "quick": options.quick,
        "results": {
            case: {who: asdict(run) for who, run in runs.items()} for case, runs in results.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
