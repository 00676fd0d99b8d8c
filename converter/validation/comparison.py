"""One comparison of both models on one set of inputs: run, judge every output, run what must fail.

Made for whatever weights the two models hold at the moment: the real ones, or random ones.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.live.torch_module import TorchModuleCheckpoint
from converter.mapping.rules import ModelValue
from converter.planning.plan import Plan
from converter.tensors.dtype import Array
from converter.validation import alignment
from converter.validation.controls import Broken, Changes, broken_plans
from converter.validation.given import load_inputs
from converter.validation.histograms import histogram
from converter.validation.inputs import BATCH, Input, check_inputs, make_inputs, refined
from converter.validation.judging import Tolerance, judge_output
from converter.validation.keras_side import KerasSide
from converter.validation.noise import TYPICAL_FLOOR, is_half, largest_floor, noise_floor
from converter.validation.outcomes import Control, Histogram, Verdict
from converter.validation.probabilities import (
    NOTE_SATURATED,
    divergence,
    in_one_scale,
)
from converter.validation.replacing import replaced
from converter.validation.report import PASS_FLOORS, SMALLEST_FLOOR, Row, worst
from converter.validation.running import run_torch
from converter.validation.steadiness import unsteadiness

_ALIKE = "the model treats both alike; one of them in the place of both was compared"
Given = Mapping[str, Array] | Array | Path | str | None


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
        tolerance: What decides in the place of the noise floor, or ``None``.
        control_seconds: How long the comparisons that must fail may take, in seconds; 0 for none.
        explain: Whether to look for the layers that differ, and why, where outputs do.
    """

    seed: int = 0
    batch: int = BATCH
    inputs: Sequence[ModelValue] = ()
    outputs: Sequence[ModelValue] = ()
    layouts: Mapping[str, str] = field(default_factory=dict)
    measure_noise: bool = True
    tolerance: Tolerance | None = None
    control_seconds: float = 20.0
    explain: bool = True


@dataclass(frozen=True, slots=True)
class Compared:
    """What one comparison found.

    Attributes:
        rows: One for each pair of outputs.
        notices: What makes them weaker than they look.
        controls: What came of the comparisons that had to fail.
        histogram: Of the worst output.
        inputs_sha256: Hash of the inputs, so that a run can be told to be the same.
    """

    rows: tuple[Row, ...]
    notices: tuple[str, ...]
    controls: tuple[Control, ...]
    histogram: Histogram | None
    inputs_sha256: str


