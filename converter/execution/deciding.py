"""What a conversion does, decided when both sides are open: whose names, which plan, what is kept.

No value is read here. What the caller opened stays open, as the conversion reads from it.
"""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass, field, replace
from pathlib import Path

from converter.algebra.base import Law
from converter.errors import UsageError
from converter.execution.conversion import Conversion
from converter.execution.joined import CompletedCheckpoint
from converter.formats.base import Checkpoint
from converter.formats.model_config import read_model_type
from converter.formats.numpy_positions import is_nameless
from converter.formats.renamed import RenamedCheckpoint
from converter.formats.torch_norms import MaterialisedNorms, with_norms
from converter.live.configuration import known_sizes
from converter.mapping.rules import Mapping
from converter.planning.computed import mark_computed
from converter.planning.copy import make_copy_plan
from converter.planning.families import families, own
from converter.planning.matching import make_request
from converter.planning.part import completed
from converter.planning.plan import Plan
from converter.planning.planner import make_plan
from converter.planning.sides import Side
from converter.tensors.dtype import DType


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked of a conversion.

    Attributes:
        mapping: A mapping, its name or path, ``"by-kind"``, or ``None`` to find it.
        to: The family of the target, or ``None`` for what the target suggests.
        sizes: Sizes that no shape determines.
        dtype: Type of floating-point targets, or ``None`` to keep.
        require: The weakest law allowed, or ``None``.
        folders: Further folders that hold mappings.
        norms: What becomes of weights in parts, or ``None`` for what the target suggests.
        only: A pattern of the names that are converted, or ``None`` for all.
        prefix: ``OLD=NEW``, or ``None``.
    """

    mapping: Mapping | str | None = None
    to: str | None = None
    sizes: Dict[str, int] = field(default_factory=dict)
    dtype: DType | None = None
    require: Law | None = None
    folders: tuple[Path, ...] = ()
    norms: str | None = None
    only: str | None = None
    prefix: str | None = None


def decide(checkpoint: Checkpoint, like: Checkpoint | None, wanted: Wanted) -> Conversion:
    """Return the conversion of an open checkpoint.

    Args:
        checkpoint: What is read.
        like: What the target must look like, and where the rest of a part comes from.
        wanted: What was asked for.

    Raises:
        PlanError: With every reason why the two sides do not fit together.
        MappingError: If no mapping fits, or several do.
        UsageError: If the wishes contradict each other, or the arrays have no names.
    """
    if is_nameless(checkpoint.manifest):
        raise UsageError(
            f"cannot convert {checkpoint.label}: its arrays have no names",
            hint="say whose get_weights() they are: architecture=model.keras (on the command "
            "line: --architecture)",
        )
    notes: tuple[str, ...] = ()
    live = known_sizes(like) if like is not None and like.path is None else {}
    wanted = replace(wanted, sizes={**live, **known_sizes(checkpoint), **wanted.sizes})
    computed = checkpoint.computed if isinstance(checkpoint, MaterialisedNorms) else {}
    if wanted.prefix is not None:
        checkpoint = renamed = RenamedCheckpoint(checkpoint, wanted.prefix)
        notes = (renamed.note,)
        computed = {new: computed[old] for new, old in renamed.names.items() if old in computed}
    family, target = families(checkpoint, like, wanted.to)
    if wanted.norms is None and (family, target) == ("torch", "keras"):
        checkpoint = with_norms(checkpoint, "materialise")
        if isinstance(checkpoint, MaterialisedNorms):
            computed = checkpoint.computed
    read = Side(family, own(checkpoint.manifest, family), label=checkpoint.label)
    written = Side(
        target,
        own(like.manifest, target) if like is not None else None,
        label=like.label if like is not None else "the target",
    )
    plan = _planned(read, written, wanted, checkpoint.path)
    if computed:
        plan = mark_computed(plan, computed, require=wanted.require)
    plan = replace(plan, notes=notes)
    if wanted.only is not None and like is not None:
        plan = completed(plan, written, wanted.only)
        checkpoint = CompletedCheckpoint(checkpoint, like, plan.source)
    structure = (like or checkpoint).structure if target == "keras" else None
    return Conversion(plan, checkpoint, structure, like=like)


def _planned(read: Side, written: Side, wanted: Wanted, path: Path | None) -> Plan:
    """Return the plan of what is converted, without what is kept."""
    if read.family == written.family and wanted.mapping is None:
        return make_copy_plan(read, written, dtype=wanted.dtype, only=wanted.only)
    request = make_request(
        read,
        written,
        mapping=wanted.mapping,
        folders=wanted.folders,
        sizes=wanted.sizes,
        dtype=wanted.dtype,
        require=wanted.require,
        only=wanted.only,
        model_type=read_model_type(path),
    )
    return make_plan(request)
