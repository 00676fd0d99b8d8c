"""What PyTorch may compute in the place of pooling, padding and resizing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from converter.validation.causes.trial import Variant
from converter.validation.fitting import same_pads
from converter.validation.keras_trace import Event

Images = Callable[[Any], Any]


def variants(event: Event) -> Iterator[Variant]:
    """Yield what PyTorch may have in the place of a layer that works on images."""
    kind, layer = type(event.layer).__name__, event.layer
    if kind in ("MaxPooling2D", "AveragePooling2D"):
        yield from _pooling(event, "Max" if kind.startswith("Max") else "average")
    elif kind in ("GlobalAveragePooling2D", "GlobalMaxPooling2D"):
        keep = layer.keepdims
        other = "max" if "Average" in kind else "average"
        yield Variant("pooling_kind", lambda x: _global(x, other, keep), f"global {other}")
    elif kind == "ZeroPadding2D":
        yield from _zeros(layer)
    elif kind in ("UpSampling2D", "Resizing"):
        yield from _resizing(event)


def _images(function: Images) -> Images:
    """Return a function of channels-last arrays."""

    def compute(array: Any) -> Any:
        import torch

        made = function(torch.from_numpy(array).movedim(-1, 1))
        return made.movedim(1, -1).contiguous().numpy()

    return compute


def _pooling(event: Event, kind: str) -> Iterator[Variant]:
    import torch.nn.functional as F  # noqa: N812 -- the name that everybody knows

    layer = event.layer
    size, stride = tuple(layer.pool_size), tuple(layer.strides)
    half = tuple(one // 2 for one in size)
    is_max = kind == "Max"
    told = f"{half} on both sides"
    sizes = list(event.inputs[0].shape[1:-1])
    pads = same_pads(sizes, size, stride, (1, 1)) if layer.padding == "same" else [(0, 0)] * 2

    def padded(x: Any, value: float) -> Any:
        return F.pad(x, [one for pair in reversed(pads) for one in pair], value=value)

    if is_max:
        yield Variant(
            "pooling_padding", _images(lambda x: F.max_pool2d(x, size, stride, half)), told
        )
        yield Variant(
            "pooling_fill", _images(lambda x: F.max_pool2d(padded(x, 0.0), size, stride)), "zeros"
        )
        infinite = float("-inf")
        yield Variant(
            "pooling_fill",
            _images(lambda x: F.max_pool2d(padded(x, infinite), size, stride)),
            "-inf",
        )
    else:
        for count in (True, False):
            cause = "pooling_count" if count else "pooling_padding"
            pool = _images(partial(_average, size, stride, half, count))
            yield Variant(cause, pool, told)
        yield Variant(
            "pooling_count", _images(lambda x: F.avg_pool2d(padded(x, 0.0), size, stride))
        )
    other = F.avg_pool2d if is_max else F.max_pool2d
    name = "average" if is_max else "max"
    if layer.padding != "same":
        yield Variant("pooling_kind", _images(lambda x: other(x, size, stride)), name)
        return
    yield Variant("pooling_kind", _images(lambda x: other(padded(x, 0.0), size, stride)), name)
    if all(one == other_side for one, other_side in pads):
        sides = tuple(one for one, _ in pads)
        if is_max:
            same = _images(lambda x: F.avg_pool2d(x, size, stride, sides, count_include_pad=False))
        else:
            same = _images(lambda x: F.max_pool2d(x, size, stride, sides))
        yield Variant("pooling_kind", same, name)


def _average(size: Any, stride: Any, pads: Any, counted: bool, x: Any) -> Any:  # noqa: FBT001 -- PyTorch's own flag
    import torch.nn.functional as F  # noqa: N812 -- the name that everybody knows

    return F.avg_pool2d(x, size, stride, pads, count_include_pad=counted)


def _global(array: Any, kind: str, keepdims: bool) -> Any:  # noqa: FBT001 -- Keras' own flag
    made = array.max((1, 2), keepdims=keepdims)
    return made if kind == "max" else array.mean((1, 2), keepdims=keepdims)


def _zeros(layer: Any) -> Iterator[Variant]:
    import torch.nn.functional as F  # noqa: N812 -- the name that everybody knows

    (top, bottom), (left, right) = layer.padding
    fix = f"(({top}, {bottom}), ({left}, {right}))"
    others = {
        "the sides exchanged": [right, left, bottom, top],
        "all before": [left + right, 0, top + bottom, 0],
        "all after": [0, left + right, 0, top + bottom],
        "none": [0, 0, 0, 0],
        "as many on both": [(left + right + 1) // 2] * 2 + [(top + bottom + 1) // 2] * 2,
        "one less": [max(one - 1, 0) for one in (left, right, top, bottom)],
    }
    for told, pads in others.items():
        if pads != [left, right, top, bottom]:
            yield Variant("zero_padding", _images(partial(F.pad, pad=pads)), told, fix)
    for mode in ("reflect", "replicate"):
        pads = [left, right, top, bottom]
        yield Variant("zero_padding", _images(partial(F.pad, pad=pads, mode=mode)), mode, fix)


def _resizing(event: Event) -> Iterator[Variant]:
    import torch.nn.functional as F  # noqa: N812 -- the name that everybody knows

    layer = event.layer
    size = tuple(event.result.shape[1:-1])
    fix = f"mode '{layer.interpolation}', align_corners=False"
    choices: dict[str, dict[str, Any]] = {
        "nearest": {"mode": "nearest"},
        "nearest-exact": {"mode": "nearest-exact"},
        "align_corners=True": {"mode": "bilinear", "align_corners": True},
        "bilinear": {"mode": "bilinear", "align_corners": False},
        "antialias=True": {"mode": "bilinear", "align_corners": False, "antialias": True},
        "bicubic": {"mode": "bicubic", "align_corners": False},
        "bicubic, align_corners=True": {"mode": "bicubic", "align_corners": True},
        "area": {"mode": "area"},
    }
    for told, how in choices.items():
        yield Variant("resize", _images(partial(F.interpolate, size=size, **how)), told, fix)
