"""What entries of a Keras layer's config say: whether a kind is for it, and what is to be noted."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass
from string import Formatter
from typing import Any

Plain = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Note:
    """What equal weights do not guarantee.

    Attributes:
        text: One sentence; ``{epsilon}`` stands for that entry of the layer's config.
        unless: Entries of a layer's config; where all of one dictionary agree, the note does not
            concern the layer.
    """

    text: str
    unless: tuple[Dict[str, Plain], ...] = ()

    def about(self, config: Dict[str, Any]) -> str | None:
        """Return the sentence for a layer with this config, or ``None`` if it is no concern.

        Examples:
            >>> note = Note("epsilon is {epsilon}", ({"epsilon": 1e-5},))
            >>> note.about({"epsilon": 0.001}), note.about({"epsilon": 1e-5}), note.about({})
            ('epsilon is 0.001', None, 'epsilon is not known')
        """
        for entries in self.unless:
            if all(key in config and _is(config[key], one) for key, one in entries.items()):
                return None
        named = {name for _, name, _, _ in Formatter().parse(self.text) if name}
        return self.text.format_map({name: _shown(config.get(name, "not known")) for name in named})


def _is(value: Any, expected: Plain) -> bool:
    if isinstance(value, list | tuple):
        return all(one == expected for one in value)
    return bool(value == expected)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def is_entry(found: Any, expected: Any) -> bool:
    """Whether an entry of a layer's config is what a kind is for.

    A kind's ``false`` also means null and empty; the tuple of a live model is the list of a file.

    Examples:
        >>> is_entry(None, False), is_entry((1, 2), [1, 2]), is_entry(True, False)
        (True, True, False)
    """
    if isinstance(expected, bool):
        return bool(found) is expected
    return bool((list(found) if isinstance(found, tuple) else found) == expected)
