"""Poolings, paddings, croppings and resizings: layers of images without weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.errors import UnsupportedFileError
from converter.scaffold.convolutions import order_of, padded, same_padding, short, sizes_of
from converter.scaffold.program import Code, Literal, Part, Use, call
from converter.scaffold.scope import Order, Translation


def max_pooling(t: Translation) -> None:
    """MaxPooling1D, 2D, 3D; what is padded is below everything else."""
    order = order_of(t)
    kernels, strides = _windows(t)
    use, padding = t.use(order), 0
    if t.config["padding"] == "same":
        windows = (kernels, strides, [1] * len(kernels))
        use, padding = padded(
            t, use, sizes_of(t, order), windows, fill=float("-inf"), symmetric=True
        )
        if isinstance(padding, int) and padding > min(kernels) // 2:
            raise UnsupportedFileError(f"cannot scaffold '{t.path}': its padding is too wide")
    _pool(t, "max_pool", use, order, padding)


def average_pooling(t: Translation) -> None:
    """AveragePooling1D, 2D, 3D; Keras counts only what is really there.

    PyTorch can leave the padding out of the count where both ends get equally much; elsewhere the
    sum is divided by a count that is pooled too.
    """
    order = order_of(t)
    kernels, strides = _windows(t)
    use = t.use(order)
    if t.config["padding"] != "same":
        _pool(t, "avg_pool", use, order, 0)
        return
    ends = _ends(sizes_of(t, order), kernels, strides)
    if ends is not None and all(before == behind for before, behind in ends):
        before = short([one for one, _ in ends])
        counted = {"count_include_pad": Literal(value=False)} if before else {}
        _pool(t, "avg_pool", use, order, before, **counted)
        return
    name = t.snippet("average_pool_same")
    code = call(name, use, Literal(tuple(kernels)), Literal(tuple(strides)))
    t.give(t.write(code), order)


def _windows(t: Translation) -> tuple[list[int], list[int]]:
    kernels = list(t.config["pool_size"])
    return kernels, list(t.config["strides"] or kernels)


def _ends(
    sizes: Sequence[int | None], kernels: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]] | None:
    if all(stride == 1 for stride in strides):
        return [same_padding(1 << 20, kernel, 1, 1) for kernel in kernels]
    if None in sizes:
        return None
    known = [size for size in sizes if size is not None]
    return [
        same_padding(size, kernel, stride, 1)
        for size, kernel, stride in zip(known, kernels, strides, strict=True)
    ]


def _pool(
    t: Translation, function: str, use: Use, order: Order, padding: Any, **further: Part | Code
) -> None:
    kernels, strides = _windows(t)
    settings: dict[str, Part | Code] = {}
    if strides != kernels:
        settings["stride"] = Literal(short(strides), "stride")
    if padding:
        settings["padding"] = Literal(padding, "padding")
    name = f"F.{function}{len(kernels)}d"
    code = call(name, use, Literal(short(kernels), "kernel_size"), **settings, **further)
    t.give(t.write(code), order)


def global_average(t: Translation) -> None:
    """GlobalAveragePooling1D, 2D, 3D; with a mask, over the steps that count."""
    mask = t.mask()
    if mask is not None and t.first.rank == 3:
        code = call(t.snippet("masked_mean"), t.use("keras"), mask)
        t.give(t.write(code), "keras")
        return
    _global(t, "mean")


def global_max(t: Translation) -> None:
    """GlobalMaxPooling1D, 2D, 3D."""
    _global(t, "amax")


def _global(t: Translation, function: str) -> None:
    order = t.first.own if t.config.get("data_format") != "channels_first" else "keras"
    first = order == "first" or t.config.get("data_format") == "channels_first"
    rank = t.first.rank
    axes = tuple(range(2, rank)) if first else tuple(range(1, rank - 1))
    keep = bool(t.config.get("keepdims"))
    dims = Literal(axes if len(axes) > 1 else axes[0])
    kept = (", keepdim=True",) if keep else ()
    number = t.write((t.use(order), f".{function}(", dims, *kept, ")"))
    t.give(number, order if keep else "keras")


def zero_padding(t: Translation) -> None:
    """ZeroPadding1D, 2D, 3D."""
    _pad(t, [tuple(pair) for pair in _pairs(t, "padding")], 1)


def cropping(t: Translation) -> None:
    """Cropping1D, 2D, 3D."""
    _pad(t, [tuple(pair) for pair in _pairs(t, "cropping")], -1)


def _pairs(t: Translation, key: str) -> list[Any]:
    value = t.config[key]
    axes = t.first.rank - 2
    if isinstance(value, int):
        return [(value, value)] * axes
    if axes == 1 and all(isinstance(one, int) for one in value):
        return [value]
    return [(one, one) if isinstance(one, int) else one for one in value]


def _pad(t: Translation, pairs: Sequence[tuple[int, ...]], sign: int) -> None:
    order = order_of(t)
    ends = tuple(sign * end for pair in reversed(pairs) for end in pair)
    t.give(t.write(call("F.pad", t.use(order), Literal(ends, "padding"))), order)


def up_sampling(t: Translation) -> None:
    """UpSampling1D, 2D, 3D: nearest repeats, the others resize with half-pixel centres."""
    order = order_of(t)
    factors = t.config["size"]
    factors = [factors] * (t.first.rank - 2) if isinstance(factors, int) else list(factors)
    mode = t.config.get("interpolation", "nearest")
    if mode not in ("nearest", "bilinear"):
        raise UnsupportedFileError(
            f"cannot scaffold '{t.path}': PyTorch resizes by {mode} with other weights"
        )
    settings: dict[str, Part | Code] = {"scale_factor": Literal(short(factors), "scale_factor")}
    if mode != "nearest":
        settings["mode"] = Literal(mode)
    t.give(t.write(call("F.interpolate", t.use(order), **settings)), order)


def resizing(t: Translation) -> None:
    """Resizing to a fixed size, by nearest or bilinear interpolation."""
    mode = t.config.get("interpolation", "bilinear")
    plain = not t.config.get("crop_to_aspect_ratio") and not t.config.get("pad_to_aspect_ratio")
    if mode not in ("nearest", "bilinear") or not plain or t.config.get("antialias"):
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': it resizes by {mode}")
    order = order_of(t)
    size = Literal((t.config["height"], t.config["width"]))
    name = "nearest-exact" if mode == "nearest" else mode
    code = call("F.interpolate", t.use(order), size=size, mode=Literal(name))
    t.give(t.write(code), order)
