"""What looks broken in a checkpoint: values no healthy training leaves behind.

Each finding is one sentence about one tensor, or about the whole checkpoint. They are observations:
a network may have a dead unit and be fine. Where a number decides, it is named here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from converter.inspection.inventory import Entry
from converter.inspection.statistics import Statistics
from converter.tensors.manifest import Manifest

EXPLODED = 1e4  # no kernel of a network that works has such a value; statistics of inputs may
COLLAPSED = 1e-12  # a variance far below the epsilon (1e-5, 1e-3) that is added to it
MIN_DUPLICATE = 16  # elements; shorter tensors are equal by chance (biases of zeros)

_STATISTICS = ("moving_mean", "moving_variance", "count", "num_batches_tracked")
_QUANTISED = re.compile(
    r"(^|[./])(qweight|qzeros|g_idx|SCB|absmax|quant_map|weight_scale|weight_scale_inv|"
    r"kernel_scale|embeddings_scale|quantized_kernel)$"
)
_LORA = re.compile(r"(^|[./_])lora_(kernel_|embeddings_)?[abAB]([./_]|$)")
_KERNELS = ("kernel", "weight", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel")

Measured = Mapping[str, Statistics | None]


def by_name(manifest: Manifest) -> Iterator[str]:
    """Yield what names and dtypes alone say."""
    names = tuple(manifest.tensors)
    quantised = [name for name in names if _QUANTISED.search(name)]
    if quantised:
        yield f"quantised: {_some(quantised)} belong to weights in codes, which are not numbers yet"
    factors = [name for name in names if _LORA.search(name)]
    if factors:
        yield f"LoRA: {_some(factors)} are not merged into the weights they change"


def by_value(entries: Sequence[Entry], measured: Measured) -> Iterator[str]:
    """Yield what the values say.

    Args:
        entries: Every tensor.
        measured: Name to statistics, ``None`` for what holds no plain numbers.
    """
    for entry in entries:
        found = measured.get(entry.spec.name)
        if found is not None:
            yield from _of_tensor(entry, found)
    yield from _variances(entries, measured)
    yield from _untrained(entries, measured)
    yield from _duplicates(entries, measured)
    yield from _wider_than_needed(entries, measured)


def _of_tensor(entry: Entry, found: Statistics) -> Iterator[str]:
    name = entry.spec.name
    if found.nan or found.infinite:
        parts = [f"{count:,} {what}" for count, what in
                 ((found.nan, "NaN"), (found.infinite, "infinite")) if count]  # fmt: skip
        yield f"not finite: '{name}' has {' and '.join(parts)} of {found.elements:,} values"
    if entry.role in _STATISTICS:
        return
    if entry.spec.dtype.is_floating and found.largest > EXPLODED:
        yield f"exploded: '{name}' has values up to {found.largest:.3g}"
    if entry.role in _KERNELS and found.is_constant and found.elements > 1:
        yield f"never trained: every value of '{name}' is {found.minimum:g}"
    elif found.dead:
        rows = "row" if len(found.dead) == 1 else "rows"
        yield (
            f"dead: {len(found.dead):,} {rows} of {found.units:,} of '{name}' are all zero "
            f"({_first(found.dead)})"
        )


def _variances(entries: Sequence[Entry], measured: Measured) -> Iterator[str]:
    """Yield variances that are none, and those of channels that never change."""
    low = {
        entry.spec.name: found.minimum
        for entry in entries
        if entry.role == "moving_variance"
        and (found := measured.get(entry.spec.name)) is not None
        and found.minimum is not None
    }
    negative = [name for name, least in low.items() if least <= -COLLAPSED]
    collapsed = [name for name, least in low.items() if -COLLAPSED < least < COLLAPSED]
    if negative:
        least = min(low[name] for name in negative)
        yield f"broken: variances below zero in {_some(negative)}, down to {least:.3g}"
    if collapsed:
        least = min(low[name] for name in collapsed)
        yield f"collapsed: variances of almost zero in {_some(collapsed)}, down to {least:.3g}"


def _untrained(entries: Sequence[Entry], measured: Measured) -> Iterator[str]:
    """Yield the layers and models that are as a framework makes them."""
    by_role: dict[str, dict[str, Statistics]] = {}
    for entry in entries:
        found = measured.get(entry.spec.name)
        if found is not None:
            by_role.setdefault(entry.role, {})[entry.layer] = found
    means, variances = by_role.get("moving_mean", {}), by_role.get("moving_variance", {})
    fresh = [
        layer
        for layer, mean in means.items()
        if layer in variances and _is(mean, 0.0) and _is(variances[layer], 1.0)
    ]
    if fresh:
        yield f"never trained: the moving mean of {_some(fresh)} is 0 and its variance 1"
    biases = by_role.get("bias", {})
    if len(biases) > 1 and all(_is(bias, 0.0) for bias in biases.values()):
        yield f"never trained: each of the {len(biases):,} biases is zero"


def _duplicates(entries: Sequence[Entry], measured: Measured) -> Iterator[str]:
    same: dict[tuple[str, str, tuple[int, ...]], list[str]] = {}
    for entry in entries:
        found = measured.get(entry.spec.name)
        if found is None or found.elements < MIN_DUPLICATE or found.is_constant:
            continue
        key = (found.digest, entry.spec.dtype.name, entry.spec.shape)
        same.setdefault(key, []).append(entry.spec.name)
    for names in same.values():
        if len(names) > 1:
            yield f"duplicate: {_some(names)} have the same values, and are not tied"


def _wider_than_needed(entries: Sequence[Entry], measured: Measured) -> Iterator[str]:
    """Yield whether all floating tensors fit a narrower type; zeros alone prove nothing."""
    wide: set[str] = set()
    narrow: set[str] = set()
    for entry in entries:
        found = measured.get(entry.spec.name)
        if found is None or not entry.spec.dtype.is_floating or found.is_constant:
            continue
        wide.add(entry.spec.dtype.name)
        narrow.add(found.effective_dtype)
    if len(wide) == len(narrow) == 1 and wide != narrow:
        yield f"wider than needed: every {wide.pop()} value is a {narrow.pop()} value"


def _is(found: Statistics, value: float) -> bool:
    return found.is_constant and found.minimum == value


def _some(names: Sequence[str]) -> str:
    """Return up to three names, and how many there are besides."""
    shown = ", ".join(f"'{name}'" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3:,} more"


def _first(indices: Sequence[int]) -> str:
    shown = ", ".join(str(index) for index in indices[:5])
    return shown if len(indices) <= 5 else f"{shown}, ..."
