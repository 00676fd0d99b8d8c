"""``converter mappings``: the library of mapping files, and files of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from converter.cli import mapping_proofs, options, render
from converter.cli.failures import REFUSED, report, reporting

if TYPE_CHECKING:
    from converter.cli import schema_mappings
    from converter.mapping.explaining import Explanation
    from converter.mapping.rules import Mapping

app = typer.Typer(no_args_is_help=True, help="List, show, check, prove and explain mappings.")

Name = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="A mapping of the library, or a mapping file.")
]


mapping_proofs.register(app)


@app.command("show", epilog=render.examples(("converter mappings show densenet",)))
def show_one(mapping: Name, *, json: options.Json = False, debug: options.Debug = False) -> None:
    """Show the rules of a mapping, and what equal outputs need besides equal weights."""
    with reporting(json=json, debug=debug):
        from converter.cli import schema
        from converter.mapping import library

        found = describe(library.get(mapping))
        if json:
            render.line(schema.dump(found))
            return
        render.line(f"{found.name}: {found.keras} <-> {found.torch}")
        render.line()
        columns = [render.Column(title) for title in ("kind", "Keras layer", "PyTorch module")]
        render.table(columns, [(rule.kind, rule.keras, rule.torch) for rule in found.rule_list])
        drops = [f"{drop.name} ({drop.side}): {drop.why}" for drop in found.drops]
        render.sentences("drop", drops)
        render.sentences("requires", found.requires)


@app.command("check", epilog=render.examples(("converter mappings check mine.toml",)))
def check(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME|FILE]...", help="By default the whole library."),
    ] = None,
    *,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Read mappings strictly and show every problem; exit code 2 when there is one."""
    with reporting(json=json, debug=debug):
        from converter.cli import schema, schema_mappings
        from converter.errors import MappingFileError
        from converter.mapping import library
        from converter.mapping.check import check_mapping

        found = []
        broken = False
        for name in files or library.names():
            try:
                found.append(mapping_proofs.summary(check_mapping(name)))
            except MappingFileError as error:
                if json:
                    raise
                report(error)
                broken = True
        if json:
            render.line(schema.dump(schema_mappings.Mappings(found)))
            return
        for each in found:
            render.line(f"{each.name}: {render.plural(each.rules, 'rule')}, no problem")
        if broken:
            raise typer.Exit(REFUSED)


@app.command(
    "explain",
    epilog=render.examples(
        (
            "converter mappings explain conv2_block1_1_conv/kernel",
            "converter mappings explain features.norm0.weight --mapping densenet",
        )
    ),
)
def explain_tensor(
    tensor: Annotated[
        str, typer.Argument(metavar="TENSOR", help="Its name, in Keras or in PyTorch.")
    ],
    *,
    mapping: Annotated[
        str | None,
        typer.Option("--mapping", metavar="NAME|FILE", help="By default the whole library."),
    ] = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show which rule takes a tensor, what becomes of it, and where that fact comes from."""
    with reporting(json=json, debug=debug):
        from converter.cli import schema, schema_mappings
        from converter.errors import MappingError
        from converter.mapping import library
        from converter.mapping.catalogue import load_catalogue
        from converter.mapping.explaining import explain

        names = [mapping] if mapping else library.names()
        kinds = load_catalogue().kinds
        found = [each for name in names for each in explain(library.get(name), kinds, tensor)]
        if not found:
            raise MappingError(
                f"cannot explain {tensor!r}: no rule takes a tensor of this name",
                facts=[("searched", ", ".join(names))],
            )
        if json:
            shown = [_explained(tensor, each) for each in found]
            render.line(schema.dump(schema_mappings.Explanations(shown)))
            return
        for index, each in enumerate(found):
            if index:
                render.line()
            _show_explanation(_explained(tensor, each))


def describe(mapping: Mapping) -> schema_mappings.Mapping:
    """Return a mapping as what ``--json`` prints."""
    from converter.cli import schema_mappings

    return schema_mappings.Mapping(
        name=mapping.name,
        keras=mapping.keras,
        torch=mapping.torch,
        rule_list=[
            schema_mappings.Rule(rule.kind, rule.keras, rule.torch) for rule in mapping.rules
        ],
        drops=[schema_mappings.Drop(drop.side, drop.name, drop.why) for drop in mapping.drops],
        requires=[str(each) for each in mapping.requirements],
        proved=mapping_proofs.summary(mapping).versions,
    )


def _explained(tensor: str, found: Explanation) -> schema_mappings.Explanation:
    from converter.cli import schema_mappings

    slot = found.slot
    return schema_mappings.Explanation(
        tensor=tensor,
        mapping=found.mapping,
        side=found.side,
        rule=str(found.rule),
        layer=found.layer,
        module=found.module,
        keras=found.keras_names,
        torch=[f"{found.module}.{part}".lstrip(".") for part in slot.torch],
        pattern=slot.pattern,
        operation=slot.operation,
        fact=found.kind.source,
        notes=[note.text for note in found.kind.notes],
    )


def _show_explanation(found: schema_mappings.Explanation) -> None:
    facts = [
        ("mapping", found.mapping),
        ("rule", found.rule),
        ("Keras", " + ".join(found.keras) or "(none)"),
        ("PyTorch", " + ".join(found.torch) or "(none)"),
        ("axes", found.pattern or "kept"),
        *([("operation", found.operation)] if found.operation else []),
        ("source", found.fact),
        *(("note", note) for note in found.notes),
    ]
    render.line(found.tensor)
    for label, text in facts:
        render.line(f"  {label:<9}  {text}")
