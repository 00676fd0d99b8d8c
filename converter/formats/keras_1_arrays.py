"""Makes the variables of Keras 3 of the arrays that Keras 1 kept, by the recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from converter.formats.hdf5_assembly import Assembly, Combine
from converter.formats.hdf5_types import Hdf5Dataset
from converter.formats.keras_1_facts import CONV1D_NEW, CONV1D_OLD, RECIPES, Recipe
from converter.tensors.dtype import Array, Shape

_SPATIAL = frozenset("dhwk")


def variables_of(
    class_name: str,
    arrays: Mapping[str, str],
    datasets: Mapping[str, Hdf5Dataset],
    *,
    is_th: bool,
    is_turned: bool,
) -> dict[str, Assembly] | None:
    """Return the variables of one layer, by their names now.

    Args:
        class_name: Its class now.
        arrays: Name of each of its arrays, to the path of the dataset.
        datasets: All datasets.
        is_th: Whether dimensions are ordered as in Theano.
        is_turned: Whether kernels are turned by 180 degrees.

    Returns:
        ``None`` where no recipe takes every array, or their shapes contradict it.
    """
    for way in RECIPES.get(class_name, ()):
        present = [one for one in way if set(one.arrays) <= arrays.keys()]
        if {array for one in present for array in one.arrays} != arrays.keys():
            continue
        made = {}
        for recipe in present:
            sources = tuple(arrays[array] for array in recipe.arrays)
            found = [datasets[source] for source in sources]
            assembly = _assemble(class_name, recipe, found, is_th=is_th, is_turned=is_turned)
            if assembly is None:
                return None
            made[recipe.name] = assembly
        return made
    return None


def ordering_of(kernel: Shape, bias: Shape | None) -> bool | None:
    """Whether the shape of a kernel is that of Theano's order; ``None`` where it may be either.

    The number of filters is the size of the bias. It comes first in Theano's order, and last in
    TensorFlow's.

    Examples:
        >>> ordering_of((32, 1, 3, 3), (32,)), ordering_of((3, 3, 1, 32), (32,))
        (True, False)
        >>> ordering_of((3, 3, 3, 3), (3,)) is None
        True
    """
    if bias is None or len(bias) != 1 or (kernel[0] == bias[0]) is (kernel[-1] == bias[0]):
        return None
    return kernel[0] == bias[0]


def _assemble(
    class_name: str,
    recipe: Recipe,
    found: Sequence[Hdf5Dataset],
    *,
    is_th: bool,
    is_turned: bool,
) -> Assembly | None:
    axes = recipe.th if is_th else recipe.tf
    final = (recipe.tf or recipe.th).partition(" -> ")[2]
    if class_name == "Conv1D" and recipe.is_kernel:
        axes, final = _conv1d_axes(found[0].shape), "k i o"
    left, _, right = axes.partition(" -> ")
    moved = []
    for one in found:
        shape = _moved_shape(one.shape, left.split(), right.split())
        if shape is None or one.element != found[0].element:
            return None
        moved.append(shape)
    if any(shape[:-1] != moved[0][:-1] for shape in moved):
        return None
    shape = moved[0]
    if len(found) > 1:
        if not shape:
            return None
        shape = (*shape[:-1], sum(one[-1] for one in moved))
    letters = final.split()
    is_turned = is_turned and recipe.is_kernel
    turned = tuple(at for at, letter in enumerate(letters) if is_turned and letter in _SPATIAL)
    if turned and len(letters) != len(shape):
        return None
    return Assembly(
        tuple(one.path for one in found), shape, _combine(left.split(), right.split(), turned)
    )


def _conv1d_axes(shape: Shape) -> str:
    is_new = len(shape) == 4 and shape[1] == 1
    is_old = len(shape) == 4 and shape[3] == 1
    return CONV1D_OLD if is_old and not is_new else CONV1D_NEW


def _moved_shape(shape: Shape, left: Sequence[str], right: Sequence[str]) -> Shape | None:
    if not left:
        return shape
    if len(left) != len(shape):
        return None
    sizes = dict(zip(left, shape, strict=True))
    return None if sizes.get("1", 1) != 1 else tuple(sizes[axis] for axis in right)


def _combine(left: Sequence[str], right: Sequence[str], turned: tuple[int, ...]) -> Combine:
    gone = tuple(at for at, axis in enumerate(left) if axis == "1")
    kept = [axis for axis in left if axis != "1"]
    order = [kept.index(axis) for axis in right]

    def combine(arrays: Sequence[Array]) -> Array:
        moved = [np.squeeze(one, gone).transpose(order) if order else one for one in arrays]
        joined = moved[0] if len(moved) == 1 else np.concatenate(moved, axis=-1)
        return np.flip(joined, turned) if turned else joined

    return combine
