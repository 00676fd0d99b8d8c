"""Run a Keras model and a PyTorch module on the same arrays, as at inference.

Evaluation mode is forced, and looked for afterwards: a module that stays in training mode gives
another answer each time. Reduced-precision matrix products (TF32) are off for the run, since their
error, 3e-4, would hide most causes. Everything that was changed is put back.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from converter.errors import ConverterError, UsageError
from converter.live.keras_model import keras_to_array
from converter.live.torch_module import from_array, is_tensor, to_array
from converter.tensors.dtype import Array

OUTPUT = "output"


def run_keras(model: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run a Keras model on named arrays, in its order, and return its outputs by name.

    Raises:
        UsageError: If the model raises.
    """
    given = packed(model, inputs)
    with full_precision(), _no_gradients():
        try:
            outputs = model(given, training=False)
        except Exception as error:
            raise _raised(f"Keras model '{model.name}'", error) from error
        found = flatten_outputs(outputs)
        arrays = {name: _wide(keras_to_array(one, name)) for name, one in found.items()}
    names = list(getattr(model, "output_names", None) or [])
    if len(names) == len(arrays) and not isinstance(outputs, Mapping):
        arrays = dict(zip(names, arrays.values(), strict=True))
    return arrays


def entering(model: Any, layer: str, inputs: Mapping[str, Array]) -> Array:
    """Return what a layer of a Keras model takes when the model runs on these arrays.

    Raises:
        UsageError: If the model has no such layer, or it takes several tensors.
    """
    import keras

    try:
        tensor = model.get_layer(layer).input
    except (ValueError, AttributeError) as error:
        raise UsageError(
            f"cannot run '{model.name}' up to '{layer}': it has no such layer in its graph"
        ) from error
    if isinstance(tensor, (list, tuple)):
        raise UsageError(f"cannot run '{model.name}' up to '{layer}': it takes several tensors")
    return next(iter(run_keras(keras.Model(model.inputs, tensor), inputs).values()))


def run_torch(
    module: Any, positional: Sequence[Array], named: Mapping[str, Array]
) -> dict[str, Array]:
    """Run a PyTorch module on arrays and return its outputs by name.

    Floating arrays are cast to the module's own floating dtype and moved to its device.

    Raises:
        UsageError: If the module raises, or cannot be put into evaluation mode.
    """
    import torch

    tensors = [_on_module(module, array) for array in positional]
    keywords = {name: _on_module(module, array) for name, array in named.items()}
    with evaluating(module), full_precision(), torch.no_grad():
        try:
            outputs = module(*tensors, **keywords)
        except Exception as error:
            raise _raised(f"PyTorch module {type(module).__name__}", error) from error
        return {name: _wide(to_array(one, name)) for name, one in flatten_outputs(outputs).items()}


def flatten_outputs(value: Any, name: str = "") -> dict[str, Any]:
    """Return every tensor in an output by name.

    A single tensor is ``output``; members of a dictionary, a dataclass or a named tuple have their
    own names, those of a list their position; inner ones are joined: ``states[0]``, ``aux.boxes``.
    What is no tensor (``None``, a number) is left out.

    Examples:
        >>> import numpy as np
        >>> list(flatten_outputs({"logits": np.ones(2), "states": (np.ones(1), None)}))
        ['logits', 'states[0]']
    """
    if is_tensor(value) or _is_foreign_tensor(value):
        return {name or OUTPUT: value}
    found: dict[str, Any] = {}
    for key, item in _members(value, name):
        found.update(flatten_outputs(item, key))
    return found