class Comparison:
    """Both models, and the inputs that they are run on.

    Args:
        keras: The Keras side.
        module: The PyTorch side.
        options: See there.
        plan: Keras to PyTorch, where there is one; it tells more mistakes to try.
    """

    def __init__(
        self, keras: KerasSide, module: Any, options: Options, plan: Plan | None = None
    ) -> None:
        self._keras = keras
        self._module = module
        self._options = options
        self._plan = plan
        self._notices: list[str] = []
        self._is_unsteady = False
        self.arrays: Mapping[str, Array] = {}
        self._entering: Mapping[str, Array] = {}

    def run(self, given: Given) -> Compared:
        """Run both sides and judge every output; see :class:`Compared`."""
        self._notices = list(self._keras.facts.wrong_references)
        self._is_unsteady = False
        arrays = self._inputs(given)
        self.arrays = arrays
        self._entering = {
            value.keras or next(iter(arrays)): self._keras.entering(value.before, arrays)
            for value in self._options.inputs
            if value.before
        }
        expected = self._keras.run(arrays)
        found = self._run_torch(arrays)
        floors = self._floors(arrays, found)
        self._check_keras(arrays, expected)
        pairs = alignment.pair_outputs(expected, found, self._options.outputs)
        rows = [self._row(pair, expected, found, floors) for pair in pairs]
        for pair, row in zip(pairs, rows, strict=True):
            if row.error is not None and _ignores_input(expected[pair.keras]):
                self._notices.append(
                    f"Output '{pair.keras}' is the same for every sample: it proves little."
                )
        shown = self._histogram(pairs, rows, expected, found)
        controls: list[Control] = []
        if worst(row.verdict for row in rows) != "fail":
            controls = list(self._controls(arrays, pairs, expected, floors))
        digest = _hash(arrays)
        return Compared(tuple(rows), tuple(self._notices), tuple(controls), shown, digest)

    def _inputs(self, given: Given) -> dict[str, Array]:
        facts = self._keras.facts
        if isinstance(given, Mapping) and not facts.is_graph:
            return dict(given)  # a subclassed model takes what it is given
        specs = refined(facts.inputs, self._options.inputs, label=facts.name)
        if given is None:
            return make_inputs(specs, seed=self._options.seed, batch=self._options.batch)
        if isinstance(given, (str, Path)):
            arrays = load_inputs(Path(given), specs)
        elif isinstance(given, Mapping):
            arrays = check_inputs(given, specs, label="the arguments")
        else:
            arrays = check_inputs({"": np.asarray(given)}, specs, label="the arguments")
        return {one.name: _as_taken(arrays[one.name], one) for one in specs}

    def torch_inputs(self, arrays: Mapping[str, Array]) -> tuple[list[Array], dict[str, Array]]:
        """Return the inputs in PyTorch's layout, by position and by name."""
        return alignment.torch_inputs(
            {**arrays, **self._entering},
            self._keras.facts,
            self._module,
            said=self._options.inputs,
            given_layouts=self._options.layouts,
        )

    def _run_torch(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return run_torch(self._module, *self.torch_inputs(arrays))

    def _floors(self, arrays: Mapping[str, Array], found: Mapping[str, Array]) -> dict[str, float]:
        sentence, is_random = unsteadiness(
            self._run_torch, arrays, found, side="The PyTorch side", is_half=is_half(self._module)
        )
        self._note_unsteady(sentence)
        typical = dict.fromkeys(found, TYPICAL_FLOOR)
        if is_random or not self._options.measure_noise:
            # Its distance from itself would be that of the randomness, and excuse anything.
            return typical
        floors = noise_floor(self._module, *self.torch_inputs(arrays), found)
        if isinstance(floors, str):
            self._notices.append(
                f"The noise floor could not be measured ({floors}); {TYPICAL_FLOOR:.0e} is assumed."
            )
            return typical
        largest = largest_floor(self._module)
        for name, floor in floors.items():
            if floor > largest:
                self._notices.append(
                    f"The noise floor of '{name}' is {floor:.0e}, too high to tell a mistake from "
                    f"noise; {largest:.0e} is used."
                )
        return {**typical, **{name: min(one, largest) for name, one in floors.items()}}

    def _check_keras(self, arrays: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
        sentence, _ = unsteadiness(
            self._keras.run,
            arrays,
            expected,
            side="The Keras side",
            is_half=is_half(self._module),
        )
        self._note_unsteady(sentence)

    def _note_unsteady(self, sentence: str) -> None:
        if sentence:
            self._is_unsteady = True
            self._notices.append(sentence)

    def _sides(
        self,
        pair: ModelValue,
        expected: Mapping[str, Array],
        found: Mapping[str, Array],
    ) -> tuple[Array, Array, str]:
        """Return both outputs of a pair in one layout and one scale, and a note about it."""
        reference = alignment.in_keras_layout(
            pair.keras,
            found[pair.torch],
            expected,
            self._keras.facts,
            axes=pair.axes,
            given_layouts=self._options.layouts,
        )
        actual, reference = (
            alignment.where_counted(one, self.arrays, pair.where)
            for one in (expected[pair.keras], reference)
        )
        return in_one_scale(actual, reference)

    def _row(
        self,
        pair: ModelValue,
        expected: Mapping[str, Array],
        found: Mapping[str, Array],
        floors: Mapping[str, float],
    ) -> Row:
        name, other = pair.keras, pair.torch
        actual, reference, note = self._sides(pair, expected, found)
        row = judge_output(
            name, other, actual, reference, floors[other], tolerance=self._options.tolerance
        )
        told = divergence(actual, reference, (f"{name} {note}" if note else name, other))
        if told is not None:
            row = replace(row, kl=told[0], agreement=told[1])
        if self._is_unsteady:
            row = replace(row, verdict=worst([row.verdict, "warn"]))
        if note:
            weak: Verdict = "warn" if note == NOTE_SATURATED else row.verdict
            notes = "; ".join(part for part in (row.note, note) if part)
            row = replace(row, verdict=worst([row.verdict, weak]), note=notes)
        return row

    def _histogram(
        self,
        pairs: Sequence[ModelValue],
        rows: Sequence[Row],
        expected: Mapping[str, Array],
        found: Mapping[str, Array],
    ) -> Histogram | None:
        compared = [index for index, row in enumerate(rows) if row.error is not None]
        if not compared:
            return None
        index = max(compared, key=lambda one: _rank(rows[one]))
        actual, reference, _ = self._sides(pairs[index], expected, found)
        return histogram(rows[index].name, actual, reference)

    def _controls(
        self,
        arrays: Mapping[str, Array],
        pairs: Sequence[ModelValue],
        expected: Mapping[str, Array],
        floors: Mapping[str, float],
    ) -> Iterator[Control]:
        if self._options.control_seconds <= 0 or not self._module.state_dict():
            return
        view = TorchModuleCheckpoint(self._module)

        def compared(mistake: Broken, changes: Changes) -> Control:
            values = {name: _array(change, view) for name, change in changes.items()}
            if all(_same(value, view.read(name)) for name, value in values.items()):
                note = "it changes nothing: both hold equal values"
                return Control(mistake.kind, mistake.what, 0.0, is_detected=False, note=note)
            with replaced(view, values):
                found = self._run_torch(arrays)
            return _control(mistake, [self._row(pair, expected, found, floors) for pair in pairs])

        plan = self._plan
        written = None if plan is None else {name for one in plan.steps for name in one.targets}
        # What the plan drops, nothing was said about: no output needs to depend on it.
        shapes = {
            one.name: one.shape
            for one in view.manifest
            if one.dtype.is_floating and (written is None or one.name in written)
        }
        mistakes = broken_plans(self._module, shapes, self._plan)
        started = time.monotonic()
        for index, mistake in enumerate(mistakes):
            if time.monotonic() - started > self._options.control_seconds:
                left = len(mistakes) - index
                self._notices.append(
                    f"{left} of {len(mistakes)} broken plans were not compared: no time was left."
                )
                return
            control = compared(mistake, mistake.changes)
            if mistake.instead and not control.note and control.floors <= PASS_FLOORS:
                other = compared(mistake, mistake.instead)
                control = replace(other, note=_ALIKE) if other.is_detected else control
            yield control


def _control(mistake: Broken, rows: Sequence[Row]) -> Control:
    floors = max((_rank(row) for row in rows), default=0.0)
    is_detected = any(row.verdict == "fail" for row in rows)
    return Control(mistake.kind, mistake.what, floors, is_detected)


def _array(change: Any, view: TorchModuleCheckpoint) -> Array:
    # A copy: what is read shares memory with the module that is about to change.
    value: Array = np.array(change(view.read))
    return value


def _same(one: Array, other: Array) -> bool:
    return one.tobytes() == np.ascontiguousarray(other).tobytes()


def _rank(row: Row) -> float:
    """Return the error of a row in noise floors; what is not finite is the worst."""
    if row.error is None or not np.isfinite(row.error) or "NaN on one side" in row.note:
        return float("inf")
    return row.error / max(row.floor or 0.0, SMALLEST_FLOOR)


def _as_taken(array: Array, one: Input) -> Array:
    return array.astype(one.dtype, copy=False)


def _ignores_input(array: Array) -> bool:
    if array.dtype.kind not in "fc" or array.ndim == 0 or len(array) < 2:
        return False
    scale = float(np.abs(array).max(initial=0.0))
    return float(np.abs(array - array[:1]).max(initial=0.0)) <= 1e-6 * scale


def _hash(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
