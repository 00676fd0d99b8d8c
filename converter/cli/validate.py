"""``converter validate``: is it the same model, and how is that known?"""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from converter.cli import options
from converter.cli.failures import DIFFERENT, reporting

if TYPE_CHECKING:
    from converter.validation.report import Report
    from converter.weights import Repaired

EXAMPLES = (
    "converter validate model.keras model.safetensors --torch network.py:build",
    "converter validate densenet121.keras densenet121.safetensors --report report.html",
    "converter validate model.keras model.safetensors --level values",
    "converter validate model.keras old.pt --torch network.py:build --repair new.safetensors",
)


def validate(
    source: options.Source,
    target: options.Converted,
    *,
    keras: options.KerasFactory = None,
    torch: options.TorchFactory = None,
    inputs: options.Inputs = None,
    mapping: options.MappingName = None,
    architecture: options.Architecture = None,
    level: options.Levels = None,
    seed: options.Seed = 0,
    rtol: options.RTol = None,
    atol: options.ATol = None,
    controls: options.Controls = 20.0,
    no_controls: options.NoControls = False,
    no_explain: options.NoExplain = False,
    keras_backend: options.KerasBackend = None,
    keras_python: options.KerasPython = None,
    repair: options.Repair = None,
    force: options.Force = False,
    report: options.ReportPage = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Compare two checkpoints, by the outputs of both models where they can be run.

    Exit code 1 when they differ; with --repair, when what was written differs.
    """
    with reporting(json=json, debug=debug):
        from converter import weights

        _check_page(report)
        repaired = weights.validate(
            source,
            target,
            repair=repair,
            force=force,
            keras=keras,
            torch=torch,
            inputs=inputs,
            mapping=mapping,
            architecture=architecture,
            seed=seed,
            levels=tuple(one.value for one in level or ()),
            rtol=rtol,
            atol=atol,
            control_seconds=0.0 if no_controls else controls,
            keras_backend=None if keras_backend is None else keras_backend.value,
            keras_python=keras_python,
            explain=not no_explain,
        )
        _tell(repaired, page=report, is_asked=repair is not None, json=json)
        if not repaired.report.passed:
            raise typer.Exit(DIFFERENT)


def _tell(repaired: Repaired, *, page: Path | None, is_asked: bool, json: bool) -> None:
    """Print what was found, and write the page."""
    found = repaired.report
    if is_asked:
        _print_repair(repaired, json=json)
    if json or page is not None:
        found = _recorded(found, *repaired.sides, told=repaired.told())
    if page is not None:
        _write_page(found, page)
    _print(found, json=json)


def _print_repair(repaired: Repaired, *, json: bool) -> None:
    """Print what was found before, and what was written."""
    from converter.cli import render

    if repaired.before is None:
        render.note("nothing to repair: nothing was written")
        return
    if json:
        return
    render.verdict(repaired.before.lines())
    names = ", ".join(repaired.changed)
    count = render.plural(len(repaired.changed), "tensor")
    render.line(f"repaired: {count} ({names}) written to {repaired.written}")


def _check_page(path: Path | None) -> None:
    """Refuse a page that cannot be written, before anything is computed."""
    from converter._optional import require

    if path is not None:
        require("jinja2", why="cannot write a report as a page", extra="plots")


def _recorded(found: Report, *sides: Path, told: dict[str, object]) -> Report:
    """Return a report that also says how to make it again."""
    from converter.validation.recording import hashes

    command = shlex.join(["converter", *sys.argv[1:]])
    settings = {**found.settings, "files": hashes(sides), "command": command, **told}
    return replace(found, settings=settings)


def _write_page(found: Report, path: Path) -> None:
    from converter.cli import render
    from converter.execution.small_files import write_small
    from converter.validation.page import page

    write_small(path, page(found).encode(), force=True)
    render.note(f"wrote {path}")


def _print(found: Report, *, json: bool) -> None:
    from converter.cli import render

    if not json:
        render.verdict(found.lines())
        return
    import msgspec

    from converter.cli import schema

    render.line(schema.dump(msgspec.convert(found.to_json(), schema.Report)))