def _members(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield (f"{name}.{key}" if name else str(key)), item
    elif isinstance(value, tuple) and (fields := getattr(value, "_fields", None)):
        yield from _members(dict(zip(fields, value, strict=True)), name)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield f"{name or OUTPUT}[{index}]", item
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        yield from _members(members, name)


def _is_foreign_tensor(value: Any) -> bool:
    """Whether a value is a tensor of TensorFlow or JAX."""
    module = type(value).__module__.split(".", maxsplit=1)[0]
    return module in {"tensorflow", "jax", "jaxlib"} and hasattr(value, "shape")


@contextlib.contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Put a PyTorch module into evaluation mode, and each part back afterwards.

    Raises:
        UsageError: If a part stays in training mode.
    """
    before = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        stubborn = [
            name or "the module itself" for name, one in module.named_modules() if one.training
        ]
        if stubborn:
            raise UsageError(
                f"cannot run {type(module).__name__} as at inference: "
                f"{stubborn[0]} stays in training mode after eval()"
            )
        yield
    finally:
        for one, training in before:
            one.training = training


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Switch TF32 off in the frameworks that are loaded."""
    import sys

    with contextlib.ExitStack() as stack:
        if "torch" in sys.modules:
            stack.enter_context(_torch_full_precision(sys.modules["torch"]))
        if "tensorflow" in sys.modules:
            stack.enter_context(_tensorflow_full_precision(sys.modules["tensorflow"]))
        if "jax" in sys.modules:
            stack.enter_context(sys.modules["jax"].default_matmul_precision("highest"))
        yield


@contextlib.contextmanager
def _torch_full_precision(torch: Any) -> Iterator[None]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    # Source: torch 2.13.0, torch/backends/cudnn/__init__.py. Reading the older switch raises where
    # the user has set the newer ones, which came with torch 2.9.
    attribute: str
    off: str | bool
    if hasattr(matmul, "fp32_precision"):
        attribute, off, switches = "fp32_precision", "ieee", [matmul, cudnn.conv, cudnn.rnn]
    else:
        attribute, off, switches = "allow_tf32", False, [matmul, cudnn]
    before = [getattr(switch, attribute) for switch in switches]
    for switch in switches:
        setattr(switch, attribute, off)
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            setattr(switch, attribute, value)


@contextlib.contextmanager
def _tensorflow_full_precision(tensorflow: Any) -> Iterator[None]:
    switch = tensorflow.config.experimental
    before = switch.tensor_float_32_execution_enabled()
    switch.enable_tensor_float_32_execution(False)  # noqa: FBT003 -- TensorFlow's own signature
    try:
        yield
    finally:
        switch.enable_tensor_float_32_execution(before)


@contextlib.contextmanager
def _no_gradients() -> Iterator[None]:
    import sys

    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    with torch.no_grad():
        yield


def packed(model: Any, inputs: Mapping[str, Array]) -> Any:
    """Return the inputs in the structure that the model was built with."""
    import keras

    tensors = {name: keras.ops.convert_to_tensor(array) for name, array in inputs.items()}
    structure = getattr(model, "_inputs_struct", None)
    if structure is not None:
        names = [one.name for one in keras.tree.flatten(structure)]
        return keras.tree.pack_sequence_as(structure, [tensors[name] for name in names])
    return next(iter(tensors.values())) if len(tensors) == 1 else tensors


def _on_module(module: Any, array: Array) -> Any:
    import torch

    tensor = from_array(array)
    own = next((one for one in module.parameters() if one.is_floating_point()), None)
    if own is None:
        return tensor.clone()
    if tensor.is_floating_point():
        tensor = tensor.to(own.dtype)
    elif tensor.dtype in (torch.int32, torch.int16, torch.int8, torch.uint8):
        tensor = tensor.to(torch.int64)  # what nn.Embedding and most indexing take
    return tensor.to(own.device, copy=True)


def _wide(array: Array) -> Array:
    """Return bfloat16 and float8 as float32, which NumPy can compute with."""
    return array if array.dtype.isbuiltin == 1 else array.astype(np.float32)


def _raised(what: str, error: Exception) -> ConverterError:
    if isinstance(error, ConverterError):
        return error
    text = str(error).strip().splitlines()
    return UsageError(
        f"cannot run the {what}: it raised {type(error).__name__}",
        facts=[("message", text[0] if text else "none")],
    )
