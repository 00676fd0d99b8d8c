"""The simplest checkpoint there is: raw values one after the other in a file, and its writer.

Real implementations of the two contracts, small enough to be seen to be right.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converter.algebra.base import Operation
from converter.execution.executor import Written, execute_with
from converter.formats.base import Checkpoint, Writer
from converter.formats.source_file import SourceFile
from converter.planning.plan import Plan, Step
from converter.tensors.dtype import Array, get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec


def specs(shapes: Mapping[str, tuple[int, ...]], dtype: str = "float32") -> list[TensorSpec]:
    return [TensorSpec(name, shape, get_dtype(dtype)) for name, shape in shapes.items()]


def offsets(manifest: Manifest) -> dict[str, int]:
    position = 0
    found = {}
    for spec in manifest:
        found[spec.name] = position
        position += spec.nbytes
    return found


class FlatCheckpoint(Checkpoint):
    """A file of raw values, mapped."""

    format = "flat"

    def __init__(self, path: Path, tensors: Sequence[TensorSpec]) -> None:
        self.path = path
        self._manifest = Manifest.of(tensors)
        self._offsets = offsets(self._manifest)
        self._file = SourceFile(path)
        self.released: list[str] = []

    @property
    def manifest(self) -> Manifest:
        return self._manifest

    def read(self, name: str) -> Array:
        spec = self._manifest[name]
        view = self._file.view(self._offsets[name], spec.nbytes)
        return view if spec.dtype.is_packed else view.view(spec.dtype.numpy).reshape(spec.shape)

    def release(self, name: str) -> None:
        self.released.append(name)
        self._file.release(self._offsets[name], self._manifest[name].nbytes)

    def close(self) -> None:
        self._file.close()


class MemoryCheckpoint(Checkpoint):
    """Arrays in memory."""

    path = None
    format = "live"

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = dict(arrays)
        self._manifest = Manifest.of(
            TensorSpec(name, array.shape, get_dtype(array.dtype)) for name, array in arrays.items()
        )

    @property
    def manifest(self) -> Manifest:
        return self._manifest

    def read(self, name: str) -> Array:
        return self._arrays[name]


class FlatWriter(Writer):
    """Writes ``<name>`` of raw values and ``<name>.json`` with the metadata, the latter last."""

    def __init__(self, folder: Path, name: str, target: Manifest, *, index: bool = False) -> None:
        self._folder = folder
        self._name = name
        self._target = target
        self._offsets = offsets(target)
        self._index = index
        self._descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)

    def write(self, name: str, start: int, block: Array) -> None:
        assert block.flags.c_contiguous
        spec = self._target[name]
        width = 1 if spec.dtype.is_packed else spec.dtype.itemsize
        data = memoryview(block.reshape(-1).view(np.uint8))
        position = self._offsets[name] + start * width
        while data:
            count = os.pwrite(self._descriptor, data, position)
            data = data[count:]
            position += count

    def finish(self, metadata: Mapping[str, str]) -> tuple[str, ...]:
        os.ftruncate(self._descriptor, self._target.nbytes)
        os.close(self._descriptor)
        if not self._index:
            return (self._name,)
        (self._folder / f"{self._name}.json").write_text(json.dumps(dict(metadata)))
        return (self._name, f"{self._name}.json")

    def abort(self) -> None:
        os.close(self._descriptor)


def flat_file(path: Path, arrays: Mapping[str, Array]) -> FlatCheckpoint:
    path.write_bytes(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values()))
    return FlatCheckpoint(
        path,
        [TensorSpec(name, array.shape, get_dtype(array.dtype)) for name, array in arrays.items()],
    )


def read_flat(path: Path, manifest: Manifest) -> dict[str, Array]:
    data = path.read_bytes()
    starts = offsets(manifest)
    return {
        spec.name: np.frombuffer(
            data[starts[spec.name] :][: spec.nbytes], spec.dtype.numpy
        ).reshape(spec.shape)
        for spec in manifest
    }


def make_plan(
    source: Manifest,
    rows: Sequence[tuple[Sequence[str], Sequence[str], Operation]],
    *,
    ties: Mapping[str, str] | None = None,
    also: Sequence[TensorSpec] = (),
) -> Plan:
    """Return a plan of rows (sources, targets, operation); ``also`` are targets besides theirs."""
    steps = []
    found: list[TensorSpec] = []
    for sources, targets, operation in rows:
        shapes = operation.infer([source[name].shape for name in sources])
        dtypes = operation.infer_dtypes([source[name].dtype for name in sources])
        found += [TensorSpec(*row) for row in zip(targets, shapes, dtypes, strict=True)]
        rule = f"{', '.join(sources)} -> {', '.join(targets)}"
        steps.append(Step(tuple(sources), tuple(targets), operation, rule, "", ""))
    target = Manifest.of([*found, *also])
    return Plan(source, target, "torch", "test", tuple(steps), ties=dict(ties or {}))


def save(plan: Plan, source: Checkpoint, target: Path, **options: Any) -> Written:
    return execute_with(
        lambda folder: FlatWriter(folder, target.name, plan.target),
        plan,
        source,
        target,
        **options,
    )


def some_arrays(count: int, seed: int = 1) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {
        f"t{index}": random.standard_normal((3 + index, 5 + 2 * index)).astype(np.float32)
        for index in range(count)
    }
