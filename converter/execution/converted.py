"""A conversion seen as a checkpoint: what the target would hold, computed tensor by tensor."""

from __future__ import annotations

from pathlib import Path

from converter.execution.conversion import Conversion
from converter.formats.base import Checkpoint
from converter.planning.plan import Step
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest


class ConvertedCheckpoint(Checkpoint):
    """The target of a conversion, without being written.

    One step is computed at a time; the values of the last one are kept, so that the targets of a
    step with several are computed once when they are read one after the other.
    """

    format = "converted"

    def __init__(self, conversion: Conversion) -> None:
        """Wrap a conversion.

        Args:
            conversion: Its source must stay open.
        """
        self.path: Path | None = None
        self._conversion = conversion
        self._steps = {name: step for step in conversion.steps for name in step.targets}
        self._last: tuple[Step, dict[str, Array]] | None = None

    @property
    def manifest(self) -> Manifest:
        """The manifest of the target."""
        return self._conversion.plan.target

    @property
    def label(self) -> str:
        """What messages call this checkpoint."""
        return f"{self._conversion.source.label} converted"

    def read(self, name: str) -> Array:
        """Return the values of one target tensor."""
        step = self._steps[name]
        if self._last is None or self._last[0] is not step:
            source = self._conversion.source
            arrays = step.operation.apply([source.read(one) for one in step.sources])
            self._last = (step, dict(zip(step.targets, arrays, strict=True)))
        return self._last[1][name]

    def release(self, name: str) -> None:
        """Forget the values of the step that gives ``name``, and those of its sources."""
        step = self._steps[name]
        if step.targets[-1] != name:
            return
        self._last = None
        for one in step.sources:
            self._conversion.source.release(one)
