"""Run a Keras layer and a PyTorch module on the same input, weights moved by the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converter.algebra.base import Law
from converter.mapping.catalogue import load_catalogue
from converter.mapping.rules import Kind
from converter.mapping.slots import Slot
from converter.planning.binding import bind_slot
from converter.tensors.dtype import Array, get_dtype
from converter.tensors.spec import LayerSpec, TensorSpec

# Largest difference of outputs relative to the largest output. float32 has 1.2e-7; sums of a few
# dozen terms in different orders stay well below this, every wrong permutation is above 1e-1.
BOUND = 2e-6
WRONG = 1e-2


@dataclass(frozen=True)
class Case:
    """One kind, one way.

    Attributes:
        id: Name of the test.
        kind: Name of the kind.
        keras: Makes the Keras layer.
        torch: Makes the PyTorch module.
        inputs: Shapes of the inputs, in Keras' layout, batch included.
        run: The module's output in Keras' layout, from the module and the inputs as tensors.
        call: The layer's output, from the layer and the inputs.
        draw: Makes an input of a shape.
        sizes: Sizes of axes that shapes do not determine.
        automatic: Whether conversion by kind chooses the kind for the layer.
        square: Whether sizes are equal on purpose.
    """

    id: str
    kind: str
    keras: Callable[[], Any]
    torch: Callable[[], Any]
    inputs: Sequence[tuple[int, ...]]
    run: Callable[..., Any]
    call: Callable[..., Any] = lambda layer, *inputs: layer(*inputs)
    draw: Callable[[np.random.Generator, tuple[int, ...]], Array] | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    automatic: bool = True
    square: bool = False


@dataclass
class Ran:
    """What came out."""

    layer: Any
    arrays: dict[str, Array]
    inputs: list[Array]
    keras: Array
    kind: Kind


def run_keras(case: Case, seed: int = 0) -> Ran:
    """Build the layer, give it random weights, run it, and find its kind and slots."""
    from keras.src.utils.naming import reset_uids

    reset_uids()
    generator = np.random.default_rng(seed)
    draw = case.draw or (lambda rng, shape: rng.normal(size=shape).astype("float32"))
    inputs = [draw(generator, shape) for shape in case.inputs]
    layer = case.keras()
    case.call(layer, *inputs)
    randomise(layer, generator)
    output = to_numpy(case.call(layer, *inputs))
    spec, arrays = described(layer)
    catalogue = load_catalogue()
    kind = catalogue.kinds[case.kind]
    if case.automatic:
        chosen = catalogue.kind_of(spec)
        assert chosen is not None
        assert chosen.name == case.kind
        kind = chosen
    if not case.square:
        for name, array in arrays.items():
            sizes = [size for size in array.shape if size != 1]
            assert len(set(sizes)) == len(sizes), f"{name} {array.shape} hides permutations"
    return Ran(layer, arrays, inputs, output, kind)


def run_torch(case: Case, ran: Ran, state: Mapping[str, Array]) -> Array:
    """Load the state, strictly, and run the module."""
    import torch

    module = case.torch().eval()
    module.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    with torch.no_grad():
        return to_numpy(case.run(module, *(torch.from_numpy(one) for one in ran.inputs)))


def randomise(layer: Any, generator: np.random.Generator) -> None:
    """Give every variable random values, also those that start as ones or zeros."""
    for variable in layer.weights:
        if "seed" in variable.path or not str(variable.dtype).startswith("float"):
            continue
        values = generator.normal(0.1, 0.5, variable.shape)
        if variable.name.endswith(("variance", "stddev")):
            values = generator.uniform(0.5, 1.5, variable.shape)
        variable.assign(values.astype("float32"))


def described(layer: Any) -> tuple[LayerSpec, dict[str, Array]]:
    """Return what a reader would say of the layer, and its arrays by slot."""
    import keras

    config = keras.saving.serialize_keras_object(layer)["config"]
    class_name = type(layer).__name__
    prefix = f"{layer.name}/"
    below = {variable.path.removeprefix(prefix): variable for variable in layer.weights}
    found = load_catalogue().named_variables(class_name, config, list(below))
    assert found is not None, (class_name, list(below))
    arrays = {found[name].slot: to_numpy(variable) for name, variable in below.items()}
    tensors = {one.slot: f"{layer.name}/{one.path}" for one in found.values()}
    return LayerSpec(layer.name, class_name, tensors, config), arrays


def to_torch(
    kind: Kind,
    arrays: Mapping[str, Array],
    sizes: Mapping[str, int] | None = None,
    like: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """Return the PyTorch tensors of a layer.

    Args:
        kind: The kind.
        arrays: The Keras arrays by slot.
        sizes: Sizes that shapes do not determine.
        like: State of a module: what a constant takes its shape from.
    """
    state: dict[str, Array] = {}
    for slot in kind.slots:
        sources = [arrays[name] for name in slot.keras if name in arrays]
        if len(sources) < len(slot.keras) and slot.operation != "constant":
            assert slot.optional, slot
            continue
        if not sources and slot.operation == "constant" and slot.torch[0] not in (like or {}):
            continue
        torch = specs(slot.torch, like or {}) if not sources else None
        operation = bind_slot(slot, keras=specs(slot.keras, arrays), torch=torch, sizes=sizes or {})
        targets = operation.apply(sources)
        assert [one.shape for one in targets] == list(operation.infer([a.shape for a in sources]))
        state.update(zip(slot.torch, targets, strict=True))
    return state


def to_keras(
    kind: Kind,
    state: Mapping[str, Array],
    arrays: Mapping[str, Array],
    sizes: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """Return the Keras arrays by slot, made from a state; ``arrays`` says their shapes."""
    back: dict[str, Array] = {}
    for slot in kind.slots:
        if slot.operation == "derived" or not all(name in arrays for name in slot.keras):
            continue
        operation = bind_slot(
            slot, keras=specs(slot.keras, arrays), torch=specs(slot.torch, state), sizes=sizes or {}
        ).inverse()
        targets = operation.apply([state[name] for name in slot.torch])
        back.update(zip(slot.keras, targets, strict=True))
    return back


def specs(names: Sequence[str], arrays: Mapping[str, Array]) -> list[TensorSpec]:
    """Return the specs of those arrays that are there."""
    return [
        TensorSpec(name, arrays[name].shape, get_dtype(arrays[name].dtype))
        for name in names
        if name in arrays
    ]


def check(case: Case) -> None:
    """Assert that the outputs agree, and that the arrays come back bit for bit."""
    ran = run_keras(case)
    like = {name: to_numpy(value) for name, value in case.torch().state_dict().items()}
    state = to_torch(ran.kind, ran.arrays, case.sizes, like)
    output = run_torch(case, ran, state)
    assert output.shape == ran.keras.shape
    assert difference(output, ran.keras) <= BOUND
    back = to_keras(ran.kind, state, ran.arrays, case.sizes)
    made_anew = {
        name for slot in ran.kind.slots if slot.operation == "derived" for name in slot.keras
    }
    assert back.keys() | made_anew == ran.arrays.keys() | made_anew
    for name, array in back.items():
        assert array.dtype == ran.arrays[name].dtype
        assert array.flags.c_contiguous
        assert array.tobytes() == ran.arrays[name].tobytes(), name
    for slot in ran.kind.slots:
        if slot.operation is None:
            assert law_of(slot, ran.arrays, case.sizes) is Law.EXACT


def law_of(slot: Slot, arrays: Mapping[str, Array], sizes: Mapping[str, int]) -> Law:
    """Return the law of a slot's operation, exact where the layer lacks the tensors."""
    if not all(name in arrays for name in slot.keras):
        return Law.EXACT
    return bind_slot(slot, keras=specs(slot.keras, arrays), torch=None, sizes=sizes).law


def difference(found: Array, expected: Array) -> float:
    """Return the largest difference, relative to the largest value expected."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def to_numpy(value: Any) -> Array:
    """Return a tensor of either framework as C-contiguous array."""
    if hasattr(value, "value"):
        value = value.value
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.ascontiguousarray(value).reshape(np.shape(value))
