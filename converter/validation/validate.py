"""Run a Keras model and its PyTorch counterpart on the same inputs and judge every output.

This is level 3 of what can be shown about a conversion: names and shapes (the plan) and equal
values after a round trip (:mod:`converter.validation.values`) both pass when two square matrices
were swapped; outputs do not.
"""

from __future__ import annotations

import inspect
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from converter._optional import require
from converter.errors import UsageError
from converter.live.kinds import is_keras_layer, is_torch_module
from converter.mapping.rules import ModelValue
from converter.tensors.dtype import Array
from converter.validation import layouts
from converter.validation.inputs import (
    BATCH,
    Input,
    check_inputs,
    inputs_of,
    load_inputs,
    make_inputs,
)
from converter.validation.judging import judge_output
from converter.validation.noise import TYPICAL_FLOOR, largest_floor, noise_floor
from converter.validation.probabilities import NOTE_SATURATED, in_one_scale
from converter.validation.references import wrong_references
from converter.validation.report import Report, Row, Verdict, worst
from converter.validation.running import entering, run_keras, run_torch


@dataclass(frozen=True, slots=True)
class Options:
    """What a comparison may be told.

    Attributes:
        seed: Of the random inputs.
        batch: Number of samples of the random inputs.
        inputs: What a mapping says about the inputs, in the order of the PyTorch module.
        outputs: What a mapping says about the outputs; those not named are not compared.
        layouts: Keras input or output name to ``channels_first`` or ``channels_last``, as the
            PyTorch side has it, where the Keras graph does not tell.
        measure_noise: Whether to run the PyTorch side in float64 too; it takes twice its memory.
    """

    seed: int = 0
    batch: int = BATCH
    inputs: Sequence[ModelValue] = ()
    outputs: Sequence[ModelValue] = ()
    layouts: Mapping[str, str] = field(default_factory=dict)
    measure_noise: bool = True


def validate(
    keras_model: Any,
    torch_module: Any,
    *,
    inputs: Mapping[str, Array] | Array | Path | str | None = None,
    options: Options | None = None,
) -> Report:
    """Compare the outputs of a Keras model and a PyTorch module.

    Args:
        keras_model: A live Keras 3 model.
        torch_module: A live ``torch.nn.Module``.
        inputs: Arrays by Keras input name in Keras' layout, one array for a single input, or an
            ``.npz`` file; by default seeded random ones.
        options: Everything else.

    Raises:
        UsageError: If one of the two is of the wrong kind, cannot be run, or their outputs cannot
            be paired.
        ProblemsError: If the inputs given do not fit the model.
        MissingDependencyError: If Keras or torch is not installed.
    """
    options = options or Options()
    _check_kinds(keras_model, torch_module)
    comparison = _Comparison(keras_model, torch_module, options)
    return comparison.run(inputs)


@dataclass(frozen=True, slots=True)
class _Results:
    """What both sides gave, by their own output names, and the noise floors of PyTorch's."""

    expected: Mapping[str, Array]
    found: Mapping[str, Array]
    floors: Mapping[str, float]


