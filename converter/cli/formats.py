"""``converter formats``: what can be read and written here."""

from __future__ import annotations

from converter.cli import options
from converter.cli.failures import reporting

EXAMPLES = ("converter formats", "converter formats --json")


def formats(*, json: options.Json = False, debug: options.Debug = False) -> None:
    """List the formats: what is read, what is written, and what that needs."""
    with reporting(json=json, debug=debug):
        from converter.cli import render
        from converter.formats import registry
