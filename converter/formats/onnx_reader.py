"""ONNX files: the weights of a graph, under the names and in the layouts of PyTorch.

Nothing is executed and no other library reads the file. A matrix is (out, in), whichever way its
node multiplies: where the file has it the other way round, reading gives a transposed view of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from converter.errors import CheckpointError
from converter.formats import authorship
from converter.formats.base import Checkpoint
from converter.formats.onnx_graph import Model, parse_model
from converter.formats.onnx_parameters import Parameters, describe, find_parameters, metadata_of
from converter.formats.onnx_placement import Parameter
from converter.formats.onnx_storage import Storage
from converter.formats.onnx_wire import Wire
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read, refuse_select
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest

MAX_BYTES = 2**31 - 1  # of a message; larger models keep their weights in other files


class OnnxCheckpoint(Checkpoint):
    """The parameters of an ONNX model.

    Attributes:
        source: The file.
        model: What it says.
        found: Its parameters and what is unusual about them.
        parameters: The parameters by name.
    """

    format = "onnx"

    def __init__(
        self, path: Path, *, select: str | None = None, architecture: object = None
    ) -> None:
        """Open a file and read its graph.

        Args:
            path: The file.
            select: Nothing can be selected; refused when given.
            architecture: Not used: the graph is there.

        Raises:
            UsageError: If ``select`` is given.
            CheckpointError: If it is damaged, unsafe, or holds no weights.
        """
        del architecture
        refuse_select(path, select)
        self.path: Path = path
        self.source = SourceFile(path, max_bytes=MAX_BYTES)
        self._storage: Storage | None = None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        with self.source.view(0, self.source.size).data as data:
            wire = Wire(data, self.path)
            model = parse_model(wire)
            self._storage = Storage(self.source, wire)
            found = find_parameters(model, self._storage, self.path)
        if not found.named:
            raise CheckpointError(cannot_read(self.path, "it is an ONNX model without weights"))
        self.model: Model = model
        self.found: Parameters = found
        self.parameters: dict[str, Parameter] = {one.name: one for one in found.named}
        if len(self.parameters) != len(found.named):
            raise CheckpointError(cannot_read(self.path, "two of its parameters have one name"))
        self._manifest = Manifest.of(
            (one.spec for one in found.named),
            family="torch",
            ties={further: name for further, name in found.ties.items() if name in self.parameters},
            metadata=metadata_of(model),
            notices=describe(found, model),
            writer=authorship.converted(
                model.metadata,
                authorship.of_onnx(
                    model.producer, model.version, model.opsets.get(""), model.ir_version
                ),
            ),
        )

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes; parameters that share a tensor are ties."""
        return self._manifest

    @property
    def beside(self) -> Mapping[str, SourceFile]:
        """The files that hold weights, by the name that the model gives them."""
        return self._storage.beside if self._storage is not None else {}

    @property
    def files(self) -> tuple[Path, ...]:
        """The model, and the files that hold its weights."""
        return (self.path, *(source.path for source in self.beside.values()))

    def read(self, name: str) -> Array:
        """Return one parameter: a read-only map where it lies as it is read."""
        return self.parameters[self._manifest.ties.get(name, name)].read()

    def release(self, name: str) -> None:
        """Drop the pages of one parameter."""
        self.parameters[self._manifest.ties.get(name, name)].stored.release()

    def close(self) -> None:
        """Close all files."""
        if self._storage is not None:
            self._storage.close()
        self.source.close()
