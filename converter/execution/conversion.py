"""A plan together with the open source it was made for: what ``converter.plan`` returns.

The same plan goes to a file, to a PyTorch module, to a Keras model or to plain arrays; which of
them suits is known from the family of the target.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from converter._optional import is_installed
from converter.algebra.base import Law
from converter.errors import UsageError
from converter.execution.executor import RECORDED, Written, execute, to_arrays
from converter.execution.plan_report import plan_report
from converter.execution.progress import Progress
from converter.execution.provenance import ProvenanceOptions
from converter.formats.base import Checkpoint
from converter.planning.plan import Plan, Step
from converter.tensors.dtype import Array
from converter.tensors.manifest import Family
from converter.tensors.structure import KerasStructure

Values = Literal["torch", "numpy"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """A plan that is ready to be carried out, as often as wanted.

    Attributes:
        plan: What will be done.
        source: The open checkpoint; it must stay open until the last use.
        structure: Where each tensor sits in a Keras file, where it is known.
        provenance: What :meth:`save` records unless it is told otherwise.
        like: The checkpoint that the target is like; formats that replace values copy its file.
    """

    plan: Plan
    source: Checkpoint
    structure: KerasStructure | None = None
    provenance: ProvenanceOptions | None = RECORDED
    like: Checkpoint | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is read, applied and written, in the order of the target."""
        return self.plan.steps

    @property
    def law(self) -> Law:
        """What survives the way there and back: the weakest law of all steps."""
        return self.plan.law

    def save(
        self,
        target: str | os.PathLike[str],
        *,
        format: str | None = None,  # noqa: A002 - the word that every caller uses
        max_shard_size: int | None = None,
        force: bool = False,
        progress: Progress | None = None,
        sidecar: bool = False,
    ) -> Written:
        """Write the target, complete or not at all.

        Args:
            target: The file to write; its folder must be there.
            format: Identifier of the format; by default the file name decides.
            max_shard_size: Largest size of one file in bytes, or ``None`` for one file.
            force: Whether files of these names may be replaced.
            progress: Called with each event of :mod:`converter.execution.progress`.
            sidecar: Whether ``<target>.provenance.json`` is written, with every tensor.

        Raises:
            TargetExistsError: If the target is there and ``force`` is false.
            WriteError: If the disk is full, or the target's place cannot be written to.
            OperationError: If a value is not what the plan allows.
        """
        options = self.provenance
        if sidecar:
            options = replace(options or RECORDED, sidecar=True)
        return execute(
            self.plan,
            self.source,
            target,
            format=format,
            structure=self.structure,
            like=self.like,
            max_shard_size=max_shard_size,
            force=force,
            progress=progress,
            provenance=options,
        )

    def arrays(self) -> dict[str, Array]:
        """Return the values of all target tensors by name, in the order of the target.

        Each array is new memory. Packed types come as raw bytes, ``uint8`` of rank 1.

        Raises:
            OperationError: If a value is not what the plan allows.
        """
        return to_arrays(self.plan, self.source)

    def state_dict(self, values: Values | None = None) -> dict[str, Any]:
        """Return what ``module.load_state_dict`` takes.

        Args:
            values: ``"torch"`` for tensors, ``"numpy"`` for arrays; by default tensors where torch
                is installed.

        Raises:
            UsageError: If the target is not a PyTorch one.
            MissingDependencyError: If tensors are asked for and torch is not installed.
            OperationError: If a value is not what the plan allows.
        """
        self._require("torch", "state_dict()", "get_weights()")
        arrays = self.arrays()
        arrays |= {further: arrays[name] for further, name in self.plan.ties.items()}
        if values == "numpy" or (values is None and not is_installed("torch")):
            return arrays
        from converter.live.torch_module import from_array

        # Ties share one array, so they share one tensor, as in the module.
        tensors = {id(array): from_array(array) for array in arrays.values()}
        return {name: tensors[id(array)] for name, array in arrays.items()}

    def get_weights(self) -> list[Array]:
        """Return what ``model.set_weights`` takes, in the order of the target's manifest.

        Raises:
            UsageError: If the target is not a Keras one.
            OperationError: If a value is not what the plan allows.
        """
        self._require("keras", "get_weights()", "state_dict()")
        arrays = self.arrays()
        return [arrays[name] for name in self.plan.target.tensors]

    def to_json(self) -> str:
        """Return the plan as JSON: a :class:`converter.execution.plan_report.PlanReport`."""
        return msgspec.json.encode(plan_report(self.plan, self.source.label)).decode()

    def _require(self, family: Family, wanted: str, instead: str) -> None:
        if self.plan.to != family:
            raise UsageError(
                f"cannot give {wanted}: the plan leads to {self.plan.to}, not to {family}",
                hint=f"use {instead}, or arrays()",
            )
