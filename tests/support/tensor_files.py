"""Random tensors of every type, and files of every format that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converter.formats.base import Checkpoint
from converter.formats.registry import create_writer
from converter.tensors.dtype import DTYPES, Array, get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

# Rank 0, size 0 at every place, size 1, and no two axes of one size.
SHAPES = ((), (0,), (1,), (3, 5), (2, 0, 7), (2, 3, 4, 5))
SHARED = Path(__file__).parents[2].parent / "shared" / "checkpoints"


def specs_of_every_type(left_out: Iterable[str] = ()) -> list[TensorSpec]:
    """Return every type with every shape; packed types with those that fill whole bytes."""
    out = set(left_out)
    return [
        TensorSpec(f"part_{number}.{dtype.name}.{index}", shape, dtype)
        for number, dtype in enumerate(DTYPES)
        for index, shape in enumerate(((4, 2), (0,)) if dtype.is_packed else SHAPES)
        if dtype.name not in out
    ]


def random_values(specs: Iterable[TensorSpec], seed: int = 7) -> dict[str, Array]:
    """Return values of every bit pattern: NaNs with payloads, negative zeros, infinities."""
    random = np.random.default_rng(seed)
    return {spec.name: _values(spec, random) for spec in specs}


def _values(spec: TensorSpec, random: np.random.Generator) -> Array:
    top = 2 if spec.dtype.name == "bool" else 256
    raw = random.integers(0, top, spec.nbytes, dtype=np.uint8)
    return raw if spec.dtype.is_packed else raw.view(spec.dtype.numpy).reshape(spec.shape)


def small_manifest(separator: str = ".", **options: Any) -> Manifest:
    """Return a few tensors of float32 and other common types."""
    return Manifest.of(
        [
            TensorSpec(f"conv{separator}weight", (4, 3, 2, 5), get_dtype("float32")),
            TensorSpec(f"conv{separator}bias", (4,), get_dtype("float32")),
            TensorSpec(f"norm{separator}count", (), get_dtype("int64")),
            TensorSpec(f"head{separator}weight", (7, 4), get_dtype("float16")),
        ],
        **options,
    )


def write_file(
    format_id: str,
    path: Path,
    manifest: Manifest,
    values: Mapping[str, Array],
    *,
    metadata: Mapping[str, str] | None = None,
    **options: Any,
) -> tuple[str, ...]:
    """Write a whole target in the order of the manifest."""
    writer = create_writer(format_id, path.parent, path.name, manifest, **options)
    for spec in manifest:
        writer.write(spec.name, 0, values[spec.name])
    return writer.finish(metadata or {})


def assert_holds(checkpoint: Checkpoint, values: Mapping[str, Array]) -> None:
    """Assert that a checkpoint holds exactly these values, bit for bit."""
    assert set(checkpoint.manifest.tensors) == set(values)
    for name, expected in values.items():
        found = checkpoint.read(name)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), name
        assert found.tobytes() == expected.tobytes(), name