class _Comparison:
    def __init__(self, model: Any, module: Any, options: Options) -> None:
        self._model = model
        self._module = module
        self._options = options
        self._notices = list(wrong_references(model))

    def run(self, given: Mapping[str, Array] | Array | Path | str | None) -> Report:
        arrays = self._inputs(given)
        expected = run_keras(self._model, arrays)
        positional, named = self._torch_inputs(arrays)
        found = run_torch(self._module, positional, named)
        if self._is_repeatable(found, positional, named):
            floors = self._floors(positional, named, found)
        else:
            # Its distance from itself would be that of the randomness, and excuse anything.
            floors = dict.fromkeys(found, TYPICAL_FLOOR)
            self._notices.append(
                "The PyTorch side gives another answer each time: something random is left in it."
            )
        results = _Results(expected, found, floors)
        rows = [self._row(pair, results, arrays) for pair in self._pairs(expected, found)]
        return Report("outputs", tuple(rows), len(rows), tuple(self._notices), self._settings())

    def _inputs(self, given: Mapping[str, Array] | Array | Path | str | None) -> dict[str, Array]:
        if isinstance(given, Mapping) and not getattr(self._model, "inputs", None):
            return dict(given)  # a subclassed model takes what it is given
        specs = inputs_of(self._model, self._options.inputs)
        if given is None:
            return make_inputs(specs, seed=self._options.seed, batch=self._options.batch)
        if isinstance(given, (str, Path)):
            arrays = load_inputs(Path(given), specs)
        elif isinstance(given, Mapping):
            arrays = check_inputs(given, specs, label="the arguments")
        else:
            arrays = check_inputs({"": np.asarray(given)}, specs, label="the arguments")
        return {one.name: _as_taken(arrays[one.name], one) for one in specs}

    def _torch_inputs(self, arrays: Mapping[str, Array]) -> tuple[list[Array], dict[str, Array]]:
        """Return the inputs in PyTorch's layout, by position and by name."""
        said = {value.keras: value for value in self._options.inputs}
        tensors = {one.name: one for one in getattr(self._model, "inputs", None) or []}
        positional, named = [], {}
        parameters = _parameters(self._module)
        by_name = len(arrays) > 1 and set(arrays) <= parameters
        ordered = [name for name in said if name in arrays]
        ordered += [name for name in arrays if name not in ordered]
        for name in ordered:
            array = arrays[name]
            value = said.get(name) or said.get("")
            tensor = tensors.get(name)
            default = layouts.input_layout(tensor) if tensor is not None else _by_rank(array)
            layout = layouts.chosen(self._options.layouts, name, default)
            if value is not None and value.before:
                array = entering(self._model, value.before, arrays)
            moved = layouts.to_torch(array, layout, value.axes if value else None)
            if value is not None and value.torch:
                named[value.torch] = moved
            elif by_name:
                named[name] = moved
            else:
                positional.append(moved)
        return positional, named

    def _is_repeatable(
        self, found: Mapping[str, Array], positional: Sequence[Array], named: Mapping[str, Array]
    ) -> bool:
        again = run_torch(self._module, positional, named)
        return all(
            name in again and np.array_equal(again[name], value, equal_nan=value.dtype.kind in "fc")
            for name, value in found.items()
        )

    def _floors(
        self,
        positional: Sequence[Array],
        named: Mapping[str, Array],
        found: Mapping[str, Array],
    ) -> dict[str, float]:
        typical = dict.fromkeys(found, TYPICAL_FLOOR)
        if not self._options.measure_noise:
            return typical
        floors = noise_floor(self._module, positional, named, found)
        if isinstance(floors, str):
            self._notices.append(
                f"The noise floor could not be measured ({floors}); {TYPICAL_FLOOR:.0e} is assumed."
            )
            return typical
        for name, floor in floors.items():
            if floor > largest_floor(self._module):
                self._notices.append(
                    f"The noise floor of '{name}' is {floor:.0e}, too high to tell a mistake from "
                    f"noise; {largest_floor(self._module):.0e} is used."
                )
        limited = {name: min(one, largest_floor(self._module)) for name, one in floors.items()}
        return {**typical, **limited}

    def _pairs(self, expected: Mapping[str, Array], found: Mapping[str, Array]) -> list[ModelValue]:
        """Return each output of Keras with that of PyTorch, both by their own names."""
        if self._options.outputs:
            return [
                replace(
                    value,
                    keras=_named(value.keras, expected),
                    torch=_named(value.torch, found),
                )
                for value in self._options.outputs
            ]
        if set(expected) <= set(found):
            return [ModelValue(name, name) for name in expected]
        if len(expected) == len(found):
            return [ModelValue(one, two) for one, two in zip(expected, found, strict=True)]
        raise UsageError(
            f"cannot pair {len(expected)} Keras outputs with {len(found)} PyTorch outputs",
            facts=[("keras", ", ".join(expected)), ("torch", ", ".join(found) or "none")],
        )

    def _row(self, pair: ModelValue, results: _Results, inputs: Mapping[str, Array]) -> Row:
        name, other, axes = pair.keras, pair.torch, pair.axes
        actual, reference = results.expected[name], results.found[other]
        if axes is None or _fits(reference, axes):
            layout = self._output_layout(name, results.expected)
            reference = layouts.to_keras(reference, layout, axes)
        if pair.where:
            actual, reference = (_where(one, inputs, pair.where) for one in (actual, reference))
        actual, reference, note = in_one_scale(actual, reference)
        row = judge_output(name, other, actual, reference, results.floors[other])
        if note:
            weak: Verdict = "warn" if note == NOTE_SATURATED else row.verdict
            notes = "; ".join(part for part in (row.note, note) if part)
            row = replace(row, verdict=worst([row.verdict, weak]), note=notes)
        if len(reference) > 1 and _ignores_input(reference):
            self._notices.append(f"Output '{name}' is the same for every sample: it proves little.")
        return row

    def _output_layout(self, name: str, expected: Mapping[str, Array]) -> layouts.Layout:
        tensors = list(getattr(self._model, "outputs", None) or [])
        default = _by_rank(expected[name])
        if len(tensors) == len(expected):
            default = layouts.output_layout(tensors[list(expected).index(name)])
        return layouts.chosen(self._options.layouts, name, default)

    def _settings(self) -> dict[str, Any]:
        import keras
        import torch

        return {
            "seed": self._options.seed,
            "batch": self._options.batch,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            "torch": torch.__version__,
            "machine": platform.machine(),
        }


