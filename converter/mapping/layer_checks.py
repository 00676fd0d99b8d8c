"""Compare what a rule says about a Keras layer with what the layer's class and graph say.

A rule decides; but where the checkpoint itself shows that a layer is of another class than the kind
serves, or reads features in another order, a plausible shape would hide the mistake.
"""

from __future__ import annotations

from collections.abc import Iterable

from converter.errors import Problem
from converter.mapping.catalogue import Catalogue
from converter.mapping.claims import layer_index
from converter.mapping.features import FeatureOrder, Unknown
from converter.mapping.rules import Kind, Pairing
from converter.tensors.manifest import Manifest
from converter.tensors.spec import LayerSpec

_DENSE = "dense"
_AFTER_FLATTEN = "dense_after_flatten"
_CHANNELS = "c"


def check_layers(
    pairings: Iterable[Pairing], keras: Manifest | None, catalogue: Catalogue
) -> list[Problem]:
    """Return what contradicts the pairings in the Keras side's own classes and graph."""
    if keras is None:
        return []
    layers = layer_index(keras)
    known = {_base(name) for kind in catalogue.kinds.values() for name in kind.keras}
    features = FeatureOrder(keras.layers)
    problems = []
    for pairing in pairings:
        layer = layers.get(pairing.layer)
        if layer is None:
            continue
        problem = _check_class(pairing, layer, known)
        if problem is None and pairing.kind.name in (_DENSE, _AFTER_FLATTEN):
            problem = _check_features(pairing, features)
        if problem is not None:
            problems.append(problem)
    return problems


def _check_class(pairing: Pairing, layer: LayerSpec, known: set[str]) -> Problem | None:
    name = layer.class_name
    serves = {_base(one) for one in pairing.kind.keras}
    if name is None or not serves or name in serves or name not in known:
        return None
    text = f"is a {name}; kind '{pairing.kind.name}' serves {_listed(pairing.kind)}"
    return Problem("mismatched", layer.path, text, str(pairing.rule))


def _check_features(pairing: Pairing, features: FeatureOrder) -> Problem | None:
    found = features.channels_before_flatten(pairing.layer)
    if isinstance(found, Unknown):
        return None
    said = pairing.sizes.get(_CHANNELS) if pairing.kind.name == _AFTER_FLATTEN else 0
    if said is None or said == (found or 0):
        return None
    what = f"features flattened from {found} channels" if found else "features as PyTorch has them"
    text = f"reads {what}, the rule says {said} channels" if said else f"reads {what}"
    hint = f"use the kind '{_AFTER_FLATTEN}' with sizes = {{ {_CHANNELS} = {found} }}"
    return Problem("mismatched", pairing.layer, text, str(pairing.rule), hint if found else None)


def _base(class_name: str) -> str:
    return class_name.partition("(")[0]


def _listed(kind: Kind) -> str:
    return ", ".join(kind.keras)
