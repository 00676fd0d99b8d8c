"""Probabilities on one side and logits on the other: the same answer in two scales.

Keras' classifiers end in a softmax unless told otherwise, PyTorch's in logits. The weights are
equal, so the two are brought to one scale, and the report says so.
"""

from __future__ import annotations

import numpy as np

from converter.tensors.dtype import Array

_SMALLEST = 1e-30  # below it a float32 probability has lost digits, and its logarithm with them
_SUM = 1e-3
_CLASSIFIERS = ("logit", "prediction", "prob", "class", "softmax")

NOTE = "Keras gives probabilities and PyTorch logits: compared as logits"
NOTE_SATURATED = (
    "Keras gives probabilities and PyTorch logits: compared as probabilities, which are so close "
    "to 0 and 1 that they hide differences"
)


def in_one_scale(actual: Array, reference: Array) -> tuple[Array, Array, str]:
    """Return both outputs in one scale, and a note where one of them was changed.

    Logits are only defined up to a constant, so both sides are centred on their mean.

    Args:
        actual: Keras' output, shape ``(batch, ..., classes)``.
        reference: PyTorch's output, the same shape.
    """
    if actual.shape != reference.shape or actual.ndim < 2 or actual.shape[-1] < 2:
        return actual, reference, ""
    if not _is_distribution(actual) or _is_distribution(reference):
        return actual, reference, ""
    logits = reference.astype(np.float64)
    if actual.min() > _SMALLEST:
        return _centred(np.log(actual.astype(np.float64))), _centred(logits), NOTE
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return actual, shifted / shifted.sum(axis=-1, keepdims=True), NOTE_SATURATED


def divergence(
    actual: Array, reference: Array, names: tuple[str, str]
) -> tuple[float, float] | None:
    """Return the mean KL divergence in nats, and how often the most probable class is the same.

    Args:
        actual: Keras' output in the scale that it is compared in.
        reference: PyTorch's output, the same shape.
        names: What both sides call it: an output is taken for logits only when it is called so.

    Returns:
        ``None`` where the output is not known to be that of a classifier or language model.
    """
    if actual.shape != reference.shape or actual.ndim < 2 or actual.shape[-1] < 2:
        return None
    if actual.dtype.kind != "f" or reference.dtype.kind != "f" or not actual.size:
        return None
    is_called = any(word in name.lower() for name in names for word in _CLASSIFIERS)
    if _is_distribution(actual) and _is_distribution(reference):
        one, two = (np.log(np.maximum(side, _SMALLEST)) for side in (actual, reference))
    elif is_called:
        one, two = actual, reference
    else:
        return None
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        return None
    one, two = _log_softmax(one), _log_softmax(two)
    kl = float((np.exp(two) * (two - one)).sum(axis=-1).mean())
    same = float((one.argmax(axis=-1) == two.argmax(axis=-1)).mean())
    return max(kl, 0.0), same


def _log_softmax(logits: Array) -> Array:
    wide = logits.astype(np.float64)
    shifted: Array = wide - wide.max(axis=-1, keepdims=True)
    log: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log


def _is_distribution(array: Array) -> bool:
    if array.dtype.kind != "f" or not np.isfinite(array).all() or array.min() < 0:
        return False
    return bool(np.abs(array.sum(axis=-1, dtype=np.float64) - 1).max() < _SUM)


def _centred(logits: Array) -> Array:
    centred: Array = logits - logits.mean(axis=-1, keepdims=True)
    return centred
