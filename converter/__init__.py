"""Weightferry: move trained weights between Keras, PyTorch, safetensors and ONNX, and prove it.

Names are imported on first use, so that ``import converter`` costs next to nothing and loads no
framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from converter._version import __version__
from converter.errors import (
    CheckpointError,
    ConverterError,
    CorruptFileError,
    MappingError,
    MappingFileError,
    MissingDependencyError,
    OperationError,
    PlanError,
    Problem,
    TargetExistsError,
    UnknownFormatError,
    UnsafeFileError,
    UnsupportedFileError,
    UsageError,
    WriteError,
)

if TYPE_CHECKING:
    from converter.algebra.base import Law
    from converter.api import convert, list_formats, open, plan, validate  # noqa: A004  # our verb
    from converter.drafting.propose import Proposal, draft
    from converter.execution.conversion import Conversion
    from converter.execution.executor import Written
    from converter.formats.base import Checkpoint
    from converter.planning.editing import Edit
    from converter.planning.plan import Plan, Step
    from converter.tensors.manifest import Manifest
    from converter.tensors.spec import LayerSpec, TensorSpec
    from converter.validation.report import Report
    from converter.weights import average, diff, edited, load, statistics

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Conversion",
    "ConverterError",
    "CorruptFileError",
    "Edit",
    "Law",
    "LayerSpec",
    "Manifest",
    "MappingError",
    "MappingFileError",
    "MissingDependencyError",
    "OperationError",
    "Plan",
    "PlanError",
    "Problem",
    "Proposal",
    "Report",
    "Step",
    "TargetExistsError",
    "TensorSpec",
    "UnknownFormatError",
    "UnsafeFileError",
    "UnsupportedFileError",
    "UsageError",
    "WriteError",
    "Written",
    "__version__",
    "average",
    "convert",
    "diff",
    "draft",
    "edited",
    "list_formats",
    "load",
    "open",
    "plan",
    "statistics",
    "validate",
]

_PLACES = {
    "Checkpoint": "converter.formats.base",
    "Conversion": "converter.execution.conversion",
    "Edit": "converter.planning.editing",
    "Law": "converter.algebra.base",
    "LayerSpec": "converter.tensors.spec",
    "Manifest": "converter.tensors.manifest",
    "Plan": "converter.planning.plan",
    "Proposal": "converter.drafting.propose",
    "Report": "converter.validation.report",
    "Step": "converter.planning.plan",
    "TensorSpec": "converter.tensors.spec",
    "Written": "converter.execution.executor",
    "average": "converter.weights",
    "convert": "converter.api",
    "diff": "converter.weights",
    "edited": "converter.weights",
    "draft": "converter.drafting.propose",
    "list_formats": "converter.api",
    "load": "converter.weights",
    "open": "converter.api",
    "plan": "converter.api",
    "statistics": "converter.weights",
    "validate": "converter.api",
}


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'converter' has no attribute '{name}'")
    found = getattr(importlib.import_module(place), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
