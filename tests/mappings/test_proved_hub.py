"""keras_hub and transformers: equal outputs, every bit back, as keras_hub's own converter."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import oracles
import pytest
from support.hub_cases import LENGTH, VOCABULARY, Case
from support.hub_models import ALL, keras_model, torch_module

import converter

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles]

_each = pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)


def _inputs(case: Case) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    import torch

    random = np.random.default_rng(1)
    if case.images:
        images = random.normal(0.0, 1.0, (3, 16, 16, 3)).astype("float32")
        return {"images": images}, {
            "pixel_values": torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        }
    mask = np.ones((4, LENGTH), "int32")
    mask[1, 6:] = 0
    mask[3, 3:] = 0
    tokens = random.integers(3, VOCABULARY, (4, LENGTH)).astype("int32")
    keras = {"token_ids": tokens, "padding_mask": mask}
    named = {"input_ids": tokens, "attention_mask": mask}
    return keras, {name: torch.from_numpy(value).long() for name, value in named.items()}


def _with_output(module: Any, name: str, seen: Any) -> Any:
    """Return a module whose output is one of the wrapped module's, at the positions that count."""
    import torch

    class WithOutput(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, **named: Any) -> Any:
            return getattr(self.inner(**named), name)[seen]

    return WithOutput()


@_each
def test_outputs_agree_and_weights_come_back_bit_for_bit(case: Case) -> None:
    model, module = keras_model(case), torch_module(case)
    plan = converter.plan(model, like=module)
    assert plan.plan.mapping == case.mapping
    module.load_state_dict(plan.state_dict(), strict=True)

    keras_inputs, torch_inputs = _inputs(case)
    wanted = oracles.run_keras(model, keras_inputs["images"] if case.images else keras_inputs)
    if isinstance(wanted, dict):
        wanted = wanted[case.keras_output or "sequence_output"]
    # Keras gives masked positions other values, which nothing reads.
    is_sequence = wanted.ndim == 3 and not case.images
    seen = keras_inputs["padding_mask"].astype(bool) if is_sequence else slice(None)
    found, floor = oracles.noise_floor(_with_output(module, case.output, seen), **torch_inputs)
    error = oracles.relative_error(found, wanted[seen])
    assert error < 30 * floor, f"{error:.2e} is {error / floor:.1f} times the noise floor"

    back = converter.plan(module, like=model).get_weights()
    for one, other in zip(model.get_weights(), back, strict=True):
        assert one.tobytes() == other.tobytes()


class _Loader:
    """What keras_hub's converter needs of its loader: tensors by name, put into variables."""

    def __init__(self, tensors: dict[str, Any], prefix: str) -> None:
        self._tensors = tensors
        self._prefix = prefix

    def get_tensor(self, name: str) -> Any:
        names = (name, self._prefix + name, name.removeprefix(self._prefix))
        return self._tensors[next(one for one in names if one in self._tensors)]

    def port_weight(self, keras_variable: Any, hf_weight_key: str, hook_fn: Any = None) -> None:
        value = self.get_tensor(hf_weight_key)
        if hook_fn is not None:
            value = hook_fn(value, list(keras_variable.shape))
        keras_variable.assign(value)


@pytest.mark.parametrize("case", [case for case in ALL if case.converter], ids=lambda case: case.id)
def test_weights_equal_those_of_keras_hubs_own_converter_bit_for_bit(case: Case) -> None:
    module = torch_module(case)
    theirs = getattr(oracles.keras_hub().models, case.keras)(**case.arguments)
    one = importlib.import_module(f"keras_hub.src.utils.transformers.{case.converter}")
    ours = converter.plan(module, like=theirs).get_weights()
    tensors = {name: value.numpy() for name, value in module.state_dict().items()}
    loader = _Loader(tensors, case.converter_prefix)
    one.convert_weights(theirs, loader, module.config.to_dict())
    for variable, mine, other in zip(theirs.weights, ours, theirs.get_weights(), strict=True):
        exact = mine.astype(case.rounded).astype(mine.dtype) if case.rounded else mine
        assert exact.tobytes() == other.tobytes(), variable.path
