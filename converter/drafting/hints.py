"""What a person knows better: ``encoder/block_0=layers.0`` says what belongs together.

A hint is about everything at or below both names. One that asks for what is impossible, or that no
pair follows, is an error: it was meant to matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from converter.drafting.candidates import Candidate
from converter.errors import UsageError


@dataclass(frozen=True, slots=True)
class Hint:
    """One thing that a person says.

    Attributes:
        keras: A Keras layer, or what contains layers.
        torch: A PyTorch module, or what contains modules.
    """

    keras: str
    torch: str

    def __str__(self) -> str:
        return f"{self.keras}={self.torch}"

    def stands_for(self, one: Candidate) -> tuple[bool, bool]:
        """Return whether the layer, and whether the module, is what the hint is about."""
        path, module = one.unit.layer.path, one.place.module
        return _is_at(path, self.keras, "/"), _is_at(module, self.torch, ".")


def read_hints(texts: Iterable[str]) -> tuple[Hint, ...]:
    """Read hints of the form ``KERAS=TORCH``.

    Raises:
        UsageError: If a text is not of that form.

    Examples:
        >>> read_hints(["encoder/block_0=layers.0"])
        (Hint(keras='encoder/block_0', torch='layers.0'),)
    """
    found = []
    for text in texts:
        keras, equals, torch = text.partition("=")
        if not equals or not keras or not torch:
            raise UsageError(
                f"cannot use the hint '{text}'",
                facts=[("expected", "KERAS=TORCH, such as encoder/block_0=layers.0")],
            )
        found.append(Hint(keras.strip(), torch.strip()))
    return tuple(found)


def heeded(candidates: Sequence[Candidate], hints: Sequence[Hint]) -> list[Candidate]:
    """Return the candidates that no hint contradicts.

    Raises:
        UsageError: If a hint is about nothing that is there, asks for what no kind and no shape
            allows, or for what another hint forbids.
    """
    for hint in hints:
        _check(hint, candidates)
    kept = [one for one in candidates if all(_allows(hint, one) for hint in hints)]
    for hint in hints:
        if not any(all(hint.stands_for(one)) for one in kept):
            raise _contradicted(hint, hints, candidates)
    return kept


def _contradicted(hint: Hint, hints: Sequence[Hint], candidates: Sequence[Candidate]) -> UsageError:
    wanted = [one for one in candidates if all(hint.stands_for(one))]
    others = [one for one in hints if not all(_allows(one, pair) for pair in wanted)]
    return UsageError(
        f"cannot use the hint '{hint}': another one forbids it",
        facts=[("hint", str(one)) for one in others],
    )


def _allows(hint: Hint, one: Candidate) -> bool:
    layer, module = hint.stands_for(one)
    return layer == module


def _check(hint: Hint, candidates: Sequence[Candidate]) -> None:
    about = [hint.stands_for(one) for one in candidates]
    if any(layer and module for layer, module in about):
        return
    if not any(layer for layer, _ in about):
        raise UsageError(f"cannot use the hint '{hint}': no layer of Keras is at '{hint.keras}'")
    if not any(module for _, module in about):
        raise UsageError(f"cannot use the hint '{hint}': no module of PyTorch is at '{hint.torch}'")
    raise UsageError(
        f"cannot use the hint '{hint}': no layer at '{hint.keras}' can be a module at "
        f"'{hint.torch}'",
        facts=[("because", "no layer kind pairs their shapes")],
    )


def _is_at(name: str, place: str, separator: str) -> bool:
    return name == place or name.startswith(place + separator)
