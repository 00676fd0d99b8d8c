"""Shapes of what layers without positions give: dense, merging, reshaping, normalising, encoding.

Source: keras 3.15.1 ``layers/core``, ``layers/merging``, ``layers/reshaping``,
``layers/preprocessing``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from converter.graph.nodes import ValueShape, ValueSpec
from converter.graph.shape_rules import (
    Given,
    Rule,
    ShapeError,
    axis_of,
    broadcast,
    in_own_type,
    in_type_of_input,
    need_rank,
    product,
    shape_of,
    unchanged,
)

# Classes whose output is shaped as their first input, in the type in which the layer computes.
_UNCHANGED = """
    Activation ActivityRegularization AlphaDropout AugMix AutoContrast BatchNormalization
    ContrastLimitedAdaptiveHistogramEqualization CutMix Dropout ELU Equalization GaussianDropout
    GaussianNoise GroupNormalization LayerNormalization LayerScale LeakyReLU Masking MixUp
    Normalization PReLU RMSNormalization RandAugment RandomBrightness RandomColorDegeneration
    RandomColorJitter RandomContrast RandomElasticTransform RandomErasing RandomFlip
    RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective
    RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear
    RandomTranslation RandomZoom ReLU Rescaling Softmax Solarization SpatialDropout1D
    SpatialDropout2D SpatialDropout3D UnitNormalization Highway SReLU ParametricSoftplus
