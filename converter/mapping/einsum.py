"""The equation of an EinsumDense as axis patterns: which axes of the kernel are in and out.

A PyTorch Linear takes its inputs as one axis and gives its outputs as one axis. That is possible
when every axis of the kernel is either summed over or new in the output, and is impossible when the
kernel has an axis in common with both (a weight of its own for every position).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from converter.errors import MappingError


@dataclass(frozen=True, slots=True)
class EinsumPatterns:
    """Axis patterns of one EinsumDense.

    Attributes:
        kernel: From the kernel to ``weight`` of a Linear.
        bias: From the bias to ``bias`` of a Linear, ``None`` where there is none.
    """

    kernel: str
    bias: str | None


def einsum_patterns(equation: str, bias_axes: str | None) -> EinsumPatterns:
    """Return the patterns from an EinsumDense to a Linear over flattened axes.

    Inputs are flattened in the order in which the input has them, outputs in that of the output.

    Args:
        equation: Such as ``"abc,cde->abde"``; dots stand for any leading axes.
        bias_axes: The output axes that the bias has, or ``None``.

    Raises:
        MappingError: If no Linear is equal to the layer; the message says why.

    Source:
        Keras 3.15.1, keras/src/layers/core/einsum_dense.py, ``_analyze_split_string``.

    Examples:
        >>> einsum_patterns("abc,cde->abde", "de")
        EinsumPatterns(kernel='c d e -> (d e) c', bias='d e -> (d e)')
        >>> einsum_patterns("...x,xy->...y", None)
        EinsumPatterns(kernel='x y -> y x', bias=None)
    """
    match = re.fullmatch(r"([.a-zA-Z]+),([a-zA-Z]+)->([.a-zA-Z]+)", equation.replace(" ", ""))
    if match is None:
        raise MappingError(f"'{equation}' is not the equation of an EinsumDense")
    inputs, kernel, outputs = (side.replace(".", "") for side in match.groups())
    summed = [axis for axis in inputs if axis in kernel and axis not in outputs]
    new = [axis for axis in outputs if axis in kernel and axis not in inputs]
    others = sorted(set(kernel) - {*summed, *new})
    if others or not summed or not new or len(set(kernel)) != len(kernel):
        why = (
            f"the kernel has a value for every position of axis '{others[0]}'"
            if others
            else "the kernel does not map input axes to output axes"
        )
        raise MappingError(f"no torch.nn.Linear is equal to the EinsumDense '{equation}': {why}")
    bias = None
    if bias_axes:
        if sorted(bias_axes) != sorted(new):
            raise MappingError(
                f"no torch.nn.Linear is equal to the EinsumDense '{equation}': its bias has the "
                f"axes '{bias_axes}', not '{''.join(new)}'"
            )
        # Keras gives the bias the axes in the order of the output.
        bias = f"{' '.join(new)} -> {_group(new)}"
    return EinsumPatterns(f"{' '.join(kernel)} -> {_group(new)} {_group(summed)}", bias)


def _group(axes: list[str]) -> str:
    return axes[0] if len(axes) == 1 else f"({' '.join(axes)})"
