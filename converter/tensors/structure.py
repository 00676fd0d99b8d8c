"""Where each variable of a Keras model sits in its weights file.

A Keras file holds positions (``layers/conv2d_1/vars/0``), not names. Which position belongs to
which tensor is a fact of one model and one Keras version; it is taken from an existing file or
from a live model, and a new file is written after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KerasStructure:
    """The skeleton of a Keras weights file.

    Attributes:
        store: Tensor name to dataset path in a Keras 3 weights file (``layers/dense/vars/0``).
        copies: Further dataset path to tensor name: values that Keras writes twice (the kernel of
            a spectrally normalised layer), each with its first place in ``store``.
        groups: Every ``.../vars`` group of a Keras 3 weights file, also those without a variable,
            to its ``name`` attribute (``None`` where it has none).
        legacy: For legacy HDF5: layer name to ``(tensor name, weight name as written)``, in the
            order of the file.
        config: Text of ``config.json`` (or ``model_config``), or ``None``.
        old_config: Text of the architecture of a file of Keras 1 with today's layer names, or
            ``None``. It tells what the model computes; nothing is written from it.
        metadata: Text of ``metadata.json``, or ``None``.
        keras_version: Version that the file is written for, or ``None``.
        backend: Text of the legacy ``backend`` attribute, or ``None``.
    """

    store: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str | None] = field(default_factory=dict)
    legacy: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    config: str | None = None
    metadata: str | None = None
    keras_version: str | None = None
    backend: str | None = None
    copies: Mapping[str, str] = field(default_factory=dict)
    old_config: str | None = None
