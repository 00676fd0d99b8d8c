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
    "converter edit model.keras fresh.keras --init 'head/kernel=glorot_uniform,seed=1'",
    "converter edit a.safetensors b.safetensors --rename backbone=encoder --cast bfloat16",
)
KINDS = ("set", "scale", "rename", "drop", "cast", "init")


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
    init: Annotated[
        list[str] | None,
        typer.Option(
            "--init",
            metavar="NAMES=INITIALIZER[,seed=N]",
            help="Random values, as Keras' initializers draw them: glorot_uniform, he_normal, ...",
        ),
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
    del set_, scale, rename, drop, cast, init  # read in their order, which typer does not keep
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
    if kind == "init":
        return initializer(text)
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


def initializer(text: str) -> Edit:
    """Return the edit of ``NAMES=INITIALIZER,seed=1``.

    Raises:
        UsageError: If it is not of this form, or there is no such initializer or number.

    Examples:
        >>> one = initializer("head/kernel=random_normal,stddev=0.1,seed=3")
        >>> one.pattern, one.name, one.seed, one.options
        ('head/kernel', 'random_normal', 3, {'stddev': 0.1})
    """
    from converter.algebra.initial import NAMES, PLAIN
    from converter.errors import UsageError
    from converter.planning.editing import Edit

    names, _, rest = text.partition("=")
    name, *parts = rest.split(",")
    numbers = dict(part.split("=", 1) for part in parts if "=" in part)
    allowed = {"seed", *(PLAIN[name][1] if name in PLAIN else ())}
    try:
        seed = int(numbers.pop("seed", "0"))
        given = {key: float(value) for key, value in numbers.items()}
    except ValueError:
        seed, given = -1, {}
    fits = names and name in NAMES and all("=" in part for part in parts)
    if not fits or seed < 0 or not set(given) <= allowed:
        raise UsageError(
            f"cannot use --init {text!r}",
            facts=[
                (
                    "expected",
                    f"NAMES=INITIALIZER,{','.join(f'{one}=N' for one in sorted(allowed))}",
                ),
                ("one of", ", ".join(NAMES)),
            ],
        )
    return Edit("init", names, name=name, seed=seed, options=given)
