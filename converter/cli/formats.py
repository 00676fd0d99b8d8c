"""``converter formats``: what can be read and written here."""

from __future__ import annotations

from converter.cli import options
from converter.cli.failures import reporting

EXAMPLES = ("converter formats", "converter formats --json")


def formats(*, json: options.Json = False, debug: options.Debug = False) -> None:
    """List the formats: what is read, what is written, and what that needs installed."""
    with reporting(json=json, debug=debug):
        from converter.cli import render, schema
        from converter.formats.registry import FORMATS

        found = [
            schema.Format(
                id=each.id,
                title=each.title,
                suffixes=list(each.suffixes),
                family=each.family,
                reads=each.can_read,
                writes=each.can_write,
                needs=dict(each.needs),
            )
            for each in FORMATS
        ]
        if json:
            render.line(schema.dump(schema.Formats(found)))
            return
        columns = [render.Column(title) for title in ("id", "format", "endings", "read", "write")]
        render.table(
            columns,
            [
                (
                    each.id,
                    each.title,
                    " ".join(each.suffixes) or "-",
                    _can(each.reads, each.needs.get("read")),
                    _can(each.writes, each.needs.get("write")),
                )
                for each in found
            ],
        )


def _can(able: bool, extra: str | None) -> str:  # noqa: FBT001  # what it is called with is plain
    if not able:
        return "-"
    return f'yes, with "weightferry[{extra}]"' if extra else "yes"
