"""Factories of twins: a class of transformers by its configuration, calls with other arguments."""

from __future__ import annotations

import numpy as np
import oracles
import pytest

import converter
from converter.errors import OperationError, UsageError
from converter.live.factory import build
from converter.live.twins import (
    in_turn,
    transformers_model,
    with_arguments,
    with_biases,
    without_last,
)

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles]


def test_a_model_of_transformers():
    oracles.transformers()
    module = transformers_model("BertModel", num_hidden_layers=1, hidden_size=24, vocab_size=7)
    assert tuple(module.embeddings.word_embeddings.weight.shape) == (7, 24)


@pytest.mark.parametrize("name", ["NoSuchModel", "logging"])
def test_what_is_no_model(name):
    oracles.transformers()
    with pytest.raises(UsageError) as caught:
        transformers_model(name)
    assert caught.value.summary == f"cannot build '{name}': transformers has no such model"


def test_calls_of_a_function_get_other_arguments():
    import torch

    oracles.timm()
    factory, images = "timm.models:inception_v3", torch.ones(3, 3, 79, 111)
    plain = build(factory, {"num_classes": 5})
    calls = {"avg_pool2d": {"count_include_pad": False}}
    changed = with_arguments(factory, calls, num_classes=5)
    assert changed.changed_calls.avg_pool2d.count_include_pad is False
    changed.load_state_dict(plain.state_dict(), strict=True)
    with torch.no_grad():
        assert not torch.allclose(plain.eval()(images), changed(images))


def test_a_function_that_is_not_called():
    oracles.timm()
    with pytest.raises(UsageError) as caught:
        with_arguments("timm.models:inception_v3", {"avg_pool3d": {}})
    text = "cannot change 'timm.models:inception_v3': it calls no function 'avg_pool3d'"
    assert caught.value.summary == text


def test_the_model_that_keras_hub_takes_for_an_architecture_of_timm():
    oracles.keras_hub()
    factory = "converter.live.twins:keras_hub_of_timm"
    arguments = {"architecture": "resnet18", "backbone": {"image_shape": [43, 65, 3]}}
    backbone = build(factory, arguments, family="keras", meta=True)
    assert backbone.stackwise_num_blocks == [2, 2, 2, 2]
    assert backbone.input_shape == (None, 43, 65, 3)
    task = "keras_hub.models:ResNetImageClassifier"
    head = build(factory, {**arguments, "task": task, "num_classes": 5}, family="keras", meta=True)
    assert head.output_shape == (None, 5)
    with pytest.raises(UsageError, match="building it raised ValueError"):
        build(factory, {"architecture": "nosuchnet"}, family="keras")


def test_a_padding_and_a_pooling_in_turn():
    import torch

    module = in_turn([torch.nn.ZeroPad2d((0, 1, 0, 1)), torch.nn.MaxPool2d(3, 2)])
    image = -torch.ones(3, 2, 4, 6)
    assert module(image).tolist() == [[[[-1.0, -1.0, 0.0], [0.0, 0.0, 0.0]]] * 2] * 3


def test_layers_get_a_bias():
    import torch

    oracles.timm()
    factory = "timm.models:resnetv2_50"
    plain = build(factory, {"num_classes": 5})
    biased = with_biases(factory, ["stem.conv", "conv3"], num_classes=5)
    more = set(biased.state_dict()) - set(plain.state_dict())
    assert len(more) == 1 + 16
    assert {name.rpartition("blocks.")[2].lstrip("012345.") for name in more} == {
        "stem.conv.bias",
        "conv3.bias",
    }
    biased.load_state_dict(plain.state_dict(), strict=False)
    images = torch.ones(3, 3, 43, 65)
    with torch.no_grad():
        assert torch.equal(plain.eval()(images), biased.eval()(images))
        biased.stem.conv.bias.fill_(0.5)
        assert not torch.allclose(plain(images), biased(images))


@pytest.mark.parametrize("name", ["conv9", "onv3", "norm1.drop"])
def test_a_layer_that_is_not_there_gets_no_bias(name):
    oracles.timm()
    with pytest.raises(UsageError) as caught:
        with_biases("timm.models:resnetv2_50", [name])
    text = f"cannot build 'timm.models:resnetv2_50': it has no layer '{name}' to add a bias to"
    assert caught.value.summary == text


def test_biases_that_pytorch_lacks_are_zero_or_an_error():
    """ResNetV2: the biases of Keras enter the sum, where no BatchNorm can take them in."""
    import keras

    oracles.timm()
    model = keras.applications.ResNet50V2(weights=None, input_shape=(64, 75, 3), classes=5)
    module = build("timm.models:resnetv2_50", {"num_classes": 5})
    state = converter.plan(model, like=module, mapping="resnet_v2").state_dict()
    module.load_state_dict(state, strict=False)
    weights = converter.plan(module, like=model, mapping="resnet_v2").get_weights()
    assert all(np.array_equal(*pair) for pair in zip(weights, model.get_weights(), strict=True))
    model.get_layer("conv3_block2_3_conv").bias.assign(np.full(512, 0.25, "float32"))
    with pytest.raises(OperationError) as caught:
        converter.plan(model, like=module, mapping="resnet_v2").state_dict()
    assert str(caught.value) == (
        "cannot leave out a tensor that must be 0 everywhere: 512 of 512 values differ\n"
        "  first     index (0,)\n"
        "  expected  0\n"
        "  found     0.25\n"
        "  tensor    'conv3_block2_3_conv/bias'\n"
        '  rule      rules[5] ["conv2d_bias_or_zero", "conv{s}_block{b}_3_conv", '
        '"stages.{s-2}.blocks.{b-1}.conv3"]'
    )


def test_a_model_without_its_last_layer():
    from keras import Input, layers

    stack = [Input((3,)), layers.Dense(5)]
    short = without_last("keras:Sequential", layers=[*stack, layers.Softmax()])
    assert short.output.shape == (None, 5)
    assert [one.shape for one in short.get_weights()] == [(3, 5), (5,)]
    with pytest.raises(UsageError) as caught:
        without_last("keras:Sequential", layers=stack)
    text = "cannot leave out the last layer of 'keras:Sequential': it has weights"
    assert caught.value.summary == text
