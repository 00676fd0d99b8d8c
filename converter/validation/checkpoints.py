"""What to compare when two checkpoints are to be validated: values, or the outputs of models."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import replace
from pathlib import Path
from typing import Any

from converter.execution.conversion import Conversion
from converter.execution.converted import ConvertedCheckpoint
from converter.formats.base import Checkpoint
from converter.formats.model_config import read_sizes
from converter.formats.torch_norms import with_norms
from converter.live.torch_module import TorchModuleCheckpoint
from converter.mapping import library
from converter.mapping.identify import identify
from converter.mapping.rules import Mapping
from converter.planning.matching import BY_KIND, make_request
from converter.planning.planner import make_plan
from converter.planning.sides import Side
from converter.tensors.manifest import Family
from converter.validation.models import live_model
from converter.validation.report import Report
from converter.validation.requirements import unmet_requirements
from converter.validation.validate import Options, validate
from converter.validation.values import compare_values


def validate_checkpoints(
    first: Checkpoint,
    second: Checkpoint,
    *,
    factories: Dict[Family, object],
    inputs: Any = None,
    mapping: Mapping | str | None = None,
    folders: tuple[Path, ...] = (),
    seed: int = 0,
) -> Report:
    """Compare two checkpoints; see :func:`converter.api.validate`.

    Args:
        first: One side.
        second: The other.
        factories: Family to what builds its model, or ``None``.
        inputs: Inputs to run on, or ``None``.
        mapping: A mapping, its name, ``"by-kind"``, or ``None`` to find it.
        folders: Further folders that hold mappings.
        seed: Of random inputs.
    """
    families = (_family(first, second), _family(second, first))
    if families[0] == families[1]:
        return compare_values(first, second)
    keras, torch = (first, second) if families[0] == "keras" else (second, first)
    known = _known_mapping(keras, mapping, folders)
    runs = isinstance(torch, TorchModuleCheckpoint) or factories.get("torch") is not None
    if not runs and (known is None or not known.sources):
        report = _compare_through_plan(keras, torch, mapping, folders)
        notice = (
            "Outputs were not compared: nothing says how to build the PyTorch module (--torch)."
        )
        return replace(report, notices=(*report.notices, notice))
    sources = known.sources if known is not None else {}
    options = Options(
        seed=seed,
        inputs=known.inputs if known is not None else (),
        outputs=known.outputs if known is not None else (),
    )
    model = live_model(keras, "keras", factories.get("keras"), sources=sources)
    module = live_model(torch, "torch", factories.get("torch"), sources=sources)
    report = validate(model, module, inputs=inputs, options=options)
    unmet = unmet_requirements(known, model, module) if known is not None else []
    return replace(report, notices=(*unmet, *report.notices))


def _family(one: Checkpoint, other: Checkpoint) -> Family:
    """Return the family of one checkpoint; where it does not say, that which the other is not."""
    if one.manifest.family is not None:
        return one.manifest.family
    return "torch" if other.manifest.family == "keras" else "keras"


def _known_mapping(
    keras: Checkpoint, mapping: Mapping | str | None, folders: tuple[Path, ...]
) -> Mapping | None:
    if isinstance(mapping, Mapping) or mapping is None:
        return mapping or identify(keras.manifest, folders=folders)
    return None if mapping == BY_KIND else library.get(mapping, folders)


def _compare_through_plan(
    keras: Checkpoint,
    torch: Checkpoint,
    mapping: Mapping | str | None,
    folders: tuple[Path, ...],
) -> Report:
    """Convert the Keras side in memory, tensor by tensor, and compare it with the other."""
    torch = with_norms(torch, "materialise")  # Keras has no parts to compare with
    source = Side("keras", keras.manifest, label=keras.label)
    target = Side("torch", torch.manifest.of_family("torch"), label=torch.label)
    sizes = read_sizes(torch.path)
    request = make_request(source, target, mapping=mapping, folders=folders, sizes=sizes)
    plan = make_plan(request)
    converted = ConvertedCheckpoint(Conversion(plan, keras))
    return compare_values(converted, torch, names=plan.target.tensors)
