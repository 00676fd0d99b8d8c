"""Dense layers, embeddings and their relatives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from converter.errors import UnsupportedFileError
from converter.scaffold.activations import activated
from converter.scaffold.program import Attr, Code, Literal, Part, Use, applied, call, listed
from converter.scaffold.scope import Order, Translation


def dense(t: Translation) -> None:
    """Dense: over the last axis in both frameworks."""
    order: Order = "flat" if t.kind == "dense_after_flatten" else "keras"
    inputs = t.first.shape[-1]
    if inputs is None:
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': its number of features is open")
    member = t.member(linear(inputs, t.config["units"], use_bias=t.config["use_bias"]))
    number = t.write(applied(member, t.use(order)))
    number = activated(t, number, t.config.get("activation"), "keras", t.first.rank)
    t.give(number, "keras")
    t.pass_mask()


def linear(inputs: Any, outputs: Any, *, use_bias: bool) -> Code:
    """Return what makes a Linear."""
    settings: dict[str, Part | Code] = {} if use_bias else {"bias": Literal(value=False)}
    return call(
        "nn.Linear", Literal(inputs, "in_features"), Literal(outputs, "out_features"), **settings
    )


def einsum_dense(t: Translation) -> None:
    """EinsumDense, as a Linear over the axes that its equation sums."""
    equation = str(t.config["equation"]).replace(" ", "")
    left, _, result = equation.replace(".", "").partition("->")
    given, _, kernel = left.partition(",")
    summed = [letter for letter in given if letter in kernel]
    new = [letter for letter in result if letter in kernel]
    if given[-len(summed) :] != "".join(summed) or result[-len(new) :] != "".join(new):
        raise UnsupportedFileError(
            f"cannot scaffold '{t.path}': in '{equation}' the axes summed, or the new ones, are "
            "not the last"
        )
    inputs, outputs = t.first.shape[-len(summed) :], t.output()[-len(new) :]
    sizes = [math.prod(size or 0 for size in shape) for shape in (inputs, outputs)]
    member = t.member(linear(*sizes, use_bias=bool(t.config.get("bias_axes"))))
    use: Code = (t.use("keras"),)
    if len(summed) > 1:
        use = (*use, f".flatten(-{len(summed)})")
    number = t.write(applied(member, use))
    if len(new) > 1:
        number = t.write((Use(number), ".unflatten(-1, ", Literal(tuple(outputs)), ")"))
    rank = len(t.output())
    t.give(activated(t, number, t.config.get("activation"), "keras", rank), "keras")
    t.pass_mask()


def embedding(t: Translation) -> None:
    """Embedding; ids may be floats in Keras."""
    numbers = (
        Literal(t.config["input_dim"], "num_embeddings"),
        Literal(t.config["output_dim"], "embedding_dim"),
    )
    member = t.member(call("nn.Embedding", *numbers))
    ids = t.use("keras")
    t.give(t.write(applied(member, (ids, ".long()"))), "keras")
    if t.config.get("mask_zero"):
        t.set_mask(t.write((ids, " != 0")))


def reversible_embedding(t: Translation) -> None:
    """ReversibleEmbedding: ids to vectors, or vectors to one number for each id."""
    config = t.config
    sizes = config["input_dim"], config["output_dim"]
    table = call(
        "nn.Embedding", Literal(sizes[0], "num_embeddings"), Literal(sizes[1], "embedding_dim")
    )
    if config.get("tie_weights", True):
        member = t.member(table)
        there, back = "", ".weight"
    else:
        other = linear(sizes[1], sizes[0], use_bias=False)
        member = t.member(called_parts({"embedding": table, "reverse": other}))
        there, back = '["embedding"]', '["reverse"].weight'
    use = t.use("keras")
    if not (t.call.keywords.get("reverse") or True in t.call.arguments[1:]):
        t.give(t.write((Attr(member), f"{there}(", use, ".long())")), "keras")
        if config.get("mask_zero"):
            t.set_mask(t.write((use, " != 0")))
        return
    number = t.write(call("F.linear", use, (Attr(member), back)))
    cap = config.get("logit_soft_cap")
    if cap is not None:
        number = t.write(("torch.tanh(", Use(number), " / ", Literal(cap), ") * ", Literal(cap)))
    t.give(number, "keras")


def called_parts(parts: Mapping[str, Code]) -> Code:
    """Return what makes several modules that converted weights have below one name."""
    made: list[Part] = ["nn.ModuleDict({"]
    for place, (name, code) in enumerate(parts.items()):
        made += [", " if place else "", f'"{name}": ', *code]
    return (*made, "})")


def masking(t: Translation) -> None:
    """Masking: steps that hold one value only are left out from here on."""
    use = t.use("keras")
    value = Literal(t.config["mask_value"])
    mask = t.write((use, " != ", value))
    mask = t.write((Use(mask), ".any(-1)"))
    number = t.write((use, " * ", Use(mask), ".unsqueeze(-1)"))
    t.give(number, "keras")
    t.set_mask(mask)


def rescaling(t: Translation) -> None:
    """Rescaling: times a scale, plus an offset."""
    scale, offset = t.config["scale"], t.config["offset"]
    order = t.first.own
    use = t.use(order)
    if isinstance(scale, list) or isinstance(offset, list):
        order = "keras"
        use = t.use(order)
        parts: Code = (use, " * ", *_tensor(scale, use), " + ", *_tensor(offset, use))
    else:
        parts = (use, " * ", Literal(scale))
        parts = (*parts, " + ", Literal(offset)) if offset else parts
    t.give(t.write(parts), order)


def _tensor(value: Any, use: Use) -> Code:
    if not isinstance(value, list):
        return (Literal(value),)
    return (use, ".new_tensor(", Literal(value), ")")


def repeat_vector(t: Translation) -> None:
    """RepeatVector: (batch, n) to (batch, times, n)."""
    times = listed((-1, t.config["n"], -1), "times")
    t.give(t.write((t.use("keras"), ".unsqueeze(1).expand", *times)), "keras")
