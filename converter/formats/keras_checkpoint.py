"""What the readers of Keras files share: a manifest over datasets of one or more HDF5 files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from converter.errors import UnsupportedFileError, UsageError
from converter.formats import authorship
from converter.formats.base import Checkpoint
from converter.formats.hdf5_assembly import AssembledTree, DatasetTree, JoinedTree
from converter.formats.hdf5_tree import Hdf5Tree
from converter.formats.keras_config import ConfigLayer, parse_architecture
from converter.formats.keras_groups import VARS, build_groups
from converter.formats.keras_layers import MisfitError
from converter.formats.keras_quantized import dequantize, wants_dequantized
from converter.formats.keras_tree import NamedTree, name_tree
from converter.formats.source_file import MAX_JSON_BYTES, SourceFile
from converter.formats.wording import cannot_read, quoted
from converter.formats.zip_archive import ZipArchive
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.tensors.spec import LayerSpec, TensorSpec
from converter.tensors.structure import KerasStructure

PROVENANCE = "weightferry"
CONFIG = "config.json"

_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Architecture:
    """The architecture that a reader works with.

    Attributes:
        text: Its JSON.
        model: The same, parsed.
        path: Where it was given separately, or ``None`` where the checkpoint holds it.
    """

    text: str
    model: ConfigLayer
    path: Path | None = None


class KerasFileCheckpoint(Checkpoint):
    """Tensors that are HDF5 datasets; subclasses open the files and name the datasets."""

    def __init__(self, path: str | Path, format_id: str) -> None:
        """Start empty; the subclass fills in manifest, structure and places."""
        self.path: Path = Path(path)
        self.format = format_id
        self._places: dict[str, tuple[DatasetTree, str]] = {}
        self._manifest = Manifest.of(())
        self._structure = KerasStructure()

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes."""
        return self._manifest

    @property
    def structure(self) -> KerasStructure:
        """Where each tensor sits in the file."""
        return self._structure

    def read(self, name: str) -> Array:
        """Return the values of one tensor, a read-only map of the file where they are contiguous.

        Raises:
            KeyError: If the manifest has no such tensor.
            CorruptFileError: If HDF5 cannot read it.
        """
        tree, dataset = self._places[name]
        return tree.read(dataset)

    def release(self, name: str) -> None:
        """Give back the memory that reading ``name`` took."""
        tree, dataset = self._places[name]
        tree.release(dataset)

    def specs(self, places: Mapping[str, tuple[DatasetTree, str]]) -> list[TensorSpec]:
        """Return the specs of named datasets.

        Raises:
            UnsupportedFileError: If the elements of one are no numbers.
        """
        specs = []
        for name, (tree, dataset) in places.items():
            found = tree.datasets[dataset]
            if found.element.dtype is None:
                raise UnsupportedFileError(
                    cannot_read(self.path, f"{quoted(dataset)} holds {found.element.text}"),
                    facts=[("tensor", quoted(name))],
                )
            specs.append(TensorSpec(name, found.shape, found.element.dtype))
        return specs


class KerasStoreCheckpoint(KerasFileCheckpoint):
    """Tensors in the layout of Keras 3: numbered variables below groups."""

    def __init__(self, path: str | Path, format_id: str, select: str | None) -> None:
        """Start empty; ``select`` may ask for the numbers that quantised layers stand for.

        Raises:
            UsageError: If it asks for anything else.
        """
        super().__init__(path, format_id)
        self._dequantizes = wants_dequantized(self.path.name, select)

    def fill(
        self,
        trees: Iterable[Hdf5Tree],
        architecture: Architecture | None,
        *,
        metadata: Mapping[str, str],
        metadata_text: str | None = None,
        notices: Iterable[str] = (),
    ) -> None:
        """Name everything in the files and make the manifest.

        Args:
            trees: The files; datasets of one group may lie in several.
            architecture: What the layers are, or ``None``.
            metadata: Texts for the manifest.
            metadata_text: ``metadata.json``, where there is one.
            notices: What is unusual, known before.

        Raises:
            UnsupportedFileError: If an architecture given separately is not that of the weights,
                or a weight is not made of numbers.
            CorruptFileError: If two files hold one dataset.
        """
        owners: dict[str, Hdf5Tree] = {}
        names: dict[str, str | None] = {}
        for tree in trees:
            for path in tree.datasets:
                if path in owners:
                    raise UnsupportedFileError(
                        cannot_read(self.path, f"two of its files hold {quoted(path)}")
                    )
                owners[path] = tree
            for path, attributes in tree.groups.items():
                if path.replace("\\", "/").rpartition("/")[2] == VARS:
                    name = attributes.get("name")
                    names[path] = name if isinstance(name, str) else names.get(path)
        found, said = self._name(owners, names, architecture)
        shown: DatasetTree = JoinedTree(owners)
        if self._dequantizes:
            shown = AssembledTree(shown, dequantize(found, shown.datasets, self.path.name))
        self._places = {name: (shown, path) for name, path in found.datasets.items()}
        self._manifest = Manifest.of(
            self.specs(self._places),
            family="keras",
            layers=found.layers,
            metadata=metadata,
            notices=[*notices, *said, *said_of_layers(found.layers), *found.notices],
            writer=authorship.converted(metadata, _writer(metadata, names, owners)),
        )
        self._structure = KerasStructure(
            store=found.store,
            groups=found.groups,
            # The architecture asks for codes, which a file of numbers does not hold.
            config=None if architecture is None or self._dequantizes else architecture.text,
            metadata=metadata_text,
            keras_version=metadata.get("keras_version"),
            copies=found.copies,
        )

    def _name(
        self,
        owners: Mapping[str, Hdf5Tree],
        names: Mapping[str, str | None],
        architecture: Architecture | None,
    ) -> tuple[NamedTree, list[str]]:
        if architecture is None:
            return name_tree(build_groups(owners, names), None), []
        try:
            return name_tree(build_groups(owners, names), architecture.model), []
        except MisfitError as error:
            if architecture.path is not None:
                raise UnsupportedFileError(
                    cannot_read(self.path, f"the architecture is not that of the weights: {error}"),
                    facts=[("architecture", str(architecture.path))],
                ) from error
            said = [f"the architecture beside the weights does not fit them: {error}"]
            return name_tree(build_groups(owners, names), None), said


