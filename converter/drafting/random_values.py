"""Random weights that hide nothing: no norm is one, no bias zero, no variance alike.

The scale of a kernel shrinks with the number of its inputs, so that activations keep their size
through any depth and no wrong tensor hides behind a vanishing one.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from converter.tensors.dtype import Array
from converter.tensors.spec import TensorSpec

_POSITIVE = ("variance", "gamma", "scale", "stddev", "running_var")


def random_values(manifest: Iterable[TensorSpec], seed: int) -> dict[str, Array]:
    """Return a random array for every tensor of a manifest.

    Args:
        manifest: Names, shapes and dtypes.
        seed: Of the generator.
    """
    generator = np.random.default_rng(seed)
    return {spec.name: _values(spec, generator) for spec in manifest}


def _values(spec: TensorSpec, generator: np.random.Generator) -> Array:
    own = spec.name.replace(".", "/").rpartition("/")[2]
    if not spec.dtype.is_floating:
        values = np.zeros(spec.shape)
    elif own.endswith(_POSITIVE):
        values = generator.uniform(0.5, 1.5, spec.shape)
    elif own.endswith("embeddings"):
        values = generator.normal(0.0, 1.0, spec.shape)
    elif len(spec.shape) < 2:
        values = generator.normal(0.0, 0.2, spec.shape)
    else:
        spread = np.sqrt(2.0 / max(int(np.prod(spec.shape[:-1])), 1))
        values = generator.normal(0.0, spread, spec.shape)
    return values.astype(spec.dtype.numpy)
