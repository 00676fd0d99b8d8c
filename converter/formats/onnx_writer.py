"""An ONNX file is written after an existing one: its graph with other values in it.

The graph stays as it is, byte for byte. Each value goes to where the reader found it, in the
layout that it has there. What cannot be a parameter of this graph is refused before anything is
written: a product with a BatchNormalization has no inverse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from converter.errors import UsageError, WriteError, shape_text
from converter.formats.base import Checkpoint, Writer
from converter.formats.onnx_graph import RAW_DATA, Tensor
from converter.formats.onnx_layout import Edit, Kept, Layout, Room, Text, entry, header
from converter.formats.onnx_placement import Parameter
from converter.formats.onnx_reader import MAX_BYTES, OnnxCheckpoint
from converter.formats.source_file import SourceFile
from converter.formats.target_file import TargetFile
from converter.formats.wording import quoted
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec
from converter.tensors.structure import KerasStructure

_COPIED = 8 * 2**20  # bytes at once
_OUR_KEYS = "weightferry"
_METADATA_PROPS = 14  # of a ModelProto
_EXTERNAL_DATA = 13  # of a TensorProto
_MAX_SHOWN = 20


class OnnxWriter(Writer):
    """Writes one ONNX file, and the files of weights beside it where its model has them."""

    def __init__(
        self,
        folder: Path,
        name: str,
        target: Manifest,
        *,
        format_id: str = "onnx",
        structure: KerasStructure | None = None,
        max_shard_size: int | None = None,
        like: Checkpoint | None = None,
    ) -> None:
        """Copy the existing file; its values are replaced one by one.

        Args:
            folder: Where the files go.
            name: File name.
            target: Every tensor.
            format_id: Not used: there is one.
            structure: Not used: the graph is that of ``like``.
            max_shard_size: Not used: the format has no shards.
            like: The ONNX file whose graph is kept.

        Raises:
            UsageError: If there is no such file.
            WriteError: If the tensors are not those of the graph, or its parameters are products.
            OSError: If the files cannot be created or the disk is full.
        """
        del format_id, structure, max_shard_size
        if like is None or like.format != "onnx" or like.path is None:
            raise UsageError(
                f"cannot write {quoted(name)}: weights do not say which graph they are for",
                hint="name an ONNX file of the same model: --like model.onnx",
            )
        self._name = name
        self._like = OnnxCheckpoint(like.path)
        self._files: list[TargetFile] = []
        try:
            self._check(target)
            self._create(folder)
        except BaseException:
            self.abort()
            raise

    def write(self, name: str, start: int, block: Array) -> None:
        """Put a block where its elements lie in the graph's tensor."""
        parameter = self._like.parameters[name]
        file, offset = self._place(parameter)
        flat = np.ascontiguousarray(block).reshape(-1)
        if parameter.placement.is_transposed:
            _write_transposed(file.path, offset, parameter, start, flat)
            return
        width = parameter.spec.dtype.itemsize
        for here, there, count in parameter.segments(start, flat.size):
            file.write(offset + there * width, flat[here - start : here - start + count])

    def finish(self, metadata: Mapping[str, str]) -> tuple[str, ...]:
        """Add the texts of ``metadata`` and close the files."""
        notes = b"".join(
            entry(_METADATA_PROPS, f"{_OUR_KEYS}.{key.removeprefix(f'{_OUR_KEYS}.')}", text)
            for key, text in metadata.items()
        )
        self._model.write(self._layout.nbytes, notes)
        for file in self._files:
            file.close()
        self._like.close()
        return tuple(file.path.relative_to(self._folder).as_posix() for file in self._files)

    def abort(self) -> None:
        """Close the files."""
        for file in self._files:
            file.abandon()
        self._like.close()

    def _check(self, target: Manifest) -> None:
        found = self._like.found
        if found.folded:
            raise WriteError(
                f"cannot write {quoted(self._name)}: BatchNormalization was folded into the "
                f"weights of {quoted(self._like.label)}",
                facts=[("module", quoted(module)) for module in found.folded[:_MAX_SHOWN]],
                hint="export the graph without it: torch.onnx.export(..., optimize=False), or "
                "do_constant_folding=False with dynamo=False",
            )
        facts = [*self._misfits(target), *self._absent(target)]
        if facts:
            raise WriteError(
                f"cannot write {quoted(self._name)}: its tensors are not those of the graph "
                f"of {quoted(self._like.label)}",
                facts=facts[:_MAX_SHOWN],
            )

    def _misfits(self, target: Manifest) -> Iterator[tuple[str, str]]:
        manifest = self._like.manifest
        for spec in target:
            if spec.name not in manifest:
                yield "unexpected", _spec_text(spec)
            elif (spec.shape, spec.dtype) != (manifest[spec.name].shape, manifest[spec.name].dtype):
                yield (
                    "tensor",
                    f"{_spec_text(spec)}; the graph has {_spec_text(manifest[spec.name])}",
                )

    def _absent(self, target: Manifest) -> Iterator[tuple[str, str]]:
        for name in self._like.manifest.tensors:
            if name not in target:
                yield "missing", quoted(name)

    def _create(self, folder: Path) -> None:
        self._folder = folder
        beside = self._like.beside
        names = {
            location: f"{self._name}.data" if len(beside) == 1 else f"{self._name}.{number}.data"
            for number, location in enumerate(beside)
        }
        source = self._like.source
        with source.view(0, source.size).data as data:
            self._layout = Layout(data, self._edits(names))
        if self._layout.nbytes > MAX_BYTES:
            raise WriteError(f"cannot write {quoted(self._name)}: it would be larger than 2 GiB")
        self._beside = {}
        for location, file in beside.items():
            copied = self._start(folder / names[location], file.size)
            self._beside[file.identity] = copied
            _copy(file, Kept(0, file.size), copied, 0)
        self._model = self._start(folder / self._name, self._layout.nbytes)
        for position, piece in self._layout.pieces:
            if isinstance(piece, Kept):
                _copy(source, piece, self._model, position)
            elif isinstance(piece, Text):
                self._model.write(position, piece.data)

    def _start(self, path: Path, size: int) -> TargetFile:
        file = TargetFile(path, size)
        self._files.append(file)
        return file

    def _edits(self, names: Mapping[str, str]) -> Iterator[Edit]:
        """Yield what changes beside the values: where they are, and how small ones are written."""
        seen = set()
        for parameter in self._like.found.named:
            tensor = parameter.stored.tensor
            if tensor.name in seen:
                continue
            seen.add(tensor.name)
            if parameter.stored.offset is None and tensor.data:
                yield from _as_bytes(tensor, parameter.stored.spec)
        for tensor in self._like.model.tensors.values():
            if tensor.is_external:
                yield from _elsewhere(tensor, names)
        for key, span in self._like.model.notes:
            if key.startswith(_OUR_KEYS):  # of the conversion that made the existing file
                yield Edit(span, (), ())

    def _place(self, parameter: Parameter) -> tuple[TargetFile, int]:
        stored = parameter.stored
        name = stored.spec.name
        if stored.offset is None:
            return self._model, self._layout.rooms.get(name, 0)
        file = self._beside.get(stored.source.identity)
        if file is not None:
            return file, stored.offset
        return self._model, self._layout.position(stored.offset) if stored.spec.nbytes else 0


