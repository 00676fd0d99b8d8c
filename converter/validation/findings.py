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
        untried: Hypotheses that could not be tried because of a mistake in this package, as
            sentences; they are not refuted.
        is_compensated: Whether ``--repair`` knows weights with which the module as it is gives what
            Keras gives.
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
    untried: tuple[str, ...] = ()
    is_compensated: bool = False

    def lines(self) -> list[str]:
        """Return the finding as lines of text: what is wrong, the evidence, the repair."""
        where = self.layer if not self.module else f"{self.layer} / {self.module}"
        gap = f"relative L2 {self.error:.2e}, floor {self.floor:.2e}"
        told = self.sentence or "None of the known causes explains the difference."
        lines = [f"cause  {where}  {self.cause or 'unknown'}  {gap}", f"  {told}"]
        if self.evidence:
            tried = sorted(self.evidence.items(), key=lambda one: one[1])[:3]
            lines.append("  left when undone: " + ", ".join(f"{k} {v:.1e}" for k, v in tried))
        if self.fix:
            can = "other weights can repair it" if self.by_weights else "weights cannot repair it"
            lines.append(f"  {can}: {self.fix}")
        if self.is_compensated:
            lines.append("  --repair OUT writes a checkpoint that compensates it")
        lines += [f"  {one}" for one in self.untried]
        return lines


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far one layer of both models is apart, in the order of the model.

    Attributes:
        layer: Path of the Keras layer.
        module: Name of the PyTorch module.
        error: Relative L2 error of the module's output when it is fed the Keras layer's own input.
        floor: Noise floor of that layer, in the same measure; ``None`` where it was not measured.
        accumulated_error: Relative L2 error of its output when both models run from the start;
            ``None`` where it was not measured.
    """

    layer: str
    module: str
    error: float
    floor: float | None = None
    accumulated_error: float | None = None