def _writer(
    metadata: Mapping[str, str], names: Mapping[str, str | None], datasets: Iterable[str]
) -> str:
    """Return what wrote a file of Keras 3; weights alone record no version."""
    version = metadata.get("keras_version")
    if version is None:
        return authorship.of_keras_3_weights(names.values(), list(datasets))
    backslashes = any("\\" in path for path in datasets)
    return authorship.of_keras(version, has_backslashes=backslashes)


def said_of_layers(layers: Iterable[LayerSpec]) -> Iterator[str]:
    """Yield what is to be said of layers that are code, and of those with a low-rank addition.

    Source: keras 3.15.1 layers/core/dense.py, ``save_own_variables``: kernels have it in them.
    """
    layers = list(layers)
    code = [quoted(layer.path) for layer in layers if layer.class_name == "Lambda"]
    if code:
        yield f"functions in the file were not run or read: {', '.join(code[:5])} (Lambda)"
    found = [
        f"{quoted(layer.path)} (rank {layer.config['lora_rank']})"
        for layer in layers
        if isinstance(layer.config.get("lora_rank"), int)
    ]
    if found:
        shown = ", ".join(found[:5])
        yield f"LoRA was merged into the weights when Keras saved them: {shown}."


def given_architecture(path: str | Path | None) -> Architecture | None:
    """Read an architecture that was given separately: JSON, or a Keras file that holds one.

    Raises:
        CheckpointError: If it cannot be read, or holds none.
    """
    if path is None:
        return None
    path = Path(path)
    with SourceFile(path) as source:
        head = source.read(0, min(source.size, 8))
        if head.startswith(b"PK"):
            archive = ZipArchive(source)
            held = CONFIG in archive.members
            data = archive.read(CONFIG, max_bytes=MAX_JSON_BYTES) if held else b""
        elif head == _HDF5:
            tree = Hdf5Tree(source)
            tree.close()
            text = tree.groups[""].get("model_config")
            data = text.encode() if isinstance(text, str) else b""
        else:
            data = source.read(0, min(source.size, MAX_JSON_BYTES))
    if not data:
        raise UnsupportedFileError(cannot_read(path, "it holds no architecture"))
    model = parse_architecture(data, what="the architecture", path=path)
    return Architecture(data.decode("utf-8"), model, path)


def reworded(architecture: Architecture, text: str, path: Path) -> Architecture:
    """Return an architecture whose text was put in the words of a newer Keras."""
    if text == architecture.text:
        return architecture
    model = parse_architecture(text.encode(), what="the architecture", path=path)
    return Architecture(text, model, architecture.path)


def refuse_select(path: str | Path, select: str | None) -> None:
    """Refuse to select a part: a Keras file is one model.

    Raises:
        UsageError: If a part is asked for.
    """
    if select is not None:
        name = quoted(Path(path).name)
        raise UsageError(f"cannot select {quoted(select)} in {name}: a Keras file is one model")


def provenance_of(attributes: Mapping[str, object]) -> dict[str, str]:
    """Return the texts that we wrote into the attributes of an HDF5 file."""
    prefix = f"{PROVENANCE}."
    return {
        key.removeprefix(prefix): value
        for key, value in attributes.items()
        if key.startswith(prefix) and isinstance(value, str)
    }
