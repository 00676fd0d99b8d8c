"""Names that Keras gives by itself, numbered afresh within the layer around them.

A layer that makes its sub-layers without names gets ``dense``, ``dense_1``, ... in the order of the
whole model: the norm of the fourth block is ``t5_layer_norm_7``, and what it is called depends on
the number of blocks before it. A mapping says which names are of that sort; its rules then write
``block_{i}/t5_layer_norm_1`` for the second one in any block. What is read and written keeps the
names of the checkpoint.

A model of keras_hub that is given its name, as it is when it is built from its own config, puts it
before the names of its layers (``clip_text_encoder/clip_text_encoder_layer_norm``). The name of an
automatic one is taken off there too, so the rules need one spelling.
"""

from __future__ import annotations

from collections.abc import Iterable


class Automatic:
    """Paths of one checkpoint with the automatic names in them numbered afresh."""

    def __init__(self, paths: Iterable[str], stems: Iterable[str]) -> None:
        """Number the names of all layers.

        Args:
            paths: Keras tensor names or layer paths.
            stems: The names that Keras gives by itself, without a number.

        Examples:
            >>> names = Automatic(["a/norm/scale", "b/norm_1/scale", "b/norm_2/scale"], ["norm"])
            >>> names("b/norm_2/scale"), names.original("b/norm")
            ('b/norm_1/scale', 'b/norm_1')
        """
        self._stems = tuple(stems)
        self._places: dict[tuple[str, str], dict[int, int]] = {}
        self._numbers: dict[tuple[str, str], list[int]] = {}
        self._repeated: set[str] = set()  # paths of what repeats its name in those of its layers
        if self._stems:
            self._count(paths)

    def __call__(self, path: str) -> str:
        """Return a path as the rules write it."""
        if not self._stems:
            return path
        parts, parent = [], ""
        for component in path.split("/"):
            found = self._read(component)
            known = self._places.get((parent, found[0]), {}) if found else {}
            if found and found[1] in known:
                parts.append(_name(found[0], known[found[1]]))
            elif parent in self._repeated:
                parts.append(component.removeprefix(_in_front(parent)))
            else:
                parts.append(component)
            parent = f"{parent}/{component}"
        return "/".join(parts)

    def original(self, path: str) -> str:
        """Return the path in the checkpoint of what the rules write so."""
        if not self._stems:
            return path
        parent = ""
        for component in path.split("/"):
            found = self._read(component)
            numbers = self._numbers.get((parent, found[0]), []) if found else []
            if found and found[1] < len(numbers):
                parent = f"{parent}/{_name(found[0], numbers[found[1]])}"
            elif parent in self._repeated:
                parent = f"{parent}/{_in_front(parent)}{component}"
            else:
                parent = f"{parent}/{component}"
        return parent.removeprefix("/")

    def _count(self, paths: Iterable[str]) -> None:
        found: dict[tuple[str, str], set[int]] = {}
        for path in paths:
            parent = ""
            is_automatic = False
            for component in path.split("/"):
                if is_automatic and component.startswith(_in_front(parent)):
                    self._repeated.add(parent)
                one = self._read(component)
                if one is not None:
                    found.setdefault((parent, one[0]), set()).add(one[1])
                is_automatic = one is not None
                parent = f"{parent}/{component}"
        for key, numbers in found.items():
            self._numbers[key] = sorted(numbers)
            self._places[key] = {number: place for place, number in enumerate(sorted(numbers))}

    def _read(self, component: str) -> tuple[str, int] | None:
        """Return stem and number of an automatic name; the first of its class has no number."""
        stem, _, number = component.rpartition("_")
        if component in self._stems:
            return component, 0
        if stem in self._stems and number.isdecimal() and number.isascii() and number[0] != "0":
            return stem, int(number)
        return None


def _in_front(parent: str) -> str:
    """Return what a layer that repeats its name puts before the names below."""
    return f"{parent.rpartition('/')[2]}_"


def _name(stem: str, number: int) -> str:
    return f"{stem}_{number}" if number else stem
