"""NumPy archives are written stored and in C order, every array at its place from the start."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np

from converter.errors import WriteError, shape_text
from converter.formats.base import Writer
from converter.formats.wording import quoted
from converter.formats.zip_target import ZipTarget
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec
from converter.tensors.structure import KerasStructure


class NpzWriter(Writer):
    """Writes one ``.npz``; members are named after the tensors."""

    def __init__(
        self,
        folder: Path,
        name: str,
        target: Manifest,
        *,
        format_id: str = "npz",
        structure: KerasStructure | None = None,
        max_shard_size: int | None = None,
    ) -> None:
        """Create the file and reserve its space.

        Args:
            folder: Where the file goes.
            name: File name.
            target: Every tensor.
            format_id: Not used: there is one.
            structure: Not used: the format has names.
            max_shard_size: Not used: the format has no shards.

        Raises:
            WriteError: If a tensor has a type that NumPy's files do not have, or a name that is
                no name of a file in an archive.
            OSError: If the file cannot be created or the disk is full.
        """
        del format_id, structure, max_shard_size
        for spec in target:
            _check(spec, name)
        self._name = name
        self._headers = {spec.name: _header(spec) for spec in target}
        self._widths = {spec.name: spec.dtype.itemsize for spec in target}
        members = [
            (f"{spec.name}.npy", len(self._headers[spec.name]) + spec.nbytes) for spec in target
        ]
        self._zip = ZipTarget(folder / name, members)
        try:
            for tensor, header in self._headers.items():
                self._zip.write(f"{tensor}.npy", 0, header)
        except BaseException:
            self.abort()
            raise

    def write(self, name: str, start: int, block: Array) -> None:
        """Put a block at its position in its member."""
        offset = len(self._headers[name]) + start * self._widths[name]
        self._zip.write(f"{name}.npy", offset, block)

    def finish(self, metadata: Mapping[str, str]) -> tuple[str, ...]:
        """Write the directory; the format has no place for texts."""
        del metadata
        self._zip.finish()
        return (self._name,)

    def abort(self) -> None:
        """Close the file."""
        self._zip.file.abandon()


def _header(spec: TensorSpec) -> bytes:
    """Return the header of an array in C order; its size is a multiple of 64 bytes."""
    buffer = BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer,
        {
            "descr": np.lib.format.dtype_to_descr(spec.dtype.numpy),
            "fortran_order": False,
            "shape": spec.shape,
        },
    )
    return buffer.getvalue()


def _check(spec: TensorSpec, name: str) -> None:
    # NumPy itself has the types of these kinds; ml_dtypes would be written as raw bytes ("|V2").
    if (
        spec.dtype.is_packed
        or spec.dtype.numpy.kind not in "biufc"
        or spec.dtype.numpy.isbuiltin != 1
    ):
        raise WriteError(
            f"cannot write {quoted(name)}: NumPy archives have no type {spec.dtype}",
            facts=[("tensor", f"{quoted(spec.name)}  {shape_text(spec.shape)} {spec.dtype}")],
            hint="write safetensors, or cast with --dtype float32",
        )
    try:
        spec.name.encode()
    except UnicodeEncodeError as error:
        raise WriteError(
            f"cannot write {quoted(name)}: the name of a tensor is not Unicode",
            facts=[("tensor", quoted(spec.name))],
        ) from error
    parts = spec.name.split("/")
    if any(part in {"", ".", ".."} for part in parts) or any(mark in spec.name for mark in "\\\0:"):
        raise WriteError(
            f"cannot write {quoted(name)}: an archive cannot have a member of this name",
            facts=[("tensor", quoted(spec.name))],
        )
