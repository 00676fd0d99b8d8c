"""Fresh random values, as Keras' initializers draw them: the same distributions, with NumPy alone.

The bits are not those of Keras, whose backends do not agree on them either; they are the same on
every machine for one seed and one name. Values are drawn in blocks of a fixed size, each from a
generator of its own, so that a tensor of any size is made in bounded memory.

Source: Keras 3.15.1 ``src/initializers/random_initializers.py`` (``compute_fans``,
``VarianceScaling.__call__``, defaults); for PyTorch's axes, PyTorch 2.13 ``nn/init.py``
(``_calculate_fan_in_and_fan_out``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from converter.algebra.base import Block, Law
from converter.algebra.casting import FLOAT64, allows_arithmetic, convert
from converter.algebra.checks import require_shape, require_sources
from converter.algebra.one_sided import LeftOut, Made
from converter.errors import OperationError, shape_text
from converter.tensors.dtype import Array, DType, Shape

Distribution = Literal["uniform", "normal", "truncated_normal"]
BLOCK = 1 << 18  # elements drawn at once; changing it changes the values
# Standard deviation of a normal distribution of deviation 1 cut off at 2.
TRUNCATED = 0.87962566103423978

# Name to scale, which fan counts, and distribution.
SCALED: dict[str, tuple[float, str, Distribution]] = {
    "glorot_uniform": (1.0, "average", "uniform"),
    "glorot_normal": (1.0, "average", "truncated_normal"),
    "he_uniform": (2.0, "in", "uniform"),
    "he_normal": (2.0, "in", "truncated_normal"),
    "lecun_uniform": (1.0, "in", "uniform"),
    "lecun_normal": (1.0, "in", "truncated_normal"),
}
# Name to distribution and the names and defaults of its two numbers.
PLAIN: dict[str, tuple[Distribution, dict[str, float]]] = {
    "random_uniform": ("uniform", {"minval": -0.05, "maxval": 0.05}),
    "random_normal": ("normal", {"mean": 0.0, "stddev": 0.05}),
    "truncated_normal": ("truncated_normal", {"mean": 0.0, "stddev": 0.05}),
}
NAMES = ("zeros", "ones", *SCALED, *PLAIN)


def fans(shape: Shape, *, outermost: bool) -> tuple[int, int]:
    """Return how many inputs and outputs a unit of a kernel has.

    Args:
        shape: Of the kernel.
        outermost: Whether its axes are ``(out, in, ...)`` as in PyTorch, or ``(..., in, out)`` as
            in Keras.

    Examples:
        >>> fans((3, 3, 16, 32), outermost=False), fans((32, 16, 3, 3), outermost=True)
        ((144, 288), (144, 288))
        >>> fans((), outermost=False), fans((7,), outermost=True)
        ((1, 1), (7, 7))
    """
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    ins, outs = (shape[1], shape[0]) if outermost else shape[-2:]
    field = math.prod(shape[2:] if outermost else shape[:-2])
    return ins * field, outs * field


@dataclass(frozen=True, slots=True)
class Initial(Made):
    """Make a tensor of random values. Law derived: nothing of the source passes through it.

    Attributes:
        distribution: ``uniform``, ``normal``, or ``truncated_normal`` (drawn again where further
            than two deviations from the mean).
        first: Lower limit, or mean.
        second: Upper limit, or standard deviation before the truncation.
        shape: The target's shape.
        dtype: The target's dtype.
        seed: What the values depend on, besides all this: numbers of 0 or more.
    """

    distribution: Distribution
    first: float
    second: float
    shape: Shape
    dtype: DType
    seed: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not allows_arithmetic(self.dtype):
            raise OperationError(f"is {self.dtype}: only floating-point values are drawn")

    @property
    def law(self) -> Law:
        """Derived."""
        return Law.DERIVED

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the target."""
        blocks = [block.array for block in self.stream(arrays, BLOCK * self.dtype.itemsize)]
        flat: Array = np.concatenate(blocks) if blocks else np.zeros(0, self.dtype.numpy)
        return (flat.reshape(self.shape),)

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield what ``BLOCK`` elements, which are always drawn together, give in parts."""
        require_sources(self, len(arrays), 0)
        total = math.prod(self.shape)
        step = max(1, max_bytes // self.dtype.itemsize)
        for number, start in enumerate(range(0, total, BLOCK)):
            generator = np.random.default_rng([number, *self.seed])
            drawn = self._draw(generator, min(BLOCK, total - start))
            values = convert(drawn, FLOAT64, self.dtype)
            for first in range(0, values.size, step):
                yield Block(0, start + first, values[first : first + step])

    def _draw(self, generator: np.random.Generator, count: int) -> Array:
        if self.distribution == "uniform":
            return generator.uniform(self.first, self.second, count)
        values = generator.standard_normal(count)
        if self.distribution == "truncated_normal":
            while (far := np.abs(values) > 2.0).any():
                values[far] = generator.standard_normal(int(far.sum()))
        return self.first + self.second * values

    def inverse(self) -> Forget:
        """Return the operation that leaves the tensor out."""
        return Forget(self)

    def describe(self) -> str:
        """Return the distribution and its numbers."""
        numbers = f"{self.first:.6g}, {self.second:.6g}"
        return f"draw {shape_text(self.shape)}, {self.distribution} {numbers}, seed {self.seed[0]}"


@dataclass(frozen=True, slots=True)
class Forget(LeftOut):
    """Leave out a tensor of random values, which can be drawn again. Law derived.

    Attributes:
        drawn: How the tensor is made.
    """

    drawn: Initial

    @property
    def law(self) -> Law:
        """Derived."""
        return Law.DERIVED

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return no shape.

        Raises:
            OperationError: If the source has another shape.
        """
        require_sources(self, len(shapes), 1)
        require_shape(self, shapes[0], self.drawn.shape)
        return ()

    def inverse(self) -> Initial:
        """Return the operation that draws the tensor again."""
        return self.drawn

    def describe(self) -> str:
        """Return the reason."""
        return "leave out: random values, drawn again"


def make_initial(
    name: str,
    options: dict[str, float],
    shape: Shape,
    dtype: DType,
    *,
    outermost: bool,
    seed: tuple[int, ...],
) -> Initial:
    """Return the operation that one of Keras' random initializers stands for.

    Args:
        name: One of ``SCALED`` or ``PLAIN``.
        options: Numbers of a plain one that are not Keras' defaults.
        shape: Of the tensor.
        dtype: Of the tensor.
        outermost: See :func:`fans`.
        seed: See :class:`Initial`.

    Raises:
        OperationError: If the tensor is not one of floating-point numbers.
    """
    if name in PLAIN:
        distribution, defaults = PLAIN[name]
        first, second = {**defaults, **options}.values()
        return Initial(distribution, first, second, shape, dtype, seed)
    scale, which, distribution = SCALED[name]
    ins, outs = fans(shape, outermost=outermost)
    variance = scale / max(1.0, ins if which == "in" else (ins + outs) / 2)
    if distribution == "uniform":
        limit = math.sqrt(3.0 * variance)
        return Initial(distribution, -limit, limit, shape, dtype, seed)
    return Initial(distribution, 0.0, math.sqrt(variance) / TRUNCATED, shape, dtype, seed)
