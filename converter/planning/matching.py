"""Which mapping pairs two sides: the one that was named, the one that fits, or none, by kind."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import replace
from pathlib import Path

from converter.algebra.base import Law
from converter.errors import MappingError
from converter.mapping import library
from converter.mapping.by_kind import pair_by_kind
from converter.mapping.catalogue import load_catalogue
from converter.mapping.expansion import expand
from converter.mapping.identify import identify, nearest
from converter.mapping.rules import Mapping
from converter.planning.planner import Request
from converter.planning.sides import Side
from converter.tensors.dtype import DType
from converter.tensors.manifest import Manifest

BY_KIND = "by-kind"


def make_request(
    source: Side,
    target: Side,
    *,
    mapping: Mapping | str | None = None,
    folders: tuple[Path, ...] = (),
    sizes: Dict[str, int] | None = None,
    dtype: DType | None = None,
    require: Law | None = None,
    only: str | None = None,
    model_type: str | None = None,
) -> Request:
    """Pair two sides and return the request for their plan.

    Args:
        source: The side that is read; it has a manifest.
        target: The side that is written, of the other family.
        mapping: A mapping, the name or path of one, ``"by-kind"``, or ``None`` to find it.
        folders: Further folders that hold mappings.
        sizes: Sizes that shapes do not determine, by axis or by size of the mapping.
        dtype: Type of floating-point targets, or ``None`` to keep.
        require: The weakest law allowed, or ``None``.
        only: A pattern of the names that are converted, or ``None`` for all.
        model_type: What a ``config.json`` says the PyTorch side is, or ``None``.

    Raises:
        MappingError: If no mapping fits, several do, or the one named cannot be used.
    """
    keras, torch = (source, target) if source.family == "keras" else (target, source)
    chosen = _choose(
        keras.manifest,
        torch.manifest,
        mapping,
        folders=folders,
        sizes=sizes or {},
        model_type=model_type,
    )
    if chosen is None:
        request = _by_kind(source, target, keras.manifest, sizes or {})
    else:
        request = _by_mapping(source, target, chosen, sizes or {})
    return replace(request, dtype=dtype, require=require, only=only)


def _by_mapping(source: Side, target: Side, mapping: Mapping, sizes: Dict[str, int]) -> Request:
    keras, torch = (source, target) if source.family == "keras" else (target, source)
    found = expand(
        mapping,
        load_catalogue(),
        keras=keras.manifest,
        torch=torch.manifest,
        sizes=sizes,
    )
    named = {side.family: side for side in (source, target)}
    named["torch"] = replace(named["torch"], names=found.torch_names)
    return Request(
        named[source.family],
        named[target.family],
        mapping.name,
        found.pairings,
        dropped=found.dropped,
        ties=found.ties,
        assumptions=(*found.assumptions, *map(str, mapping.requirements)),
        problems=found.problems,
    )


def _choose(
    keras: Manifest | None,
    torch: Manifest | None,
    mapping: Mapping | str | None,
    *,
    folders: tuple[Path, ...],
    sizes: Dict[str, int],
    model_type: str | None,
) -> Mapping | None:
    """Return the mapping to use, ``None`` for conversion by kind."""
    if isinstance(mapping, Mapping):
        return mapping
    if mapping == BY_KIND:
        if keras is None:
            raise MappingError(
                "cannot convert by kind: nothing says what the Keras side looks like",
                hint="give the Keras model: --like model.keras, or --like FACTORY",
            )
        return None
    if mapping is not None:
        return library.get(mapping, folders)
    manifest = keras if keras is not None else torch
    if manifest is None:
        raise MappingError("cannot find a mapping: neither side is known")
    found = identify(manifest, folders=folders, sizes=sizes, model_type=model_type)
    if found is not None or keras is not None:
        return found
    raise MappingError(
        "cannot find a mapping: none covers every tensor of this checkpoint",
        facts=[("nearest", nearest(manifest, folders=folders, sizes=sizes))],
        hint="name one (--mapping NAME), or give the Keras model (--like model.keras) to convert "
        "by kind",
    )


def _by_kind(source: Side, target: Side, keras: Manifest | None, sizes: Dict[str, int]) -> Request:
    if keras is None:
        raise MappingError("cannot convert by kind: nothing says what the Keras side looks like")
    found = pair_by_kind(keras, load_catalogue(), sizes)
    return Request(
        source,
        target,
        BY_KIND,
        found.pairings,
        assumptions=found.assumptions,
        problems=found.problems,
    )
