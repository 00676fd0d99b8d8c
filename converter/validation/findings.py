"""What a validation found out about a layer that differs: where, how far, why, and what helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """One faulty layer.

    Attributes:
        layer: Path of the Keras layer.
        module: Name of the PyTorch module.
        error: Relative L2 error of the module's output when it is fed the Keras layer's own input.
        floor: Noise floor of that layer, in the same measure.
        cause: Identifier of the cause (``"epsilon"``), or empty where none of the hypotheses
            explains the difference.
        sentence: What is wrong, a whole sentence with numbers.
        evidence: Hypothesis tried, to the error that is left when it is undone.
        by_weights: Whether other weights alone can repair it.
        fix: The code or option that repairs it, or empty.
    """

    layer: str
    module: str
    error: float
    floor: float
    cause: str = ""
    sentence: str = ""
    evidence: Mapping[str, float] = field(default_factory=dict)
    by_weights: bool = False
    fix: str = ""
