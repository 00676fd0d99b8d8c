"""``converter mappings list`` and ``prove``: what runs have shown about mappings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from converter.cli import mapping_new, options, render
from converter.cli.failures import reporting

if TYPE_CHECKING:
    from converter.cli import schema_mappings
    from converter.mapping.rules import Mapping

_COLUMNS = (
    render.Column("name"),
    render.Column("Keras"),
    render.Column("PyTorch"),
    render.Column("rows", right=True),
    render.Column("law"),
    render.Column("error", right=True),
    render.Column("floors", right=True),
    render.Column("versions"),
    render.Column("run"),
)
_GAPS = (
    render.Column("not covered, or not equal"),
    render.Column("of mapping"),
    render.Column("why"),
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to ``converter mappings``."""
    app.command("list", epilog=render.examples(("converter mappings list",)))(list_all)
    app.command("prove", epilog=render.examples(("converter mappings prove mine.toml",)))(prove)
    app.command("new", epilog=render.examples(mapping_new.EXAMPLES))(mapping_new.new)


def list_all(*, json: options.Json = False, debug: options.Debug = False) -> None:
    """List the mappings of the library with what runs have shown, and what is not covered."""
    with reporting(json=json, debug=debug):
        from converter.cli import schema, schema_mappings
        from converter.mapping import library
        from converter.mapping.summary import gaps

        mappings = library.load_all()
        found = [summary(each) for each in mappings]
        missing = [
            schema_mappings.Gap(each.name, each.mapping, each.why) for each in gaps(mappings)
        ]
        if json:
            render.line(schema.dump(schema_mappings.Mappings(found, missing)))
            return
        render.table(_COLUMNS, [_row(each) for each in found])
        if missing:
            render.line()
            render.table(_GAPS, [(each.name, each.mapping, each.why) for each in missing])


def prove(
    files: Annotated[
        list[str], typer.Argument(metavar="NAME|FILE...", help="Mappings with small models.")
    ],
    *,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Build the small models that mappings name, compare their outputs, and record the result.

    The record is written beside the file: proofs/NAME.json.
    """
    with reporting(json=json, debug=debug):
        from converter.cli import schema, schema_mappings
        from converter.mapping.check import check_mapping
        from converter.proving.record import prove as run

        found = []
        for name in files:
            mapping = check_mapping(name, proved=False)
            _require_models(mapping)
            run(mapping, progress=render.note)
            found.append(summary(mapping))
        if json:
            render.line(schema.dump(schema_mappings.Mappings(found)))
            return
        render.table(_COLUMNS, [_row(each) for each in found])


def summary(mapping: Mapping) -> schema_mappings.Summary:
    """Return one mapping in one line."""
    from converter.cli import schema_mappings
    from converter.mapping.summary import summarise

    found = summarise(mapping)
    return schema_mappings.Summary(
        name=found.name,
        keras=found.keras,
        torch=found.torch,
        rules=found.rules,
        law=found.law or None,
        error=found.error,
        floors=found.floors,
        cases=found.cases,
        variants=found.variants,
        versions=found.versions or {},
        date=found.date or None,
        unproved=found.unproved or None,
    )


def _require_models(mapping: Mapping) -> None:
    from converter.errors import MappingFileError
    from converter.mapping.proofs import find_unproved

    if not mapping.proofs:
        problems = list(find_unproved(mapping))
        raise MappingFileError(f"cannot prove '{mapping.name}': 1 problem", problems)


def _row(one: schema_mappings.Summary) -> tuple[str, ...]:
    if one.error is None or one.floors is None:
        shown = ("not proved", "", "", "", "")
    else:
        versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
        numbers = (f"{one.error:.1e}", f"{one.floors:.1f}")
        shown = (one.law or "", *numbers, versions, one.date or "")
    return (one.name, one.keras, one.torch, str(one.rules), *shown)
