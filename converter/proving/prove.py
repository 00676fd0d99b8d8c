"""Prove one mapping: convert small models both ways and compare what they compute.

Both models of a case get random weights everywhere, the twin what ``requires`` says. Keras'
weights go to PyTorch, both are run, and all outputs must agree within 30 noise floors. Then they
go back: where the law is exact every bit must return; where it is weaker, a second Keras model that
holds what came back must give the outputs too, and lead to the same PyTorch tensors. That is one
way more than a round trip, which a mapping that swaps two matrices passes.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np

from converter import api
from converter.algebra.base import Law
from converter.errors import ConverterError
from converter.execution.conversion import Conversion
from converter.live.sources import build_source
from converter.mapping import library
from converter.mapping.proofs import MOST_FLOORS, CaseProof
from converter.mapping.rules import Mapping, ProofCase
from converter.proving.own_converter import own_weights
from converter.proving.pretrained import is_of_transformers, open_pretrained, read_saved
from converter.proving.randomising import randomise_weights
from converter.tensors.dtype import Array
from converter.validation.report import Report
from converter.validation.requirements import concerned, unmet_requirements
from converter.validation.validate import Options, validate

# What a package is called in its index, where that is not what is imported.
_DISTRIBUTIONS = {"keras_hub": "keras-hub"}
_LIBRARIES = ("keras_hub", "transformers", "timm", "torchvision")


class ProofError(ConverterError):
    """A run that shows that the mapping is wrong, or that the models are not each other's twins."""


@dataclass(slots=True)
class _Run:
    """One case while it is run."""

    mapping: Mapping
    name: str
    case: ProofCase
    rows: list[Any] = field(default_factory=list)

    def failed(self, text: str, **facts: object) -> ProofError:
        return ProofError(
            f"'{self.mapping.name}' is not proved by '{self.name}': {text}",
            facts=[(key, str(value)) for key, value in facts.items()],
        )


def prove_case(mapping: Mapping, name: str) -> CaseProof:
    """Run one case of a mapping.

    Args:
        mapping: The mapping.
        name: One of its ``proofs``.

    Returns:
        What was seen. The outputs of a twin that must deviate are not judged.

    Raises:
        ProofError: If outputs differ, something does not come back, or the two models do not meet
            what the mapping requires.
        PlanError: If the two models do not fit together.
        UsageError: If a model cannot be built or run.
    """
    run = _Run(mapping, name, mapping.proofs[name])
    model = build_source(run.case.keras, family="keras")
    module = build_source(run.case.torch, family="torch")
    given = None if _is_found_by_name(mapping) else mapping
    randomise_weights(model, module, given)
    if not run.case.deviates:
        unmet = meet_requirements(run.mapping, model, module)
        if unmet:
            raise run.failed("the models do not meet what it requires", unmet=unmet[0])
    there = api.plan(model, like=module, mapping=given)
    if there.plan.mapping != mapping.name:
        raise run.failed("another mapping is found for its models", found=there.plan.mapping)
    # The plan has every tensor of the module but those that the mapping drops, with a reason.
    strange = module.load_state_dict(there.state_dict(), strict=False).unexpected_keys
    if strange:
        raise run.failed("PyTorch has no place for a tensor", tensor=strange[0])
    _compare(run, model, module)
    own = _own(run, model, module) if run.case.own else None
    pretrained = None
    if is_of_transformers(module):
        pretrained = _pretrained(run, there, model, module)
    law = Law.weakest([step.law for step in there.steps if step.law is not Law.DERIVED])
    _return(run, model, module, law)
    if run.case.deviates and _largest(run).floors <= MOST_FLOORS:
        raise run.failed("the outputs agree, and the file says that they deviate")
    return _proof(run, there, law, own=own, pretrained=pretrained)


def prove_variant(mapping: Mapping, name: str) -> int:
    """Pair a full-size variant of a mapping by names and shapes, both ways, without any value.

    Args:
        mapping: The mapping.
        name: One of its ``sources`` or ``presets``. Where PyTorch has no such variant, the names
            that it would have are made.

    Returns:
        The number of PyTorch tensors.

    Raises:
        ProofError: If the tensors of one side are not those of the model.
        PlanError: If the two models do not fit together.
    """
    sides = mapping.variants[name]
    keras = api.open(build_source(sides["keras"], family="keras", meta=True))
    if "torch" not in sides:
        made = api.plan(keras, mapping=None if _is_found_by_name(mapping) else mapping).plan
        if made.mapping != mapping.name:
            raise ProofError(f"'{mapping.name}' is not found for '{name}', but '{made.mapping}'")
        return len(made.target)
    torch = api.open(build_source(sides["torch"], family="torch", meta=True))
    given = None if _is_found_by_name(mapping) else mapping
    there = api.plan(keras, like=torch, mapping=given).plan
    back = api.plan(torch, like=keras, mapping=given).plan
    for plan, other, target in ((there, back, torch), (back, there, keras)):
        found = [one.name for one in plan.target]
        dropped = {one.name for one in other.dropped} - set(found)  # with a reason
        names = [one.name for one in target.manifest if one.name not in dropped]
        if plan.mapping != mapping.name or found != names:
            raise ProofError(f"'{mapping.name}' does not pair '{name}': it gives other tensors")
    return len(torch.manifest)


def _is_found_by_name(mapping: Mapping) -> bool:
    """Whether it is one of the library, which must be found without being named."""
    return mapping.name in library.names() and library.get(mapping.name) is mapping


