"""Conversion by kind: what a Keras model becomes in PyTorch when no mapping file is given.

Every layer of a known class is paired with the PyTorch module of its kind, under a module name made
of the layer's path. The rows of layers that read flattened features are reordered (see
:mod:`converter.mapping.features`). A layer of a class that nobody knows keeps its variables as they
are, and the plan says so. The same pairings serve the way back, as they are made from the Keras
side alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from converter.errors import MappingError, Problem
from converter.mapping.catalogue import Catalogue
from converter.mapping.features import FeatureOrder, Unknown
from converter.mapping.naming import module_name
from converter.mapping.rules import Kind, Pairing, Rule
from converter.mapping.slots import Slot
from converter.tensors.manifest import Manifest
from converter.tensors.spec import LayerSpec

NAME = "by kind"

_FLATTENED_VECTOR = "(s c) -> (c s)"
_CHANNELS = "c"
_PER_POSITION = {
    2: "prelu_per_position_1d",
    3: "prelu_per_position",
    4: "prelu_per_position_3d",
}


@dataclass(frozen=True, slots=True)
class ByKind:
    """The pairings of one Keras manifest.

    Attributes:
        pairings: In the order of the model.
        assumptions: What the checkpoint could not show, as whole sentences.
        problems: Layers that cannot be converted.
    """

    pairings: tuple[Pairing, ...]
    assumptions: tuple[str, ...]
    problems: tuple[Problem, ...]


def pair_by_kind(manifest: Manifest, catalogue: Catalogue, sizes: Mapping[str, int]) -> ByKind:
    """Pair every layer of a Keras manifest with a PyTorch module.

    Args:
        manifest: A Keras manifest with its layers.
        catalogue: The layer kinds.
        sizes: Sizes given by the user. ``LAYER:c`` is the number of channels that the features of
            that layer were flattened from, 0 for none.
    """
    return _Pairer(manifest, catalogue, sizes).pair()


class _Pairer:
    def __init__(self, manifest: Manifest, catalogue: Catalogue, sizes: Mapping[str, int]) -> None:
        self._manifest = manifest
        self._catalogue = catalogue
        self._sizes = sizes
        self._features = FeatureOrder(manifest.layers)
        self._pairings: list[Pairing] = []
        self._assumptions: list[str] = []
        self._problems: list[Problem] = []
        self._modules: dict[str, str] = {}
        self._noted: dict[str, list[str]] = {}

    def pair(self) -> ByKind:
        taken = ""
        for layer in self._manifest.layers:
            if taken and layer.path.startswith(taken + "/"):
                continue
            if layer.tensors and self._pair_layer(layer):
                taken = layer.path
        noted = [f"{text} ({_listed(layers)})." for text, layers in self._noted.items()]
        assumptions = tuple(dict.fromkeys([*self._assumptions, *noted]))
        return ByKind(tuple(self._pairings), assumptions, tuple(self._problems))

    def _pair_layer(self, layer: LayerSpec) -> bool:
        """Pair one layer; whether its sub-layers are settled with it."""
        try:
            kind = self._catalogue.kind_of(layer)
        except MappingError as error:
            self._problems.append(Problem("refused", layer.path, error.summary, hint=error.hint))
            return True
        kind = self._per_position(layer, kind)
        settled = kind is not None
        if kind is None:
            kind = _kept_as_is(layer, self._owned_below(layer))
            if not kind.slots:
                return False
            what = f"a {layer.class_name}" if layer.class_name else "of an unknown class"
            self._assumptions.append(
                f"layer '{layer.path}' is {what}: its variables are kept in Keras' layout."
            )
        else:
            for note in kind.notes:
                text = note.about(layer.config)
                if text is not None:
                    self._noted.setdefault(text, []).append(layer.path)
        if kind.refuse is not None:
            names = ", ".join(name for slot in kind.slots for name in slot.torch)
            self._assumptions.append(
                f"layer '{layer.path}': {kind.refuse}; its tensors are written for a module of "
                f"your own ({names})."
            )
        kind, sizes = self._with_features(layer, kind)
        module = module_name(layer.path)
        other = self._modules.setdefault(module, layer.path)
        if other != layer.path:
            text = f"and '{other}' would both become the PyTorch module '{module}'"
            self._problems.append(Problem("conflict", layer.path, text))
        rule = Rule(kind.name, layer.path, module, index=len(self._pairings))
        self._pairings.append(Pairing(rule, kind, layer.path, module, sizes))
        return settled

    def _per_position(self, layer: LayerSpec, kind: Kind | None) -> Kind | None:
        """Return the kind of a PReLU with slopes for positions, which no module of PyTorch has."""
        name = layer.tensors.get("alpha")
        if layer.class_name != "PReLU" or name is None:
            return kind
        rank = len(self._manifest.tensors[name].shape)
        if kind is not None and rank == len(str(kind.slots[0].pattern).partition("->")[0].split()):
            return kind
        return self._catalogue.kinds.get(_PER_POSITION.get(rank, ""), kind)

    def _owned_below(self, layer: LayerSpec) -> set[str]:
        """Return the tensors of a layer's sub-layers, which are layers of their own."""
        prefix = f"{layer.path}/" if layer.path else ""
        below = (one for one in self._manifest.layers if one.path.startswith(prefix))
        return {name for one in below if one is not layer for name in one.tensors.values()}

    def _with_features(self, layer: LayerSpec, kind: Kind) -> tuple[Kind, dict[str, int]]:
        """Return the kind that reorders the features of this layer's input, where they need it."""
        if kind.name not in ("dense", "batch_norm") or not self._reads_vector(layer):
            return kind, {}
        channels = self._channels(layer)
        if not channels:
            return kind, {}
        if kind.name == "dense":
            return self._catalogue.kinds["dense_after_flatten"], {_CHANNELS: channels}
        slots = tuple(
            replace(slot, pattern=_FLATTENED_VECTOR) if slot.keras else slot for slot in kind.slots
        )
        return replace(kind, name="batch_norm_after_flatten", slots=slots), {_CHANNELS: channels}

    def _reads_vector(self, layer: LayerSpec) -> bool:
        """Whether the layer can stand behind a Flatten: wrapped layers and images cannot."""
        return layer.class_name is None or layer.class_name in (
            "Dense",
            "BatchNormalization",
            "BatchNormalizationV1",
        )

    def _channels(self, layer: LayerSpec) -> int | None:
        given = self._sizes.get(f"{layer.path}:{_CHANNELS}")
        if given is not None:
            return given
        found = self._features.channels_before_flatten(layer.path)
        if not isinstance(found, Unknown):
            return found
        if any(one.inbound for one in self._manifest.layers):
            self._problems.append(
                Problem(
                    "undetermined",
                    layer.path,
                    f"reads flattened features whose order is not known: {found.why}",
                    hint=f"give the channels before Flatten: --set '{layer.path}:c=64', or "
                    f"--set '{layer.path}:c=0' to keep the rows in Keras' order",
                )
            )
        elif self._has_convolution():
            self._assumptions.append(
                f"{found.why}: the rows of dense layers are kept in Keras' order. Where one "
                "follows a Flatten of an image, give the architecture (--architecture model.json) "
                "or the channels (--set 'LAYER:c=64')."
            )
        return None

    def _has_convolution(self) -> bool:
        return any("Conv" in (one.class_name or "") for one in self._manifest.layers)


def _listed(layers: list[str]) -> str:
    """Return a few names, and how many more there are.

    Examples:
        >>> _listed(["a"]), _listed(["a", "b", "c", "d"])
        ("'a'", "'a', 'b' and 2 more")
    """
    shown = ", ".join(f"'{name}'" for name in layers[:2])
    return shown if len(layers) <= 2 else f"{shown} and {len(layers) - 2} more"


def _kept_as_is(layer: LayerSpec, elsewhere: set[str]) -> Kind:
    """Return a kind for a layer of an unknown class: each of its own variables by its own name."""
    slots = tuple(
        Slot((slot,), (f"variable_{slot}" if slot.isdigit() else slot.replace("/", "."),))
        for slot, name in layer.tensors.items()
        if name not in elsewhere
    )
    return Kind("as_is", (), "", slots, source="the checkpoint's own names")
