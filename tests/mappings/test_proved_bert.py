"""BERT: keras_hub and transformers give the same outputs, and keras_hub's own converter agrees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import oracles
import pytest

import converter

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles]

LENGTH = 9


@dataclass(frozen=True)
class Case:
    id: str
    head: str = ""  # which class of transformers; "" is BertModel


CASES = [Case("backbone"), Case("classifier", "BertForSequenceClassification")]


def _keras(case: Case):
    models = oracles.keras_hub().models
    model = models.BertBackbone(
        vocabulary_size=31,
        num_layers=3,
        num_heads=3,
        hidden_dim=12,
        intermediate_dim=20,
        max_sequence_length=17,
        dropout=0.0,
    )
    if case.head:
        model = models.BertTextClassifier(model, num_classes=5, dropout=0.0)
    oracles.randomise_keras(model)
    return model


def _torch(case: Case):
    transformers = oracles.transformers()
    config = transformers.BertConfig(
        vocab_size=31,
        num_hidden_layers=3,
        num_attention_heads=3,
        hidden_size=12,
        intermediate_size=20,
        max_position_embeddings=17,
        hidden_act="gelu_pytorch_tanh",
        num_labels=5,
    )
    return getattr(transformers, case.head or "BertModel")(config)


def _inputs() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    mask = np.ones((4, LENGTH), "int32")
    mask[1, 6:] = 0
    mask[3, 3:] = 0
    return {
        "token_ids": random.integers(0, 31, (4, LENGTH)).astype("int32"),
        "segment_ids": random.integers(0, 2, (4, LENGTH)).astype("int32"),
        "padding_mask": mask,
    }


def _for_torch(inputs: dict[str, np.ndarray]) -> dict:
    import torch

    names = {
        "token_ids": "input_ids",
        "segment_ids": "token_type_ids",
        "padding_mask": "attention_mask",
    }
    return {names[name]: torch.from_numpy(value).long() for name, value in inputs.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_outputs_agree_and_weights_come_back_bit_for_bit(case):
    model, module = _keras(case), _torch(case)
    plan = converter.plan(model, like=module)
    assert plan.plan.mapping == "bert"
    module.load_state_dict(plan.state_dict(), strict=True)

    inputs = _inputs()
    outputs = oracles.run_keras(model, inputs)
    wanted = outputs if case.head else outputs["sequence_output"]
    found, floor = oracles.noise_floor(module, **_for_torch(inputs))
    # Keras gives masked positions other values, which nothing reads.
    seen = slice(None) if case.head else inputs["padding_mask"].astype(bool)
    assert oracles.relative_error(found[seen], wanted[seen]) < 30 * floor
    if not case.head:
        pooled = module(**_for_torch(inputs)).pooler_output.detach().numpy()
        assert oracles.relative_error(pooled, outputs["pooled_output"]) < 30 * floor

    back = converter.plan(module, like=model).get_weights()
    for one, other in zip(model.get_weights(), back, strict=True):
        assert one.tobytes() == other.tobytes()


class _Loader:
    """What keras_hub's converter needs of its loader: tensors by name, put into variables."""

    def __init__(self, tensors):
        self._tensors = tensors

    def get_tensor(self, name):
        return self._tensors[name]

    def port_weight(self, keras_variable, hf_weight_key, hook_fn=None):
        value = self._tensors[hf_weight_key]
        if hook_fn is not None:
            value = hook_fn(value, list(keras_variable.shape))
        keras_variable.assign(value)


def test_weights_equal_those_of_keras_hubs_own_converter_bit_for_bit():
    theirs, module = _keras(CASES[0]), _torch(CASES[0])
    convert = pytest.importorskip("keras_hub.src.utils.transformers.convert_bert")
    ours = converter.plan(module, like=theirs).get_weights()
    tensors = {name: one.numpy() for name, one in module.state_dict().items()}
    convert.convert_weights(theirs, _Loader(tensors), {})
    for variable, one, other in zip(theirs.weights, ours, theirs.get_weights(), strict=True):
        assert one.tobytes() == other.tobytes(), variable.path


def test_an_old_checkpoint_with_prefix_pretraining_heads_and_gamma_is_read_too():
    """bert-base-uncased itself: 'bert.' before most names, gamma and beta, the heads of 'cls'."""
    model, module = _keras(CASES[0]), _torch(CASES[0])
    tensors = {}
    for name, one in module.state_dict().items():
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        tensors[f"bert.{old.replace('LayerNorm.bias', 'LayerNorm.beta')}"] = one
    tensors["bert.embeddings.position_ids"] = one.new_zeros(1, 17).long()
    tensors["cls.predictions.bias"] = one.new_zeros(31)
    plan = converter.plan(tensors, like=model)
    assert plan.plan.mapping == "bert"
    assert {one.name for one in plan.plan.dropped} == {
        "bert.embeddings.position_ids",
        "cls.predictions.bias",
    }
    plain = converter.plan(module, like=model).get_weights()
    for one, other in zip(plan.get_weights(), plain, strict=True):
        assert one.tobytes() == other.tobytes()