def _check_kinds(keras_model: Any, torch_module: Any) -> None:
    require("keras", why="cannot validate outputs", extra="keras")
    require("torch", why="cannot validate outputs", extra="torch")
    if not is_keras_layer(keras_model):
        raise UsageError(
            f"cannot validate: the first model is a {type(keras_model).__name__}, not a Keras model"
        )
    if is_keras_layer(torch_module) or not is_torch_module(torch_module):
        raise UsageError(
            f"cannot validate: the second model is a {type(torch_module).__name__}, "
            "not a PyTorch module"
        )


def _as_taken(array: Array, one: Input) -> Array:
    return array.astype(one.dtype, copy=False)


def _by_rank(array: Array) -> layouts.Layout:
    return "channels_first" if array.ndim in (4, 5) else "same"


def _parameters(module: Any) -> set[str]:
    try:
        return set(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        return set()


def _named(name: str, outputs: Mapping[str, Array]) -> str:
    if not name and len(outputs) == 1:
        return next(iter(outputs))
    if name not in outputs:
        raise UsageError(
            f"cannot compare output '{name or 'without a name'}': there is none of that name",
            facts=[("found", ", ".join(outputs) or "none")],
        )
    return name


def _where(array: Array, inputs: Mapping[str, Array], name: str) -> Array:
    """Return the positions of an output at which an input is not zero."""
    if name not in inputs:
        raise UsageError(
            f"cannot compare where '{name}' is not zero: there is no input of that name",
            facts=[("inputs", ", ".join(inputs))],
        )
    seen = inputs[name].astype(bool)
    return array[seen] if array.shape[: seen.ndim] == seen.shape else array


def _fits(array: Array, axes: str) -> bool:
    # A pattern that does not fit would hide the better message, that the shapes differ.
    return array.ndim == len(axes.partition("->")[2].split()) or "(" in axes


def _ignores_input(array: Array) -> bool:
    if array.dtype.kind not in "fc" or array.ndim == 0:
        return False
    scale = float(np.abs(array).max(initial=0.0))
    return float(np.abs(array - array[:1]).max(initial=0.0)) <= 1e-6 * scale