def _as_bytes(tensor: Tensor, spec: TensorSpec) -> Iterator[Edit]:
    """Numbers of varying length give way to bytes, which any value fits."""
    for index, one in enumerate(tensor.data):
        room = (Text(header(RAW_DATA, spec.nbytes)), Room(tensor.name, spec.nbytes))
        yield Edit(one.span, tensor.within, room if index == 0 else ())


def _elsewhere(tensor: Tensor, names: Mapping[str, str]) -> Iterator[Edit]:
    """The new file names its own files, and no checksum of old values."""
    for key, text, span in tensor.external:
        if key == "location" and names.get(text, text) != text:
            renamed = entry(_EXTERNAL_DATA, key, names[text])
            yield Edit(span, tensor.within, (Text(renamed),))
        elif key == "checksum":
            yield Edit(span, tensor.within, ())


def _copy(source: SourceFile, piece: Kept, target: TargetFile, position: int) -> None:
    for start in range(piece.start, piece.stop, _COPIED):
        count = min(_COPIED, piece.stop - start)
        target.write(position + start - piece.start, source.view(start, count))
        source.release(start, count)


def _write_transposed(
    path: Path, offset: int, parameter: Parameter, start: int, block: Array
) -> None:
    """Put elements of a matrix at their places in its transpose."""
    if not block.size:
        return
    spec = parameter.stored.spec
    # Dropping the map writes it; the descriptor that it holds is closed with it.
    mapped = np.memmap(path, np.uint8, "r+", offset, (spec.nbytes,))
    matrix = mapped.view(np.ndarray).view(spec.dtype.numpy).reshape(spec.shape).T
    columns = matrix.shape[1]
    if start % columns or block.size % columns:
        matrix.flat[start : start + block.size] = block
    else:
        first = start // columns
        rows = block.reshape(-1, columns)
        matrix[first : first + len(rows)] = rows


def _spec_text(spec: TensorSpec) -> str:
    return f"{quoted(spec.name)}  {shape_text(spec.shape)} {spec.dtype}"
