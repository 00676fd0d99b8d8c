"""Scaffold a live Keras model, load its weights and compare: what every scaffold test does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import oracles

import converter
from converter.scaffold.writing import Source, write_source
from converter.validation.validate import Options, validate


@dataclass(frozen=True)
class Compared:
    source: Source
    module: Any
    report: Any

    @property
    def lines(self) -> int:
        return len(self.source.text.splitlines())

    @property
    def worst(self) -> float:
        return max(row.floors if row.floors is not None else 0.0 for row in self.report.rows)


def run_source(source: Source) -> Any:
    """Run the text of a module and return an instance of its class."""
    names: dict[str, Any] = {}
    exec(compile(source.text, "scaffolded.py", "exec"), names)  # noqa: S102  # what we just wrote
    return names[source.class_name]()


def scaffold_and_compare(model: Any, seed: int = 0) -> Compared:
    """Give a model random weights, write its module, load it strictly, run both."""
    oracles.randomise_keras(model, seed)
    checkpoint = converter.open(model)
    source = write_source(checkpoint)
    module = run_source(source)
    state = converter.plan(checkpoint, mapping="by-kind", to="torch").state_dict()
    module.load_state_dict(state, strict=True)
    report = validate(model, module, options=Options(seed=seed, control_seconds=0))
    return Compared(source, module, report)
