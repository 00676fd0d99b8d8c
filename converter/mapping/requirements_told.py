"""What a mapping requires, and a configuration says: that is no assumption any more."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Dict
from typing import Any

from converter.mapping.rules import Mapping


def told(mapping: Mapping, assumptions: Iterable[str], entries: Dict[str, Any]) -> tuple[str, ...]:
    """Return the assumptions that are left.

    Args:
        mapping: The mapping whose requirements they are.
        assumptions: As a plan has them.
        entries: Entries of ``config.json`` that were compared, to what they must be.
    """
    known = {(key.rpartition(".")[2], repr(value)) for key, value in entries.items()}
    settled = {
        str(one)
        for one in mapping.requirements
        if one.side == "torch"
        and not one.is_absent
        and (one.attribute.rpartition(".")[2], repr(one.equals)) in known
    }
    return tuple(one for one in assumptions if one not in settled)
