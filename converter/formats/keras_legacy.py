"""Legacy HDF5: what Keras 1 and 2 wrote and Keras 3 writes to ``.h5``, a model or weights only.

Weights are found by the attributes ``layer_names`` and ``weight_names`` and told apart by name,
never by position: the order inside a nested layer depends on what was frozen when it was saved.
Without an architecture the class of a layer is known only where names or variables show it.

Source: keras 3.15.1 ``legacy/saving/legacy_h5_format.py``; tf_keras 2.21 ``saving/hdf5_format.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import CheckpointError, CorruptFileError, UnsupportedFileError
from converter.formats import authorship
from converter.formats.hdf5_assembly import AssembledTree, DatasetTree
from converter.formats.hdf5_tree import Hdf5Tree
from converter.formats.keras_1 import Reading, is_keras_1, upgrade_weights
from converter.formats.keras_1_config import upgrade
from converter.formats.keras_1_features import move_features
from converter.formats.keras_checkpoint import (
    Architecture,
    KerasFileCheckpoint,
    given_architecture,
    provenance_of,
    refuse_select,
    reworded,
    said_of_layers,
)
from converter.formats.keras_config import missing_architecture, parse_architecture
from converter.formats.keras_cudnn import translate_config, translate_weights
from converter.formats.keras_layers import MisfitError
from converter.formats.keras_legacy_tree import TOP_LEVEL, LegacyTree, name_legacy
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read, quoted
from converter.tensors.manifest import Manifest

_MODEL_GROUP = "model_weights"

Weights = Mapping[str, list[tuple[str, str]]]


class KerasLegacy(KerasFileCheckpoint):
    """A legacy HDF5 file.

    Args:
        path: The file.
        select: How a file of Keras 1 is to be read (``"tf_dim_ordering_th_kernels"``, or a part of
            that); refused for any other.
        architecture: A JSON file with the architecture, or ``None`` to use the one in the file.

    Raises:
        CheckpointError: If the file cannot be read, or the architecture is not that of it.
        UsageError: If ``select`` means nothing for this file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        select: str | None = None,
        architecture: str | Path | None = None,
    ) -> None:
        super().__init__(path, "keras_legacy")
        self._select = select
        self._reading = Reading.parse(select, self.path.name)
        given = given_architecture(architecture)
        self._source = SourceFile(self.path)
        try:
            self._tree = Hdf5Tree(self._source)
            self._shown: DatasetTree = self._tree
            self._old_config: str | None = None
            self._read(given)
        except BaseException:
            self._source.close()
            raise

    def _read(self, given: Architecture | None) -> None:
        self._group = _MODEL_GROUP if _MODEL_GROUP in self._tree.groups else ""
        attributes, root = self._tree.groups[self._group], self._tree.groups[""]
        weights: Weights = self._weights(_texts(attributes, "layer_names"))
        version = _text(attributes, "keras_version")
        notices: list[str] = []
        architecture = given or self._architecture(notices)
        is_old = is_keras_1(version, _text(root, "keras_version"), weights)
        if is_old:
            found = self._name_old(weights, architecture, notices)
            recorded = _text(root, "keras_version")
            listed = [name for values in weights.values() for name, _ in values]
            writer = authorship.of_keras_1(recorded, listed)
            version = recorded or "1"
        else:
            writer = authorship.of_keras(version, backend=_text(attributes, "backend"))
            refuse_select(self.path, self._select)
            weights, architecture = self._without_cudnn(weights, architecture, notices)
            found = self._name(weights, architecture, notices)
        self._places = {name: (self._shown, dataset) for name, dataset in found.datasets.items()}
        metadata = provenance_of(root)
        if version is not None:
            metadata["keras_version"] = version
        self._manifest = Manifest.of(
            self.specs(self._places),
            family="keras",
            layers=found.layers,
            metadata=metadata,
            notices=[*notices, *said_of_layers(found.layers), *found.notices],
            writer=authorship.converted(metadata, writer),
        )
        self._structure = replace(
            found.keras_3,
            legacy={
                layer: tuple((found.names[dataset], weight) for weight, dataset in values)
                for layer, values in self._named.items()
            },
            # What is written anew is no file of Keras 1, whose architecture nothing reads.
            config=architecture.text if architecture is not None and not is_old else None,
            keras_version=None if is_old else version,
            backend=None if is_old else _text(attributes, "backend"),
            old_config=self._old_config,
        )

    def _without_cudnn(
        self, weights: Weights, architecture: Architecture | None, notices: list[str]
    ) -> tuple[Weights, Architecture | None]:
        """Make layers of CuDNN those that they stand for; ``self._shown`` has their values."""
        weights, made, layers = translate_weights(weights, self._tree.datasets)
        if layers:
            shown = ", ".join(map(quoted, layers[:5]))
            notices.append(f"CuDNN layers have the names and layouts of LSTM and GRU: {shown}.")
            self._shown = AssembledTree(self._tree, made)
        if architecture is not None:
            architecture = reworded(architecture, translate_config(architecture.text), self.path)
        return weights, architecture

    def _name_old(
        self,
        weights: Weights,
        architecture: Architecture | None,
        notices: list[str],
    ) -> LegacyTree:
        """Name what Keras 1 wrote; ``self._shown`` then has what its arrays become."""
        if architecture is not None:
            text = upgrade(architecture.text, self.path)
            architecture = reworded(architecture, text, self.path)
            self._old_config = architecture.text
        old = upgrade_weights(
            weights,
            self._tree.datasets,
            architecture.model if architecture is not None else None,
            self._reading,
        )
        notices.extend(old.notices)
        self._shown = AssembledTree(self._tree, old.made)
        found = self._name(old.weights, architecture, notices, old.classes)
        if old.is_th:
            moved, said = move_features(found, old.made, self._shown.datasets)
            self._shown = AssembledTree(self._tree, {**old.made, **moved})
            notices.extend(said)
        return found

    def _weights(self, layers: list[str]) -> dict[str, list[tuple[str, str]]]:
        """Return name and dataset of the weights of each layer, in the order of the file."""
        if len(set(layers)) != len(layers):
            raise CorruptFileError(cannot_read(self.path, "two layers have one name"))
        own = f"{self._group}/{TOP_LEVEL}" if self._group else TOP_LEVEL
        names = [*layers, TOP_LEVEL] if own in self._tree.groups else layers
        found: dict[str, list[tuple[str, str]]] = {}
        for layer in names:
            group = f"{self._group}/{layer}" if self._group else layer
            if group not in self._tree.groups:
                raise CorruptFileError(
                    cannot_read(self.path, f"it lists the layer {quoted(layer)} and lacks it")
                )
            found[layer] = []
            for weight in _texts(self._tree.groups[group], "weight_names"):
                dataset = f"{group}/{weight}"
                if dataset not in self._tree.datasets:
                    raise CorruptFileError(
                        cannot_read(
                            self.path, f"it lists the weight {quoted(weight)} and lacks it"
                        ),
                        facts=[("layer", quoted(layer))],
                    )
                found[layer].append((weight, dataset))
            if len({weight for weight, _ in found[layer]}) != len(found[layer]):
                raise CorruptFileError(
                    cannot_read(self.path, f"two weights of {quoted(layer)} have one name")
                )
        return found

    def _architecture(self, notices: list[str]) -> Architecture | None:
        text = _text(self._tree.groups[""], "model_config")
        if text is None:
            return None
        try:
            model = parse_architecture(text.encode(), what="model_config", path=self.path)
        except CheckpointError as error:
            notices.append(missing_architecture(self.path, error.summary))
            return None
        return Architecture(text, model)

    def _name(
        self,
        weights: Weights,
        architecture: Architecture | None,
        notices: list[str],
        classes: Mapping[str, str] | None = None,
    ) -> LegacyTree:
        self._named = weights
        shapes = {path: dataset.shape for path, dataset in self._shown.datasets.items()}
        model = architecture.model if architecture is not None else None
        try:
            return name_legacy(weights, model, shapes, self._same, classes)
        except MisfitError as error:
            why = f"the architecture is not that of the weights: {error}"
            if architecture is not None and architecture.path is not None:
                raise UnsupportedFileError(
                    cannot_read(self.path, why), facts=[("architecture", str(architecture.path))]
                ) from error
            notices.append(why)
            return name_legacy(weights, None, shapes, self._same, classes)

    def _same(self, one: str, other: str) -> bool:
        first, second = self._shown.read(one), self._shown.read(other)
        return first.dtype == second.dtype and bool(
            np.array_equal(first.reshape(-1).view(np.uint8), second.reshape(-1).view(np.uint8))
        )

    def close(self) -> None:
        """Close the file."""
        self._tree.close()
        self._source.close()


def _texts(attributes: Mapping[str, Any], name: str) -> list[str]:
    """Return a list attribute, which is in several pieces when it is long.

    Source: keras 3.15.1 ``save_attributes_to_hdf5_group``: pieces of at most 64,512 bytes.
    """
    if name in attributes:
        pieces = [attributes[name]]
    else:
        pieces = []
        while f"{name}{len(pieces)}" in attributes:
            pieces.append(attributes[f"{name}{len(pieces)}"])
    return [text for piece in pieces if isinstance(piece, list) for text in piece]


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    value = attributes.get(name)
    return value if isinstance(value, str) else None
