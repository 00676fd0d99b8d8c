"""``converter validate``: do both models give the same outputs?"""

from __future__ import annotations

EXAMPLES = ("converter validate digits.keras digits.safetensors --torch net.py:Digits",)


def validate() -> None:
    """Validate."""
