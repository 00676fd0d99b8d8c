"""Why a convolution differs: how its kernel stands, where zeros go, strides, dilation, groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from converter.validation.causes.trial import Suspect, Trial
from converter.validation.fitting import same_pads


def trials(suspect: Suspect, module: Any) -> Iterator[Trial]:
    """Yield what may be wrong with a convolution."""
    rank = module.weight.ndim - 2
    spatial = tuple(range(2, 2 + rank))
    is_transposed = "Transpose" in type(module).__name__
    if max(module.kernel_size) > 1:
        yield Trial("theano_flip", _kernel(suspect, lambda w: w.flip(spatial)))
    if rank == 2 and module.kernel_size[0] == module.kernel_size[1] > 1:
        yield Trial("kernel_transposed", _kernel(suspect, lambda w: w.transpose(2, 3)))
    if module.weight.shape[0] == module.weight.shape[1] > 1:
        yield Trial("kernel_untransposed", _kernel(suspect, lambda w: w.transpose(0, 1)))
    axis = 0 if is_transposed else 1
    if module.weight.shape[axis] > 1:
        yield Trial("channel_order", _kernel(suspect, lambda w: w.flip(axis)))
    if getattr(module, "padding_mode", "zeros") != "zeros":
        yield Trial("padding_mode", _changed(suspect, padding_mode="zeros"))
    if is_transposed:
        yield Trial("transpose_padding", lambda copy: _cropped(copy, suspect), _crop_text(suspect))
        return
    yield from _geometry(suspect, module)


def _geometry(suspect: Suspect, module: Any) -> Iterator[Trial]:
    layer, rank = suspect.layer, module.weight.ndim - 2
    dilation = tuple(getattr(layer, "dilation_rate", module.dilation))
    strides = tuple(getattr(layer, "strides", module.stride))
    groups = getattr(layer, "groups", module.groups)
    wrong = {}
    if dilation != tuple(module.dilation):
        wrong["dilation"] = dilation
    if strides != tuple(module.stride):
        wrong["stride"] = strides
    for cause, value in wrong.items():
        yield Trial(cause, _as_keras(suspect), f"{cause}={value}")
    padding = getattr(layer, "padding", "")
    if not wrong and groups == module.groups and padding in ("same", "causal"):
        told = ", ".join(f"({a}, {b})" for a, b in _pads(suspect, module))
        cause = "causal_padding" if padding == "causal" else "same_padding"
        yield Trial(cause, _as_keras(suspect), f"Keras has {told}")
    if not wrong and padding == "valid" and module.padding not in (0, "valid", (0,) * rank):
        told = "no zeros of its own"
        yield Trial("same_padding", lambda copy: _unpadded(copy, suspect), told)


def _pads(suspect: Suspect, module: Any) -> list[tuple[int, int]]:
    layer = suspect.layer
    if layer.padding == "causal":
        return [((module.kernel_size[0] - 1) * layer.dilation_rate[0], 0)]
    sizes = list(suspect.args[0].shape[2:])
    return same_pads(sizes, module.kernel_size, layer.strides, layer.dilation_rate)


def _kernel(suspect: Suspect, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def run(copy: Any) -> Any:
        copy.weight.data = change(copy.weight.data).contiguous()
        return copy.forward(*suspect.args)

    return run


def _changed(suspect: Suspect, **values: Any) -> Callable[[Any], Any]:
    def run(copy: Any) -> Any:
        for name, value in values.items():
            setattr(copy, name, value)
        return copy.forward(*suspect.args)

    return run


def _function(module: Any) -> Any:
    import torch.nn.functional as F  # noqa: N812 -- the name that everybody knows

    prefix = "conv_transpose" if "Transpose" in type(module).__name__ else "conv"
    return getattr(F, f"{prefix}{module.weight.ndim - 2}d")


def _padded(value: Any, pads: list[tuple[int, int]]) -> Any:
    import torch.nn.functional as F  # noqa: N812 -- the name that everybody knows

    return F.pad(value, [size for pair in reversed(pads) for size in pair])


def _as_keras(suspect: Suspect) -> Callable[[Any], Any]:
    def run(copy: Any) -> Any:
        layer, value = suspect.layer, suspect.args[0]
        spatial = len(layer.strides)
        event_sizes = tuple(suspect.event.inputs[0].shape[1:-1])
        padding: Any = copy.padding
        # Where the model padded before, the module's own padding is Keras' ZeroPadding.
        if layer.padding in ("same", "causal") and tuple(value.shape[2:]) == event_sizes:
            value, padding = _padded(value, _pads(suspect, copy)), 0
        elif layer.padding in ("same", "causal"):
            padding = 0
        return _function(copy)(
            value,
            copy.weight,
            copy.bias,
            tuple(layer.strides)[:spatial],
            padding,
            tuple(layer.dilation_rate),
            copy.groups,
        )

    return run


def _unpadded(copy: Any, suspect: Suspect) -> Any:
    from converter.live.torch_module import from_array
    from converter.validation.keras_trace import as_array

    array = as_array(suspect.event.inputs[0])
    value = from_array(array).movedim(-1, 1)
    return _function(copy)(
        value, copy.weight, copy.bias, copy.stride, 0, copy.dilation, copy.groups
    )


def _crops(suspect: Suspect) -> list[int]:
    """Return where Keras begins to keep a transposed convolution's whole output."""
    layer = suspect.layer
    if layer.padding != "same":
        return [0] * len(layer.strides)
    pairs = zip(layer.kernel_size, layer.strides, strict=True)
    return [max(k - s, 0) // 2 for k, s in pairs]


def _crop_text(suspect: Suspect) -> str:
    return f"the first {_crops(suspect)} rows and columns, and what is beyond Keras' size"


def _cropped(copy: Any, suspect: Suspect) -> Any:
    import torch.nn.functional as F  # noqa: N812 -- the name that everybody knows

    whole = _function(copy)(
        suspect.args[0], copy.weight, copy.bias, copy.stride, groups=copy.groups
    )
    sizes = suspect.event.result.shape[1:-1]
    for axis, (start, size) in enumerate(zip(_crops(suspect), sizes, strict=True), start=2):
        lacking = start + size - whole.shape[axis]
        if lacking > 0:
            moved = F.pad(whole.movedim(axis, -1), [0, lacking])
            whole = moved.movedim(-1, axis)
        whole = whole.narrow(axis, start, size)
    return whole