def meet_requirements(mapping: Mapping, model: Any, module: Any) -> tuple[str, ...]:
    """Set what a mapping requires of the twin, and return what is left unmet.

    Args:
        mapping: The mapping.
        model: A live Keras model.
        module: Its twin; attributes of its modules are set.
    """
    modules = dict(module.named_modules())
    for requirement in mapping.requirements:
        if requirement.side != "torch" or requirement.is_absent or "." in requirement.attribute:
            continue
        value = requirement.equals
        for name in concerned(requirement, mapping, modules):
            if hasattr(modules[name], requirement.attribute):
                plain = tuple(value) if isinstance(value, list) else value
                with contextlib.suppress(TypeError):  # a part of the module; it counts as unmet
                    setattr(modules[name], requirement.attribute, plain)
    return tuple(map(str, unmet_requirements(mapping, model, module)))


def _compare(run: _Run, model: Any, module: Any) -> None:
    options = Options(
        inputs=run.case.inputs or run.mapping.inputs,
        outputs=run.case.outputs or run.mapping.outputs,
        control_seconds=0.0,
        explain=False,
    )
    report = validate(model, module, options=options)
    run.rows += report.rows
    if not run.case.deviates:
        _judge(run, report)


def _judge(run: _Run, report: Report) -> None:
    for row in report.rows:
        if row.verdict != "pass":
            raise run.failed("the outputs differ", output=row.line())


def _return(run: _Run, model: Any, module: Any, law: Law) -> None:
    """Go back to Keras, and see that what the law promises is there."""
    given = None if _is_found_by_name(run.mapping) else run.mapping
    weights = api.plan(module, like=model, mapping=given).get_weights()
    if law is Law.EXACT:
        derived = _derived(model, module, given)
        names = api.open(model).manifest.tensors
        for name, one, other in zip(names, model.get_weights(), weights, strict=True):
            if name not in derived and one.tobytes() != other.tobytes():
                raise run.failed("a tensor does not come back", tensor=name)
        return
    original = module.state_dict()
    model.set_weights(weights)
    _compare(run, model, module)
    for name, again in api.plan(model, like=module, mapping=given).state_dict().items():
        if law is Law.CANONICAL and not np.array_equal(again.numpy(), original[name].numpy()):
            raise run.failed("a tensor changes on a second way there and back", tensor=name)


def _derived(model: Any, module: Any, mapping: Mapping | None) -> set[str]:
    """Return the Keras tensors that are made anew on the way back, for a reason that is told."""
    plan = api.plan(module, like=model, mapping=mapping).plan
    return {name for step in plan.steps if step.law is Law.DERIVED for name in step.targets}


def _own(run: _Run, model: Any, module: Any) -> bool:
    """Compare with keras_hub's own converter, bit for bit."""
    other = build_source(run.case.keras, family="keras")
    randomise_weights(other, module, None, seed=1)
    theirs = own_weights(other, module, run.case.own)
    weights = api.plan(module, like=model).get_weights()
    ours: list[Array] = _backbone_weights(model, weights)
    if len(theirs) != len(ours):
        raise run.failed("keras_hub's own converter fills another model", converter=run.case.own)
    for index, (one, two) in enumerate(zip(ours, theirs, strict=True)):
        rounded = one.astype(run.case.own_dtype).astype(one.dtype) if run.case.own_dtype else one
        if rounded.tobytes() != two.tobytes():
            name = getattr(model, "backbone", model).weights[index].path
            raise run.failed("keras_hub's own converter gives another value", tensor=name)
    return True


def _pretrained(run: _Run, there: Conversion, model: Any, module: Any) -> bool:
    """Let transformers itself open what is written for it, and read what it saves."""
    wrong = open_pretrained(there, module)
    if wrong:
        raise run.failed("from_pretrained does not take what is written", found=wrong)
    given = None if _is_found_by_name(run.mapping) else run.mapping
    wrong = read_saved(model, module, given)
    if wrong:
        raise run.failed("what save_pretrained writes is read as another value", tensor=wrong)
    return True


def _backbone_weights(model: Any, weights: list[Array]) -> list[Array]:
    if not hasattr(model, "backbone"):
        return weights
    place = {id(variable): index for index, variable in enumerate(model.weights)}
    return [weights[place[id(variable)]] for variable in model.backbone.weights]


def _largest(run: _Run) -> Any:
    return max(run.rows, key=lambda row: row.floors or 0.0)


def _proof(
    run: _Run, there: Conversion, law: Law, *, own: bool | None, pretrained: bool | None
) -> CaseProof:
    row = _largest(run)
    return CaseProof(
        law=str(law),
        tensors=len(there.plan.target),
        outputs=len({(each.name, each.other) for each in run.rows}),
        error=float(f"{row.error or 0.0:.3g}"),
        floor=float(f"{row.floor or 0.0:.3g}"),
        floors=float(f"{row.floors or 0.0:.3g}"),
        versions=_versions(run.case),
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        own=own,
        pretrained=pretrained,
        deviates=run.case.deviates,
    )


def _versions(case: ProofCase) -> dict[str, str]:
    """Return the packages that a case needs, with their versions."""
    text = repr(case)
    names = ["keras", "torch", *(name for name in _LIBRARIES if name in text)]
    return {name: metadata.version(_DISTRIBUTIONS.get(name, name)) for name in names}
