"""Random weights for both models through one plan: what a fresh or a trained model may hide.

Trained weights may hold equal tensors, zeros and dead units; fresh ones do for certain. Random ones
differ everywhere, so that every tensor that has an effect shows it. They are drawn so that a signal
neither dies nor explodes on its way: kernels by the number of their inputs, variances positive,
gains around one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from converter.algebra.computed import Recognise
from converter.algebra.copies import TakeOne
from converter.algebra.values import Expect
from converter.execution.executor import to_arrays
from converter.formats.base import Checkpoint
from converter.live.torch_module import StateDictCheckpoint, TorchModuleCheckpoint
from converter.planning.plan import Plan
from converter.tensors.dtype import Array
from converter.tensors.spec import TensorSpec
from converter.validation.keras_side import KerasSide
from converter.validation.replacing import replaced


@contextlib.contextmanager
def random_weights(
    plan: Plan, source: Checkpoint, keras: KerasSide, module: Any, *, seed: int
) -> Iterator[None]:
    """Fill both models with the same random weights, and put back what they held.

    Args:
        plan: Keras to PyTorch, with the names of ``source``.
        source: The Keras checkpoint, whose values the Keras side gets back.
        keras: The Keras side.
        module: The PyTorch module.
        seed: Of the random values.
    """
    arrays = random_arrays(plan, source, seed=seed)
    made = StateDictCheckpoint(arrays, family="keras", label="random weights")
    values = to_arrays(plan, made)
    view = TorchModuleCheckpoint(module)
    known = {name: value for name, value in values.items() if name in view.manifest}
    before = keras.arrays()
    try:
        keras.fill(made)
        with replaced(view, known):
            yield
    finally:
        if before is not None:
            keras.load(before)
        else:
            keras.fill(source)


def random_arrays(plan: Plan, source: Checkpoint, *, seed: int) -> dict[str, Array]:
    """Return a random array for each Keras tensor of a plan; what is computed as it is."""
    generator = np.random.default_rng(seed)
    constant = {
        name: float(step.operation.value)
        for step in plan.steps
        if isinstance(step.operation, Expect)
        for name in step.sources
    }
    computed = {
        name
        for step in plan.steps
        if isinstance(step.operation, Recognise)
        for name in step.sources
    }
    arrays: dict[str, Array] = {}
    for spec in plan.source:
        if not spec.dtype.is_floating or spec.name in computed:
            arrays[spec.name] = np.array(source.read(spec.name))
        elif spec.name in constant:
            arrays[spec.name] = np.full(spec.shape, constant[spec.name], spec.dtype.numpy)
        else:
            arrays[spec.name] = _random(spec, generator).astype(spec.dtype.numpy)
    for step in plan.steps:
        if isinstance(step.operation, TakeOne):
            arrays |= dict.fromkeys(step.sources, arrays[step.sources[0]])
    return arrays


def _random(spec: TensorSpec, generator: np.random.Generator) -> Array:
    slot = spec.name.rpartition("/")[2]
    if "variance" in slot:
        return generator.uniform(0.5, 1.5, spec.shape)
    if slot in ("gamma", "scale"):
        return generator.uniform(0.7, 1.4, spec.shape)
    if len(spec.shape) < 2:
        return generator.standard_normal(spec.shape) * 0.2
    if "embeddings" in slot:
        return generator.standard_normal(spec.shape) * 0.5
    inner = spec.shape[:-2] if "depthwise" in spec.name.lower() else spec.shape[:-1]
    return generator.standard_normal(spec.shape) * math.sqrt(1.5 / max(1, math.prod(inner)))
