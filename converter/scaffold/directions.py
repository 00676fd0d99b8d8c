"""Bidirectional: one module of PyTorch where both directions are alike, two of them elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from converter.errors import UnsupportedFileError
from converter.graph.nodes import Layer
from converter.mapping.naming import module_name
from converter.scaffold.dense import called_parts
from converter.scaffold.program import Attr, Use
from converter.scaffold.recurrent import STATES, as_one_layer, called, module_of, run
from converter.scaffold.scope import Translation

_MERGED = {
    "concat": ("torch.cat([", ", ", "], -1)"),
    "sum": ("", " + ", ""),
    "mul": ("", " * ", ""),
    "ave": ("(", " + ", ") / 2"),
}


def bidirectional(t: Translation) -> None:
    """Bidirectional of a recurrent layer, or of one with a single cell."""
    inner = as_one_layer(t.layer.inner) if t.layer.inner is not None else None
    if inner is None or inner.class_name not in STATES:
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': it runs what is no LSTM or GRU")
    backward = t.layer.parts.get("backward_layer", ())
    if t.kind:
        _require_alike(t, inner, backward)
        run(t, inner, t.config["merge_mode"])
        return
    if not backward:
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': its way back is not described")
    _apart(t, inner, as_one_layer(backward[0]))


def _require_alike(t: Translation, ahead: Layer, backward: Sequence[Layer]) -> None:
    """Require that two directions compute the same, since their weights are those of one module.

    Raises:
        UnsupportedFileError: If a setting differs that the outputs depend on.
    """
    for back in map(as_one_layer, backward):
        for key in ("activation", "recurrent_activation", "reset_after"):
            if ahead.config.get(key) != back.config.get(key):
                raise UnsupportedFileError(
                    f"cannot scaffold '{t.path}': its directions differ in their {key}"
                )


def _apart(t: Translation, ahead: Layer, back: Layer) -> None:
    """Translate two directions that are modules of their own in the converted weights."""
    if t.keyword("initial_state") or ahead.config.get("return_state"):
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': its directions have own states")
    names = [module_name(one.path).rpartition(".")[2] for one in (ahead, back)]
    made = {name: module_of(t, one) for name, one in zip(names, (ahead, back), strict=True)}
    member = t.member(called_parts(made))
    uses = []
    for name, layer in zip(names, (ahead, back), strict=True):
        use, mask = t.use("keras"), t.mask()
        if layer is back:
            use = Use(t.write((use, ".flip(1)")))
            mask = Use(t.write((mask, ".flip(1)"))) if mask is not None else None
        number, _ = called(t, layer, (Attr(member), f'["{name}"]'), use, mask)
        if not ahead.config["return_sequences"]:
            number = t.write((Use(number), "[:, -1]"))
        elif layer is back:
            number = t.write((Use(number), ".flip(1)"))
        uses.append(Use(number))
    mode = t.config["merge_mode"]
    if mode is None:
        for index, use in enumerate(uses):
            t.give(use.value, "keras", index)
    else:
        before, between, behind = _MERGED[mode]
        t.give(t.write((before, uses[0], between, uses[1], behind)), "keras")
    if ahead.config["return_sequences"]:
        t.pass_mask()
