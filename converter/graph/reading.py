"""The graph of a Keras model, from an open checkpoint or from the text of a configuration.

Nothing is deserialised: a configuration is data here, also that of a file which no Keras opens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converter.errors import CorruptFileError, UnsupportedFileError
from converter.formats.base import Checkpoint
from converter.formats.keras_1_config import upgrade
from converter.formats.keras_config import read_architecture
from converter.formats.keras_cudnn import translate_config
from converter.formats.wording import quoted
from converter.graph.assembly import MAX_NESTING, Assembly
from converter.graph.connections import MalformedError
from converter.graph.first_input import input_of_weights
from converter.graph.layers import LayerReader, is_model, layer_name
from converter.graph.nodes import Graph, ValueSpec
from converter.graph.paths import Paths
from converter.graph.shape_rules import ShapeError
from converter.tensors.manifest import Manifest

_KERAS_1 = re.compile(
    r'"(nb_filter|border_mode|inner_activation|dim_ordering|W_regularizer|consume_less)"\s*:'
)


def read_graph(checkpoint: Checkpoint) -> Graph:
    """Return the graph of the model whose weights a checkpoint holds.

    Args:
        checkpoint: A Keras file that holds its architecture or was opened with one, or a live
            Keras model, as :func:`converter.open` returns them.

    Raises:
        UnsupportedFileError: If it holds no architecture, or one without a graph.
        CorruptFileError: If its architecture contradicts itself.
    """
    structure = checkpoint.structure
    text = getattr(structure, "config", None) or getattr(structure, "old_config", None)
    if not isinstance(text, str):
        raise UnsupportedFileError(
            f"cannot read the graph of {quoted(checkpoint.label)}: it holds no architecture",
            hint="give the JSON that model.to_json() wrote, or a Keras file of the model, with "
            "--architecture",
        )
    version = checkpoint.manifest.metadata.get("keras_version")
    return read_graph_text(
        text, label=checkpoint.label, version=version, manifest=checkpoint.manifest
    )


def read_graph_text(
    text: str,
    *,
    label: str = "the architecture",
    version: str | None = None,
    manifest: Manifest | None = None,
) -> Graph:
    """Return the graph that the text of a configuration says.

    Args:
        text: ``config.json`` of a ``.keras`` file, the attribute ``model_config`` of an HDF5 file,
            or what ``model.to_json()`` returns, of Keras 1, 2 or 3.
        label: What messages call it.
        version: The Keras that wrote it, where that is known; told from the text otherwise.
        manifest: The manifest whose layers have the same paths; they are numbered from the
            configuration alone otherwise.

    Raises:
        UnsupportedFileError: If it is no architecture, or one without a graph.
        CorruptFileError: If it contradicts itself.

    Examples:
        >>> from pathlib import Path
        >>> graph = read_graph_text('''{"class_name": "Sequential", "config": [
        ...     {"class_name": "Dense", "config": {"name": "head", "output_dim": 3,
        ...      "W_regularizer": null, "batch_input_shape": [null, 7]}}]}''')
        >>> [(call.name, call.outputs[0].shape) for call in graph.calls]
        [('head_input', (None, 7)), ('head', (None, 3))]
    """
    path = Path(label)
    written = read_architecture(text.encode(), what="the architecture", path=path)
    said = written.get("keras_version", version)
    generation = _generation(text, said if isinstance(said, str) else version)
    if generation == 1:
        text = upgrade(text, path)
    written = read_architecture(translate_config(text).encode(), what="the architecture", path=path)
    if not is_model(written):
        kind = written["class_name"]
        raise UnsupportedFileError(
            f"cannot read the graph of {quoted(label)}: a model of class {quoted(kind)} is Python "
            "code, of which its configuration says no layers and no calls",
            facts=[("config", ", ".join(sorted(written["config"])[:8]) or "empty")],
        )
    reading = _Reading(written, generation, manifest)
    try:
        return reading.model(written, "")
    except MalformedError as error:
        raise CorruptFileError(f"cannot read the graph of {quoted(label)}: {error}") from error
    except ShapeError as error:
        raise UnsupportedFileError(
            f"cannot read the graph of {quoted(label)}: no shape fits {error}"
        ) from error


class _Reading:
    """One configuration being read, models inside models included."""

    def __init__(
        self, written: Mapping[str, Any], generation: int, manifest: Manifest | None
    ) -> None:
        layers = manifest.layers if manifest is not None else ()
        self._manifest = manifest
        self._depth = 0
        self._reader = LayerReader(generation, "channels_last", Paths(written, layers), self.model)

    def model(self, written: Mapping[str, Any], path: str) -> Graph:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise MalformedError(f"its models are more than {MAX_NESTING} deep in each other")
        try:
            return Assembly(self._reader, written, path).graph(self._first_input(path))
        except MalformedError as error:
            if not path:
                raise
            raise MalformedError(f"model '{layer_name(written)}': {error}") from error
        finally:
            self._depth -= 1

    def _first_input(self, path: str) -> ValueSpec | None:
        if self._manifest is None:
            return None
        return input_of_weights(self._manifest, path)


def _generation(text: str, version: str | None) -> int:
    """Return which Keras wrote a configuration."""
    digit = version[:1] if version else ""
    if digit in ("1", "2", "3"):
        return int(digit)
    if _KERAS_1.search(text):
        return 1
    is_3 = '"__keras_tensor__"' in text or '"build_input_shape"' in text or '"batch_shape"' in text
    return 3 if is_3 else 2
