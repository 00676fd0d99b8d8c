"""A bias that PyTorch lacks goes into the BatchNorm behind it, where nothing stands between."""

from __future__ import annotations

import numpy as np
import oracles
import pytest

import converter
from converter.drafting.absorbing import normalised_directly
from converter.graph.reading import read_graph

pytestmark = pytest.mark.frameworks

WIDTHS = (5, 6, 7)


@pytest.fixture(autouse=True)
def _fresh_names():
    import keras

    keras.backend.clear_session()


def keras_net(between: str = ""):
    """Three stages of a convolution with a bias and a BatchNorm; one may have more between them."""
    import keras

    x = image = keras.Input((13, 11, 3))
    for stage, width in enumerate(WIDTHS, 1):
        is_odd = stage == 2 and between
        activation = "relu" if is_odd and between == "activation" else None
        x = made = keras.layers.Conv2D(width, 2, activation=activation, name=f"stage{stage}_conv")(
            x
        )
        if is_odd and between == "layer":
            x = keras.layers.LeakyReLU(negative_slope=0.2)(x)
        x = keras.layers.BatchNormalization(epsilon=1e-5, name=f"stage{stage}_norm")(x)
        if is_odd and between == "branch":
            x = keras.layers.Add()([x, made])
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(4, name="head")(x))


def torch_net(*, bias: bool = False):
    from torch import nn

    parts, before = [], 3
    for width in WIDTHS:
        parts += [nn.Conv2d(before, width, 2, bias=bias), nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 4))


def rows(found) -> list[tuple[str, str]]:
    return [(rule.kind, rule.beside) for rule in found.draft.mapping.rules]


def test_biases_are_taken_in_and_the_outputs_prove_it(tmp_path):
    import torch

    model, module = keras_net(), torch_net()
    oracles.randomise_keras(model)
    found = converter.draft(model, module)
    assert found.is_proved
    assert rows(found) == [
        ("conv2d", ""),
        ("batch_norm_absorbing_bias", "stage{s}_conv"),
        ("dense", ""),
    ]
    (tmp_path / "drafted.toml").write_text(found.text, encoding="utf-8")
    state = converter.plan(model, mapping=tmp_path / "drafted.toml", to="torch").state_dict()
    module.load_state_dict(state, strict=True)
    images = np.random.default_rng(2).normal(size=(3, 13, 11, 3)).astype("float32")
    with torch.no_grad():
        made = module.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    assert oracles.relative_error(made, oracles.run_keras(model, images)) < 1e-6


@pytest.mark.parametrize("between", ["activation", "layer", "branch"])
def test_a_bias_that_something_else_sees_is_not_taken_in(between):
    """The rows of that stage leave it out, and refuse to where it is not zero."""
    found = converter.draft(keras_net(between), torch_net(), prove=False)
    kinds = {rule.keras: (rule.kind, rule.without) for rule in found.draft.mapping.rules}
    assert kinds["stage2_conv"] == ("conv2d_bias_or_zero", ())
    assert kinds["stage2_norm"] == ("batch_norm", ())


def test_a_bias_that_both_sides_have_stays_where_it_is():
    found = converter.draft(keras_net(), torch_net(bias=True))
    assert found.is_proved
    assert rows(found) == [("conv2d", ""), ("batch_norm", ""), ("dense", "")]


def _found(*layers, size=(9, 7, 3)) -> dict[str, str]:
    import keras

    model = keras.Sequential([keras.Input(size), *layers])
    return normalised_directly(read_graph(converter.open(model)))


def test_an_activation_inside_a_wrapper_stands_between_as_well():
    import keras

    L = keras.layers
    plain, steps = L.Conv2D(4, 2, name="conv"), L.Conv2D(4, 2, activation="relu")
    assert _found(plain, L.BatchNormalization(name="norm")) == {"norm": "conv"}
    steps = L.TimeDistributed(steps, name="steps")
    assert _found(steps, L.BatchNormalization(name="norm"), size=(5, 9, 7, 3)) == {}


def test_a_normalisation_over_another_axis_takes_nothing_in():
    """Four channels and four rows: no shape tells the two apart."""
    import keras

    rows = keras.layers.BatchNormalization(axis=1, name="rows")
    assert _found(keras.layers.Conv2D(4, 2, name="conv"), rows, size=(5, 7, 3)) == {}
    dense = keras.layers.Dense(4, name="dense")
    last = keras.layers.BatchNormalization(axis=-1, name="last")
    assert _found(dense, last, size=(6,)) == {"last": "dense"}