"""


def _dense(given: Given) -> ValueShape:
    return (*given.shape[:-1], given.size("units"))


_EINSUM = re.compile(r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?")


def _einsum(given: Given) -> ValueShape:
    found = _EINSUM.fullmatch(str(given.config.get("equation")))
    if found is None:
        raise ShapeError(f"its equation is {given.config.get('equation')!r}")
    shape, elided = given.shape, len(given.shape) - len(found[2])
    said = given.config.get("output_shape")
    partial = [said] if type(said) is int or said is None else list(said)
    made: list[int | None] = [shape[0], *partial]
    if elided > 0 and found[1]:
        made[1:1] = shape[1:elided]
    elif elided > 0:
        made.extend(shape[len(shape) - elided :])
    if len(made) != len(found[6]) + max(elided, 0):
        raise ShapeError(f"its equation {given.config['equation']!r} does not fit {tuple(made)}")
    return tuple(made)  # sizes that output_shape leaves open stay open, as in Keras


def _embedded(given: Given) -> ValueShape:
    return (*given.shape, given.size("output_dim"))


def _reversible(given: Given) -> ValueShape:
    if given.keywords.get("reverse") or True in given.arguments[1:]:
        return (*given.shape[:-1], given.size("input_dim"))
    return _embedded(given)


def _merged(given: Given) -> ValueShape:
    shapes = [shape_of(value) for value in given.values]
    if len(shapes) < 2:
        raise ShapeError("it merges fewer than two values")
    made = shapes[0][1:]
    for shape in shapes[1:]:
        # Keras fills up with ones behind, not before, as the batch is no part of it.
        short, long = sorted((made, shape[1:]), key=len)
        made = broadcast(long, short)
    batches = {shape[0] for shape in shapes} - {None}
    return (batches.pop() if len(batches) == 1 else None, *made)


def concatenated(given: Given) -> ValueShape:
    """Return the shape of values joined along an axis."""
    shapes = [shape_of(value) for value in given.values]
    if not shapes:
        raise ShapeError("it joins no values")
    made = list(shapes[0])
    axis = axis_of(given.config.get("axis", -1), len(made))
    for shape in shapes[1:]:
        if len(shape) != len(made):
            raise ShapeError(f"it joins {shapes[0]} and {shape}")
        size, more = made[axis], shape[axis]
        made[axis] = None if size is None or more is None else size + more
    return tuple(made)


def _dotted(given: Given) -> ValueShape:
    values = given.values
    if len(values) != 2:
        raise ShapeError(f"it takes two values and is given {len(values)}")
    first, second = list(shape_of(values[0])), list(shape_of(values[1]))
    axes = given.config.get("axes")
    if type(axes) is int:
        pair = [axis_of(axes, len(first)), axis_of(axes, len(second))]
    elif isinstance(axes, list | tuple) and len(axes) == 2:
        pair = [axis_of(axes[0], len(first)), axis_of(axes[1], len(second))]
    else:
        raise ShapeError(f"its axes are {axes!r}")
    del first[pair[0]], second[pair[1]], second[0]
    made = (*first, *second)
    return made if len(made) > 1 else (*made, 1)


def _flattened(given: Given) -> ValueShape:
    return (given.shape[0], product(given.shape[1:]) if len(given.shape) > 1 else 1)


def reshaped(shape: Sequence[int | None], target: object) -> ValueShape:
    """Return the shape after reshaping, with at most one size left to be computed.

    Raises:
        ShapeError: If the sizes do not fit.

    Examples:
        >>> reshaped((6, 4), [8, -1]), reshaped((None, 4), [8, -1])
        ((8, 3), (8, None))
    """
    if not isinstance(target, list | tuple) or not all(
        one is None or (type(one) is int and one >= -1) for one in target
    ):
        raise ShapeError(f"it reshapes to {target!r}")
    sizes = [-1 if one is None else one for one in target]
    if sizes.count(-1) > 1:
        raise ShapeError(f"it reshapes to {target!r}")
    total, known = product(shape), math.prod(one for one in sizes if one != -1)
    if total is None:
        return tuple(None if one == -1 else one for one in sizes)
    if (-1 in sizes and (known == 0 or total % known)) or (-1 not in sizes and total != known):
        raise ShapeError(f"it reshapes {tuple(shape)} to {tuple(sizes)}")
    return tuple(total // known if one == -1 else one for one in sizes)


def _reshape(given: Given) -> ValueShape:
    return (given.shape[0], *reshaped(given.shape[1:], given.config.get("target_shape")))


def _permuted(given: Given) -> ValueShape:
    dims = given.config.get("dims")
    shape = given.shape
    if not isinstance(dims, list | tuple) or sorted(dims) != list(range(1, len(shape))):
        raise ShapeError(f"it permutes {shape} to {dims!r}")
    return (shape[0], *(shape[axis] for axis in dims))


def _repeated(given: Given) -> ValueShape:
    shape = need_rank(given, 2)
    return (shape[0], given.size("n"), shape[1])


def _maxout(given: Given) -> ValueShape:
    return (*given.shape[:-1], given.size("units"))


def _encoded(given: Given) -> Sequence[ValueSpec]:
    shape, tokens = given.shape, given.size("num_tokens")
    if given.config.get("output_mode") == "one_hot" and shape[-1] != 1:
        made = (*shape, tokens)
    else:
        made = (*shape[:-1], tokens)
    return (ValueSpec(made, given.dtype),)


def _input(given: Given) -> Sequence[ValueSpec]:
    shape = given.config.get("batch_shape")
    if shape is None and given.config.get("shape") is not None:
        shape = [given.config.get("batch_size"), *given.config["shape"]]
    if not isinstance(shape, list | tuple) or not all(
        size is None or (type(size) is int and size >= 0) for size in shape
    ):
        raise ShapeError(f"its batch_shape is {shape!r}")
    return (ValueSpec(tuple(shape), str(given.config.get("dtype") or "float32")),)


RULES: dict[str, Rule] = {
    "InputLayer": _input,
    **{name: in_own_type(unchanged) for name in _UNCHANGED.split()},
    "Identity": in_type_of_input(unchanged),
    "Dense": in_own_type(_dense),
    "MaxoutDense": in_own_type(_maxout),
    "EinsumDense": in_own_type(_einsum),
    "Embedding": in_own_type(_embedded),
    "ReversibleEmbedding": in_own_type(_reversible),
    **{
        name: in_own_type(_merged)
        for name in ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")
    },
    "Concatenate": in_own_type(concatenated),
    "Dot": in_own_type(_dotted),
    "Flatten": in_type_of_input(_flattened),
    "Reshape": in_type_of_input(_reshape),
    "Permute": in_type_of_input(_permuted),
    "RepeatVector": in_own_type(_repeated),
    "CategoryEncoding": _encoded,
}
