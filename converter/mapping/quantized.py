"""Quantised Keras layers: which scheme, and which variables in which order.

A quantised layer has other variables than its class, in an order of its own: a file says kernel,
bias, scale; ``get_weights()`` says bias, kernel, scale, because only the bias is trainable.

Source: keras 3.15.1, ``variable_serialization_spec`` of layers/core/dense.py, einsum_dense.py,
embedding.py and reversible_embedding.py; ``dtype_policies/dtype_policy.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from converter.errors import MappingError
from converter.mapping.keras_classes import Variable
from converter.tensors.spec import LayerSpec

SCHEMES: Final = ("int8", "int4", "float8", "gptq", "awq")
DEQUANTIZED: Final = "dequantized"

_HISTORIES = tuple(
    f"{of}_{what}"
    for of in ("inputs", "kernel", "outputs_grad")
    for what in ("scale", "amax_history")
)
_DENSE: Final[dict[str, tuple[str, ...]]] = {
    "int8": ("kernel", "bias", "kernel_scale"),
    "int4": ("kernel", "bias", "kernel_scale", "kernel_zero", "g_idx"),
    "float8": ("kernel", "bias", *_HISTORIES),
    "gptq": ("bias", "quantized_kernel", "kernel_scale", "kernel_zero", "g_idx"),
    "awq": ("bias", "quantized_kernel", "kernel_scale", "kernel_zero", "awq_scales", "g_idx"),
}
_EMBEDDING: Final[dict[str, tuple[str, ...]]] = {
    "int8": ("embeddings", "embeddings_scale"),
    "int4": ("embeddings", "embeddings_scale", "embeddings_zero", "g_idx"),
}
_UNTIED: Final[dict[str, tuple[str, ...]]] = {
    "int8": ("reverse_embeddings", "reverse_embeddings_scale"),
    "int4": ("reverse_embeddings", "reverse_embeddings_scale", "reverse_embeddings_zero"),
}
_BLOCKS = ("_zero", "g_idx")  # only where a scale covers a block
_CALIBRATED = ("gptq", "awq")
# Keras 3.15.1 saves no zero points of these: Dense.save_own_variables takes them from
# _get_kernel_with_merged_lora, which has none for GPTQ and AWQ.
_LOST = ("_zero",)


def scheme_of(config: Mapping[str, Any]) -> str | None:
    """Return the scheme by which a layer is quantised, or ``None``.

    Examples:
        >>> scheme_of({"dtype": {"class_name": "Int4DTypePolicy", "config": {"mode": "int4/128"}}})
        'int4'
        >>> scheme_of({"dtype": "int8_from_float32"}), scheme_of({"dtype": "float32"})
        ('int8', None)
    """
    policy = config.get("dtype")
    if isinstance(policy, Mapping):
        inside = policy.get("config")
        policy = inside.get("mode") if isinstance(inside, Mapping) else None
        return _scheme(policy) if isinstance(policy, str) else None
    if isinstance(policy, str) and "_from_" in policy:
        return _scheme(policy.partition("_from_")[0])
    return None


def bits_of(config: Mapping[str, Any]) -> int | None:
    """Return how many bits a code of GPTQ or AWQ has, ``None`` where the policy does not say it.

    Examples:
        >>> bits_of({"dtype": {"config": {"mode": "gptq/4/128"}}})
        4
    """
    policy = config.get("dtype")
    inside = policy.get("config") if isinstance(policy, Mapping) else None
    mode = inside.get("mode") if isinstance(inside, Mapping) else policy
    parts = mode.partition("_from_")[0].split("/") if isinstance(mode, str) else []
    return int(parts[1]) if len(parts) > 1 and parts[1] in {"2", "3", "4", "8"} else None


def _scheme(mode: str) -> str | None:
    name = mode.partition("/")[0]
    return name if name in SCHEMES else None


def quantized_variables(
    class_name: str, config: Mapping[str, Any], stores: Collection[str]
) -> tuple[Variable, ...] | None:
    """Return the variables of a quantised layer, in the order of ``get_weights()``.

    Args:
        class_name: Its class.
        config: Its config.
        stores: All datasets below its group, relative to it.

    Returns:
        ``None`` where the scheme or the class has none, or the number of datasets is another.
    """
    scheme = scheme_of(config)
    names = _names(class_name, config, scheme) if scheme is not None else None
    places = [f"vars/{at}" for at in range(len(stores))]
    if names is None or set(places) != set(stores):
        return None
    if len(names) != len(stores):  # one scale for each channel, and no blocks
        left_out = _LOST if scheme in _CALIBRATED else _BLOCKS
        names = [name for name in names if not name.endswith(left_out)]
    if len(names) != len(stores):
        return None
    found = [Variable(name, name, place) for name, place in zip(names, places, strict=True)]
    if scheme in ("int8", "int4"):
        found.sort(key=lambda one: one.slot != "bias")
    return tuple(found)


def _names(class_name: str, config: Mapping[str, Any], scheme: str) -> list[str] | None:
    if class_name in ("Dense", "EinsumDense"):
        key = "use_bias" if class_name == "Dense" else "bias_axes"
        has_bias = bool(config.get(key, class_name == "Dense"))
        return [name for name in _DENSE[scheme] if name != "bias" or has_bias]
    if class_name in ("Embedding", "ReversibleEmbedding") and scheme in _EMBEDDING:
        is_untied = class_name != "Embedding" and config.get("tie_weights") is False
        return [*_EMBEDDING[scheme], *(_UNTIED[scheme] if is_untied else ())]
    return None


def refuse_quantized(layer: LayerSpec) -> None:
    """Refuse to choose a kind for a layer whose numbers are codes.

    Raises:
        MappingError: If the layer is quantised.
    """
    scheme = scheme_of(layer.config)
    if scheme is None or len(layer.tensors) < 2 or not _has_scale(layer):
        return
    raise MappingError(
        f"cannot convert '{layer.path}' ({layer.class_name}): it is quantised by {scheme}, and "
        "its numbers are codes",
        hint="read its values as float32 with --dequantize, or keep the file's numbers "
        "with a mapping of your own",
    )


def _has_scale(layer: LayerSpec) -> bool:
    return any("scale" in slot for slot in layer.tensors) or all(
        slot.isdigit() for slot in layer.tensors
    )
