"""Attention layers, as small modules whose projections are Linears."""

from __future__ import annotations

from converter.errors import UnsupportedFileError
from converter.scaffold.program import Code, Literal, Part, Use, applied, call
from converter.scaffold.scope import Translation


def multi_head(t: Translation) -> None:
    """MultiHeadAttention over the time axis."""
    config = t.config
    values = t.values()
    axes = config.get("attention_axes")
    if any(value.rank != 3 for value in values) or axes not in (None, [1], 1):
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': it attends over axes {axes}")
    for setting in ("use_gate", "sliding_window"):
        if config.get(setting):
            raise UnsupportedFileError(f"cannot scaffold '{t.path}': it has {setting}")
    query, value = values[0], values[1]
    key = values[2] if len(values) > 2 else value
    width = t.output()[-1]
    sizes = [Literal(one.shape[-1]) for one in (query, key, value)]
    member = t.member(
        call(
            t.snippet("MultiHeadAttention"),
            Literal(config["num_heads"], "heads"),
            Literal(config["key_dim"], "key_dim"),
            Literal(config.get("value_dim") or config["key_dim"], "value_dim"),
            ("(", sizes[0], ", ", sizes[1], ", ", sizes[2], ")"),
            Literal(width, "width"),
            **({} if config["use_bias"] else {"bias": Literal(value=False)}),
        )
    )
    uses: list[Part | Code] = [t.scope.use(one, "keras") for one in (query, key, value)]
    settings = _masks(t)
    t.give(t.write(applied(member, *uses, **settings)), "keras")
    if query.mask is not None:
        t.set_mask(query.mask)


def _masks(t: Translation) -> dict[str, Part | Code]:
    """Return what limits attention: a mask, masks of the values, and causality."""
    settings: dict[str, Part | Code] = {}
    given = t.keyword("attention_mask")
    if given:
        settings["mask"] = t.scope.use(given[0], "keras")
    values = t.values()
    if values[1].mask is not None:
        settings["value_mask"] = Use(values[1].mask)
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
    values = t.values()
    if name == "Attention" and config.get("score_mode", "dot") != "dot":
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': its scores are not dot products")
    query, value = values[0], values[1]
    key = values[2] if len(values) > 2 else value
    scale = bool(config.get("use_scale"))
    if name == "Attention":
        code = call(t.snippet(name), scale=Literal(scale))
    else:
        size = Literal(query.shape[-1]) if scale else Literal(None)
        code = call(t.snippet(name), size)
    member = t.member(code)
    uses: list[Part | Code] = [t.scope.use(one, "keras") for one in (query, value, key)]
    settings = _masks(t)
    t.give(t.write(applied(member, *uses, **settings)), "keras")
    if query.mask is not None:
        t.set_mask(query.mask)
