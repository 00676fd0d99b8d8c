"""``converter formats``: what can be read and written here."""

from __future__ import annotations

from collections.abc import Mapping

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
        columns = [
            render.Column(title) for title in ("id", "format", "endings", "read", "write", "needs")
        ]
        render.table(
            columns,
            [
                (
                    each.id,
                    each.title,
                    " ".join(each.suffixes) or "-",
                    "yes" if each.reads else "-",
                    "yes" if each.writes else "-",
                    _needs(each.needs),
                )
                for each in found
            ],
        )


def _needs(needs: Mapping[str, str]) -> str:
    """Return what is to be installed, and for what."""
    return ", ".join(f'"weightferry[{extra}]" for {what}' for what, extra in needs.items()) or "-"
