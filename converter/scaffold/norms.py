"""Normalisations: epsilon is always written, as the defaults differ."""

from __future__ import annotations

from converter.errors import UnsupportedFileError
from converter.scaffold.program import Code, Literal, Part, applied, call
from converter.scaffold.scope import Order, Translation


def batch_norm(t: Translation) -> None:
    """BatchNormalization over any axis; PyTorch counts momentum from the other end."""
    rank = t.first.rank
    axis = t.config["axis"]
    axis = (axis[0] if isinstance(axis, list) else axis) % rank
    order, channels = _channels_second(t, axis)
    settings: dict[str, Part | Code] = {"eps": Literal(t.config["epsilon"], "eps")}
    momentum = round(1 - t.config.get("momentum", 0.99), 12)
    if momentum != 0.1:
        settings["momentum"] = Literal(momentum, "momentum")
    name = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}.get(rank)
    if name is None:
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': it normalises rank {rank}")
    member = t.member(call(f"nn.{name}", Literal(channels, "num_features"), **settings))
    flat = channels_of_flat(t) if order == "flat" else None
    t.give(t.write(applied(member, t.use(order))), order, channels=flat)


def channels_of_flat(t: Translation) -> int | None:
    """Return the channels of flattened features."""
    image = t.first.image
    return image.shape[-1] if image is not None else t.first.channels


def _channels_second(t: Translation, axis: int) -> tuple[Order, int]:
    """Return the order in which the normalised axis is the second, and its size."""
    rank = t.first.rank
    size = t.first.shape[axis]
    if size is None:
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': its number of channels is open")
    if rank == 2:
        return ("flat" if t.kind == "batch_norm_after_flatten" else "keras"), size
    if axis == rank - 1:
        return "first", size
    if axis == 1:
        return "keras", size
    raise UnsupportedFileError(f"cannot scaffold '{t.path}': it normalises axis {axis} of {rank}")


def layer_norm(t: Translation) -> None:
    """LayerNormalization over the last axes."""
    rank = t.first.rank
    axes = t.config["axis"]
    axes = sorted(one % rank for one in (axes if isinstance(axes, list) else [axes]))
    if axes != list(range(rank - len(axes), rank)):
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': it normalises axes {axes}")
    if t.config.get("rms_scaling"):
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': its rms_scaling is no LayerNorm")
    sizes = tuple(t.first.shape[axis] for axis in axes)
    shape = Literal(sizes[0] if len(sizes) == 1 else sizes, "normalized_shape")
    settings: dict[str, Part | Code] = {"eps": Literal(t.config["epsilon"], "eps")}
    scale, center = t.config.get("scale", True), t.config.get("center", True)
    if not scale and not center:  # one of them alone is one or zero in the converted weights
        settings["elementwise_affine"] = Literal(value=False)
    member = t.member(call("nn.LayerNorm", shape, **settings))
    t.give(t.write(applied(member, t.use("keras"))), "keras")


def group_norm(t: Translation) -> None:
    """GroupNormalization over the last axis."""
    rank = t.first.rank
    if t.config["axis"] % rank != rank - 1:
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': its channels are not last")
    channels = t.first.shape[-1] or 0
    groups = channels if t.config["groups"] == -1 else t.config["groups"]
    settings: dict[str, Part | Code] = {"eps": Literal(t.config["epsilon"], "eps")}
    if not t.config.get("scale", True) and not t.config.get("center", True):
        settings["affine"] = Literal(value=False)
    order: Order = "first" if rank > 2 else "keras"
    numbers = (Literal(groups, "num_groups"), Literal(channels, "num_channels"))
    member = t.member(call("nn.GroupNorm", *numbers, **settings))
    t.give(t.write(applied(member, t.use(order))), order)


def rms_norm(t: Translation) -> None:
    """RMSNormalization over the last axis."""
    rank = t.first.rank
    axis = t.config["axis"]
    if (axis[0] if isinstance(axis, list) else axis) % rank != rank - 1:
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': it normalises axis {axis}")
    eps = Literal(t.config["epsilon"], "eps")
    code = call("nn.RMSNorm", Literal(t.first.shape[-1], "normalized_shape"), eps=eps)
    t.give(t.write(applied(t.member(code), t.use("keras"))), "keras")


def unit_norm(t: Translation) -> None:
    """UnitNormalization: to length one."""
    axis = t.config["axis"]
    axis = axis[0] if isinstance(axis, list) else axis
    last = axis % t.first.rank == t.first.rank - 1
    dim = Literal(-1 if last else axis)
    t.give(t.write(call("F.normalize", t.use("keras"), dim=dim, eps=Literal(1e-6))), "keras")


def normalization(t: Translation) -> None:
    """Normalization: mean and variance that were adapted, or that the configuration holds."""
    axes = t.config["axis"]
    rank = t.first.rank
    axes = [axes] if isinstance(axes, int) else list(axes or [])
    kept = [one % rank for one in axes]
    if kept not in ([rank - 1], []) or t.config.get("invert"):
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': it normalises axes {kept}")
    if t.config.get("mean") is not None:
        mean, variance = (Literal(_flat(t.config[key])) for key in ("mean", "variance"))
        code = call(t.snippet("FixedNormalization"), mean, variance)
    else:
        size = tuple(t.first.shape[axis] for axis in kept)
        code = call(t.snippet("Normalization"), Literal(size, "shape"))
    t.give(t.write(applied(t.member(code), t.use("keras"))), "keras")


def _flat(value: object) -> object:
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    return value
