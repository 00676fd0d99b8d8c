"""Which view fits an object that lives in memory; ``None`` where it is a path or nothing known."""

from __future__ import annotations

from converter.errors import CheckpointError, UsageError
from converter.formats.base import Checkpoint
from converter.live.kinds import (
    is_keras_layer,
    is_old_keras_layer,
    is_state_dict,
    is_torch_module,
    is_weights_list,
)
from converter.tensors.manifest import Manifest


def open_live(value: object, like: object = None) -> Checkpoint | None:
    """Return the checkpoint that an object in memory is.

    Args:
        value: A Keras 3 model or layer, a ``torch.nn.Module``, a dictionary of tensors or arrays,
            a ``get_weights()`` list, or a checkpoint (returned as it is).
        like: The Keras model, checkpoint or manifest that a ``get_weights()`` list belongs to.

    Returns:
        The checkpoint, or ``None`` where ``value`` is none of these.

    Raises:
        CheckpointError: If it is a model of Keras 2, or a Keras model without weights yet.
        UsageError: If it is a list and nothing says which model it belongs to.
    """
    if isinstance(value, Checkpoint):
        return value
    if is_keras_layer(value):
        from converter.live.keras_model import KerasModelCheckpoint

        return KerasModelCheckpoint(value)
    if is_old_keras_layer(value):
        raise CheckpointError(
            f"cannot read {type(value).__name__}: it is a model of Keras 2, not of Keras 3",
            hint="save it with model.save('model.h5') and open that file",
        )
    return _open_torch(value) or _open_plain(value, like)


def _open_torch(value: object) -> Checkpoint | None:
    if not is_torch_module(value):
        return None
    from converter.live.torch_module import TorchModuleCheckpoint

    return TorchModuleCheckpoint(value)


def _open_plain(value: object, like: object) -> Checkpoint | None:
    if isinstance(value, dict) and is_state_dict(value):
        from converter.live.torch_module import StateDictCheckpoint

        return StateDictCheckpoint(value)
    if isinstance(value, (list, tuple)) and is_weights_list(value):
        from converter.live.weights_list import WeightsList

        return WeightsList(value, _like(like))
    return None


def _like(like: object) -> Manifest | Checkpoint:
    if isinstance(like, Manifest):
        return like
    if like is not None:
        checkpoint = open_live(like)
        if checkpoint is not None:
            return checkpoint
    raise UsageError(
        "cannot read a list of arrays: it has no names",
        hint="say which model it belongs to: like=model",
    )
