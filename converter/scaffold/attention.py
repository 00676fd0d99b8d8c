"""Attention layers, as small modules whose projections are Linears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from converter.errors import UnsupportedFileError
from converter.scaffold.program import Code, Literal, Part, Use, applied, call, listed
from converter.scaffold.scope import Translation, Value


def multi_head(t: Translation) -> None:
    """MultiHeadAttention over the time axis."""
    config = t.config
    given = _projected(t)
    axes = config.get("attention_axes")
    if any(one.rank != 3 for one in given) or axes not in (None, [1], 1):
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': it attends over axes {axes}")
    given = _projected(t)
    member = t.member(
        call(
            t.snippet("MultiHeadAttention"),
            Literal(config["num_heads"], "heads"),
            Literal(config["key_dim"], "key_dim"),
            Literal(config.get("value_dim") or config["key_dim"], "value_dim"),
            listed([one.shape[-1] for one in given]),
            Literal(t.output()[-1], "width"),
            **_switches(config),
        )
    )
    _attended(t, member, given)


def grouped(t: Translation) -> None:
    """GroupQueryAttention."""
    config = t.config
    given = _projected(t)
    member = t.member(
        call(
            t.snippet("GroupQueryAttention"),
            Literal(config["num_query_heads"], "heads"),
            Literal(config["num_key_value_heads"], "key_heads"),
            Literal(config["head_dim"], "head_dim"),
            listed([one.shape[-1] for one in given]),
            **_switches(config),
        )
    )
    _attended(t, member, given)


def _projected(t: Translation) -> tuple[Value, Value, Value]:
    """Return query, key and value of a layer that projects them.

    Raises:
        UnsupportedFileError: If it does not attend to all steps.
    """
    if t.config.get("sliding_window"):
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': it has a sliding_window")
    return _query_key_value(t)


def _query_key_value(t: Translation) -> tuple[Value, Value, Value]:
    """Return query, key and value; Keras takes the key last, and it may be missing."""
    names = ("query", "value", "key")
    given = {name: [value] for name, value in zip(names, t.values(), strict=False)}
    given = {name: t.keyword(name) or given.get(name, []) for name in names}
    (query,), (value,) = given["query"], given["value"]
    return query, given["key"][0] if given["key"] else value, value


def _switches(config: Mapping[str, Any]) -> dict[str, Part | Code]:
    settings: dict[str, Part | Code] = {}
    if not config.get("use_bias", True):
        settings["bias"] = Literal(value=False)
    if config.get("use_gate"):
        settings["gate"] = Literal(value=True)
    return settings


def _attended(t: Translation, member: str, given: Sequence[Value]) -> None:
    """Write the call on what is given, in the order of the module's parameters."""
    if t.call.keywords.get("return_attention_scores"):
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': it returns its scores")
    uses: list[Part | Code] = [t.scope.use(one, "keras") for one in given]
    t.give(t.write(applied(member, *uses, **_masks(t))), "keras")
    query, _, _ = _query_key_value(t)
    if query.mask is not None:
        t.set_mask(query.mask)


def _masks(t: Translation) -> dict[str, Part | Code]:
    """Return what limits attention: a mask, masks of the values, and causality."""
    settings: dict[str, Part | Code] = {}
    given = t.keyword("attention_mask")
    if given:
        settings["mask"] = t.scope.use(given[0], "keras")
    _, _, value = _query_key_value(t)
    if value.mask is not None:
        settings["value_mask"] = Use(value.mask)
    if t.call.keywords.get("use_causal_mask"):
        settings["causal"] = Literal(value=True)
    return settings


def attention(t: Translation) -> None:
    """Attention: without projections; dot products or concatenation are the scores."""
    _plain(t, "Attention")


def additive(t: Translation) -> None:
    """AdditiveAttention."""
    _plain(t, "AdditiveAttention")


def _plain(t: Translation, name: str) -> None:
    config = t.config
    query, key, value = _query_key_value(t)
    scale = bool(config.get("use_scale"))
    if name == "Attention":
        concat = config.get("score_mode", "dot") == "concat"
        code = call(t.snippet("ConcatAttention" if concat else name), scale=Literal(scale))
    else:
        size = Literal(query.shape[-1]) if scale else Literal(None)
        code = call(t.snippet(name), size)
    _attended(t, t.member(code), (query, value, key))
