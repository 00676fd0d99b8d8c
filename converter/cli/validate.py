"""``converter validate``: do both models give the same outputs?"""

from __future__ import annotations

import typer

from converter.cli import options
from converter.cli.failures import DIFFERENT, reporting

EXAMPLES = (
    "converter validate model.keras model.safetensors --torch network.py:build",
    "converter validate densenet121.keras densenet121.safetensors --mapping densenet",
)


def validate(
    source: options.Source,
    target: options.Converted,
    *,
    keras: options.KerasFactory = None,
    torch: options.TorchFactory = None,
    inputs: options.Inputs = None,
    mapping: options.MappingName = None,
    seed: options.Seed = 0,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Run both models on the same inputs and compare; exit code 1 when they differ."""
    with reporting(json=json, debug=debug):
        import msgspec

        from converter import api
        from converter.cli import render, schema

        report = api.validate(
            source,
            target,
            keras=keras,
            torch=torch,
            inputs=inputs,
            mapping=mapping,
            seed=seed,
        )
        if json:
            render.line(schema.dump(msgspec.convert(report.to_json(), schema.Report)))
        else:
            for text in report.lines():
                render.line(text)
        if not report.passed:
            raise typer.Exit(DIFFERENT)
