"""Names that versions of one PyTorch module spell differently, as the rules write them.

Where a module was rewritten, its old checkpoints keep their names, and files may keep them for
ever: transformers 5 has ``layers.0.attention.q_proj`` in memory and writes
``encoder.layer.0.attention.attention.query``. The rules write one of the two; the other is a
template too, so both are matched in full, and no name is rewritten by pieces.
"""

from __future__ import annotations

from converter.mapping.rule_index import owners
from converter.mapping.rules import Mapping
from converter.mapping.template import Template, skeleton


class Spellings:
    """The other spellings of one mapping."""

    def __init__(self, mapping: Mapping) -> None:
        self._pairs = [
            (
                Template.parse(old, mapping.tables, "keras"),
                Template.parse(new, mapping.tables, "torch"),
            )
            for old, new in mapping.spellings.items()
        ]
        # Names of one shape match the same templates; most match none.
        self._possible: dict[str, bool] = {}

    def __call__(self, name: str) -> str:
        """Return a name as the rules write it; one that has no other spelling as it is."""
        if not self._pairs:
            return name
        shape = skeleton(name)
        if self._possible.setdefault(shape, True):
            found = self._respelt(name)
            if found is not None:
                return found
            self._possible[shape] = self._may_match(shape)
        return name

    def _respelt(self, name: str) -> str | None:
        for place in owners(name, "."):
            for old, new in self._pairs:
                bindings = old.match(place)
                filled = new.fill(bindings) if bindings is not None else None
                if filled is not None:
                    return filled + name[len(place) :]
        return None

    def _may_match(self, shape: str) -> bool:
        places = set(owners(shape, "."))
        for old, _ in self._pairs:
            shapes = old.skeletons()
            if shapes is None or not shapes.isdisjoint(places):
                return True
        return False
