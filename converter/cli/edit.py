"""``converter edit``: a checkpoint with some tensors changed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from converter.cli import options
from converter.cli.failures import reporting

if TYPE_CHECKING:
    from converter.planning.editing import Edit

EXAMPLES = (
    "converter edit model.keras edited.keras --set 'head/bias=0'",
    "converter edit a.safetensors b.safetensors --scale 'head.**=0.5' --drop 'optimizer.**'",
    "converter edit a.safetensors b.safetensors --rename backbone=encoder --cast bfloat16",
)
KINDS = ("set", "scale", "rename", "drop", "cast")


def edit(
    source: options.Source,
    target: options.Target,
    *,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAMES=NUMBER", help="Make every value this number."),
    ] = None,
    scale: Annotated[
        list[str] | None, typer.Option("--scale", metavar="NAMES=FACTOR", help="Multiply values.")
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", metavar="OLD=NEW", help="A tensor, or all below a layer."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option("--drop", metavar="NAMES", help="Leave tensors out.")
    ] = None,
    cast: Annotated[
        list[str] | None,
        typer.Option("--cast", metavar="[NAMES=]DTYPE", help="Cast floating tensors."),
    ] = None,
    target_format: options.TargetFormat = None,
    sidecar: options.Sidecar = False,
    force: options.Force = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Write a checkpoint with some tensors changed; all or nothing, and all of it recorded.

    NAMES is a name, a layer or a pattern: '**' stands for any number of names. Edits are done in
    the order of the command line.
    """
    del set_, scale, rename, drop, cast  # read in their order, which typer does not keep
    with reporting(json=json, debug=debug):
        from converter import api, weights
        from converter.cli import convert
        from converter.cli.progress import Bar

        edits = parse(sys.argv[1:])
        with api.open(source) as checkpoint, Bar() as progress:
            conversion = weights.edited(checkpoint, edits)
            written = conversion.save(
                target, format=target_format, sidecar=sidecar, force=force, progress=progress
            )
            found = convert.describe(source, target, conversion.plan, written)
        convert.show(found, json=json)


def parse(arguments: list[str]) -> list[Edit]:
    """Return the edits of a command line, in its order.

    Raises:
        UsageError: If there is none, or one is not of its form.

    Examples:
        >>> [(one.kind, one.pattern, one.value) for one in parse(["--scale", "a=2", "--set=b=0"])]
        [('scale', 'a', 2.0), ('set', 'b', 0.0)]
    """
    from converter.errors import UsageError

    found = []
    waiting = iter(arguments)
    for argument in waiting:
        option, equals, text = argument.partition("=")
        if option.removeprefix("--") in KINDS and option.startswith("--"):
            found.append(_edit(option[2:], text if equals else next(waiting, "")))
    if not found:
        raise UsageError("cannot edit: no change was asked for", hint="converter edit --help")
    return found


def _edit(kind: str, text: str) -> Edit:
    from converter.errors import UsageError
    from converter.planning.editing import Edit
    from converter.tensors.dtype import find_dtype

    if kind == "drop" and text:
        return Edit(kind, text)
    names, equals, value = text.rpartition("=")
    if kind == "rename" and names and value:
        return Edit(kind, names, name=value)
    if kind == "cast" and (dtype := find_dtype(value)) is not None:
        return Edit(kind, names if equals else "**", dtype=dtype)
    if kind in ("set", "scale") and names:
        try:
            return Edit(kind, names, value=float(value))
        except ValueError:
            pass
    forms = {
        "set": "NAMES=NUMBER", "scale": "NAMES=FACTOR", "rename": "OLD=NEW", "drop": "NAMES",
        "cast": "DTYPE or NAMES=DTYPE",
    }  # fmt: skip
    raise UsageError(f"cannot use --{kind} {text!r}", facts=[("expected", forms[kind])])
