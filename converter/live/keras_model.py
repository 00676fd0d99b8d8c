"""A live Keras 3 model, or a single layer, seen as a checkpoint.

The manifest has the tensors in exactly the order of ``get_weights()``, so values in that order are
what ``set_weights()`` takes. Where a file would hold each tensor is asked of Keras itself, without
writing anything. All three backends serve; on the torch backend's ``meta`` device there are names
and shapes, but no values.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import CheckpointError, Problem, ProblemsError, shape_text
from converter.formats.base import Checkpoint
from converter.live.keras_names import Names, name_all
from converter.live.keras_structure import Recording, record, structure_of
from converter.live.keras_walk import is_model, walk
from converter.live.kinds import is_keras_layer
from converter.live.torch_module import is_tensor, to_array
from converter.mapping.catalogue import load_catalogue
from converter.tensors.dtype import Array, find_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec
from converter.tensors.structure import KerasStructure


class KerasModelCheckpoint(Checkpoint):
    """The weights of a live Keras 3 model or layer.

    Args:
        model: A built model or layer. A compiled model's optimizer is not part of its weights.

    Attributes:
        model: The same.

    Raises:
        CheckpointError: If it is not a Keras 3 layer, or not built yet.
    """

    path: Path | None = None
    format = "live"

    def __init__(self, model: Any) -> None:
        if not is_keras_layer(model):
            raise CheckpointError(
                f"cannot read {type(model).__name__}: it is not a Keras 3 model or layer"
            )
        if not model.built:
            raise CheckpointError(
                f"cannot read '{model.name}': it is not built, so it has no weights yet",
                hint="call it once on an input, or use model.build(input_shape)",
            )
        self.model = model
        self._variables: dict[str, Any] = {}
        self._manifest = self._read_manifest()

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes, in the order of ``get_weights()``."""
        return self._manifest

    @property
    def label(self) -> str:
        """What messages call this checkpoint."""
        return str(self.model.name)

    @cached_property
    def _recording(self) -> Recording:
        return record(self.model)

    @cached_property
    def _structure(self) -> KerasStructure:
        names = {id(variable): name for name, variable in self._variables.items()}
        return structure_of(self.model, self._recording, names)

    @property
    def structure(self) -> KerasStructure:
        """Where Keras would write each tensor."""
        return self._structure

    def variable(self, name: str) -> Any:
        """Return the live variable of one name.

        Raises:
            KeyError: If there is no such tensor.
        """
        return self._variables[name]

    def read(self, name: str) -> Array:
        """Return the values of one variable; an array that shares no memory with the model.

        Raises:
            KeyError: If there is no such tensor.
            CheckpointError: If the model is on the ``meta`` device and so has no values.
        """
        variable = self._variables[name]
        if _is_meta(variable):
            raise CheckpointError(
                f"cannot read '{name}': the model is on the 'meta' device and has no values",
                hint="build the model without meta=True",
            )
        spec = self._manifest[name]
        return np.array(keras_to_array(variable.value, name), dtype=spec.dtype.numpy, order="C")

    def variables(self) -> Mapping[str, Any]:
        """Return the model's own variables by manifest name."""
        return self._variables

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Set every variable of the model.

        Args:
            arrays: Manifest name to array.

        Raises:
            ProblemsError: If a tensor is missing, unexpected, or of another shape; the model is
                untouched then.
            CheckpointError: If the model is on the ``meta`` device.
        """
        problems = self._problems(arrays)
        if problems:
            raise ProblemsError(f"cannot load into '{self.label}'", problems)
        meta = next((name for name, one in self._variables.items() if _is_meta(one)), None)
        if meta is not None:
            raise CheckpointError(
                f"cannot set '{meta}': the model is on the 'meta' device and holds no values",
                hint="build the model without meta=True",
            )
        for name, variable in self._variables.items():
            variable.assign(arrays[name])

    def _problems(self, arrays: Mapping[str, Array]) -> list[Problem]:
        problems = []
        for spec in self._manifest:
            if spec.name not in arrays:
                text = f"{shape_text(spec.shape)} {spec.dtype}"
                problems.append(Problem("missing", spec.name, text))
            elif np.shape(arrays[spec.name]) != spec.shape:
                found = shape_text(np.shape(arrays[spec.name]))
                text = f"expected {shape_text(spec.shape)}, found {found}"
                problems.append(Problem("mismatched", spec.name, text))
        problems += [
            Problem("unexpected", name, "the model has no such tensor")
            for name in arrays
            if name not in self._manifest
        ]
        return problems

    def _read_manifest(self) -> Manifest:
        root = walk(self.model)
        names = name_all(root, self._recording, load_catalogue())
        specs = []
        for index, variable in enumerate(self.model.weights):
            name = _unique(names, variable, index, self._variables)
            self._variables[name] = variable
            specs.append(_spec(name, variable))
        stored = self._recording.paths()
        notices = [
            f"'{name}' has no place in a Keras weights file: its layer saves in a way of its own"
            for name, variable in self._variables.items()
            if is_model(self.model) and id(variable) not in stored
        ]
        return Manifest.of(specs, family="keras", layers=names.layers, notices=notices)


def _unique(names: Names, variable: Any, index: int, taken: Mapping[str, Any]) -> str:
    """Return a variable's name; that of a list that no layer tracks is its own path."""
    name = names.tensors.get(id(variable)) or str(variable.path)
    return f"{name}_{index}" if name in taken else name


def _spec(name: str, variable: Any) -> TensorSpec:
    # The value's dtype, not the variable's: the torch backend holds a uint16 variable as int32,
    # and that is what a file gets.
    text = variable.value.dtype
    text = str(getattr(text, "name", text)).removeprefix("torch.")
    dtype = find_dtype(text)
    if dtype is None:
        raise CheckpointError(f"cannot read '{name}': no tensor has elements of type {text!r}")
    return TensorSpec(name, tuple(int(size) for size in variable.shape), dtype)


def _is_meta(variable: Any) -> bool:
    return str(getattr(variable.value, "device", "")) == "meta"


def keras_to_array(value: Any, name: str) -> Array:
    """Return the values of a backend's tensor; bfloat16 through ml_dtypes.

    Raises:
        CheckpointError: If it is on the ``meta`` device.
    """
    if is_tensor(value):
        # Keras' own conversion asks NumPy in a way that NumPy 2 warns about.
        return to_array(value, name)
    array: Array = np.asarray(value)
    return array
