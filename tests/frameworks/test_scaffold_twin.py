"""The module of a Keras model that a proof names as the twin."""

from __future__ import annotations

import pytest

import converter
from converter.errors import UsageError
from converter.live.factory import build

pytestmark = pytest.mark.frameworks

MODELS = """
import keras


class Odd(keras.layers.Layer):
    def call(self, x):
        return keras.ops.erfinv(x)


def network(units, odd=False):
    x = inputs = keras.Input((5, 7, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(x)
    x = keras.layers.Dense(units, name="head")(keras.layers.Flatten()(x))
    return keras.Model(inputs, Odd(name="odd")(x) if odd else x)
"""


def test_the_written_module_computes_what_keras_computes(tmp_path):
    (tmp_path / "models.py").write_text(MODELS)
    network = f"{tmp_path / 'models.py'}:network"
    module = build("converter.scaffold.twin:scaffolded", {"factory": network, "units": 6})
    model = build(network, {"units": 6})
    module.load_state_dict(converter.plan(model, like=module).state_dict(), strict=True)
    assert module.head.out_features == 6
    report = converter.validate(model, module)
    assert (report.verdict, report.level) == ("pass", "outputs")


def test_a_layer_without_translation_is_no_twin(tmp_path):
    (tmp_path / "models.py").write_text(MODELS)
    network = f"{tmp_path / 'models.py'}:network"
    arguments = {"factory": network, "units": 6, "odd": True}
    with pytest.raises(UsageError) as caught:
        build("converter.scaffold.twin:scaffolded", arguments)
    assert caught.value.summary == (
        f"cannot write the module of '{network}': 'odd' has no translation"
    )
    assert caught.value.facts
