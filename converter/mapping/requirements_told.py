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
        entries: Entries of ``config.json`` that were compared; a table may hold them to another
            value than the mapping says of most models, as it says more.
    """
    known = {key.rpartition(".")[2] for key in entries}
    settled = {
        str(one)
        for one in mapping.requirements
        if one.side == "torch" and not one.is_absent and one.attribute.rpartition(".")[2] in known
    }
    return tuple(one for one in assumptions if one not in settled)
