"""Where each tensor goes in the weights file of Keras 3.15."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from converter.formats.keras_groups import VARS
from converter.formats.keras_legacy_store import groups_below
from converter.mapping.catalogue import Catalogue, Variable, load_catalogue
from converter.tensors.manifest import Manifest
from converter.tensors.structure import KerasStructure
from converter.upgrading.model_text import Placed

KERAS_VERSION = "3.15.1"


class UnplacedError(Exception):
    """Tensors that are not those of their layer.

    Attributes:
        layer: Path of the layer.
    """

    def __init__(self, layer: str, why: str) -> None:
        self.layer = layer
        super().__init__(why)


def structure_of(
    placed: Iterable[Placed], manifest: Manifest, *, name: str, config: str
) -> KerasStructure:
    """Return the skeleton of the new file.

    A layer that is in two models has its tensors in the file twice.

    Args:
        placed: The layers.
        manifest: The tensors.
        name: Name of the model.
        config: Text of its description.

    Raises:
        UnplacedError: If a layer's tensors are not those of its class.
    """
    catalogue = load_catalogue()
    store: dict[str, str] = {}
    copies: dict[str, str] = {}
    groups: dict[str, str | None] = {VARS: name}
    for layer in placed:
        groups[f"{layer.place}/{VARS}"] = layer.name
        if layer.is_model:
            continue
        for tensor, variable in _variables(catalogue, layer, manifest).items():
            first, *others = (f"{layer.place}/{one}" for one in (variable.store, *variable.also))
            if tensor in store:
                others = [first, *others]
            else:
                store[tensor] = first
            copies.update(dict.fromkeys(others, tensor))
            for group, below in groups_below(variable):
                groups.setdefault(f"{layer.place}/{group}/{VARS}", below)
    return KerasStructure(
        store=store, copies=copies, groups=groups, config=config, keras_version=KERAS_VERSION
    )


def _variables(catalogue: Catalogue, layer: Placed, manifest: Manifest) -> Mapping[str, Variable]:
    """Return tensor name to variable for everything below a layer."""
    prefix = f"{layer.path}/"
    names = [name.removeprefix(prefix) for name in manifest.tensors if name.startswith(prefix)]
    if not names and not catalogue.needs_weights(layer.class_name, layer.config):
        return {}
    found = catalogue.named_variables(layer.class_name, layer.config, names)
    if found is None and not names:
        raise UnplacedError(layer.path, "the file holds no weights of it")
    if found is None:
        shown = ", ".join(names[:4])
        raise UnplacedError(
            layer.path, f"its tensors ({shown}) are not those of a {layer.class_name}"
        )
    return {f"{prefix}{name}": variable for name, variable in found.items()}
