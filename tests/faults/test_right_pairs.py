"""No cause is claimed where nothing is wrong, and what is left out as no fault hides none."""

from __future__ import annotations

from typing import Any

import pytest
from support.fault_table import RESULTS, RightRow, add, parse, stable
from support.right_pairs import BENCH, RIGHT, UNLIKE, WRITTEN, Right, judge
from support.scaffold_models import MODELS
from support.scaffolding import scaffold_and_compare

import converter
from converter.validation.causes_of import find_causes
from converter.validation.comparison import Comparison, Options
from converter.validation.findings import Finding
from converter.validation.keras_side import LiveKeras

pytestmark = pytest.mark.frameworks

QUICK = [
    one
    for one in [*BENCH, *WRITTEN]
    if one.origin == "the bench"
    or one.name
    in (
        "crnn", "masked_recurrent", "masking_layer", "recurrent_variants", "flattened_twice",
        "convolutional_recurrent", "seq2seq_with_attention", "separable_and_depthwise",
    )
]  # fmt: skip


def ids(pairs: list[Right]) -> list[str]:
    return [one.name for one in pairs]


def check(pair: Right, node: pytest.Item) -> None:
    found = judge(pair)
    controls = found.report.controls
    weakest = min((one.floors for one in controls), default=0.0)
    row = RightRow(
        pair.name,
        pair.origin,
        found.report.verdict,
        f"{found.floors:.1f}",
        str(found.layers),
        str(len(controls)),
        f"{weakest:.0e}",
        "; ".join(found.causes) or "none",
    )
    add(node, row)
    assert found.causes == ()
    assert found.report.verdict == "pass", "\n".join(found.report.lines())
    assert controls
    assert all(one.is_detected for one in controls)
    assert weakest > 300
    assert found.layers


@pytest.mark.parametrize("pair", QUICK, ids=ids(QUICK))
def test_no_cause_is_claimed_in_a_right_pair(pair: Right, request: pytest.FixtureRequest) -> None:
    check(pair, request.node)


@pytest.mark.long
@pytest.mark.parametrize("pair", RIGHT, ids=ids(RIGHT))
def test_no_cause_is_claimed_in_any_right_pair(pair: Right, request: pytest.FixtureRequest) -> None:
    check(pair, request.node)


def test_the_committed_table_has_40_right_pairs() -> None:
    rows = parse(RESULTS.read_text(encoding="utf-8"), RightRow)
    names = [row.right_pair for row in rows]
    assert len(names) >= 40
    assert {pair.name for pair in [*BENCH, *WRITTEN]} < set(names)
    wanted = [(one.name, one.origin, "pass", "none") for one in RIGHT if one.name in names]
    assert [stable(row) for row in rows] == wanted


def found_in(model: Any, module: Any) -> tuple[Finding, ...]:
    plan = converter.plan(model, mapping="by-kind", to="torch").plan
    keras = LiveKeras(model)
    comparison = Comparison(keras, module, Options(control_seconds=0), plan)
    comparison.run(None)
    arrays = comparison.arrays
    return find_causes(keras, module, plan, arrays, comparison.torch_inputs(arrays)).findings


def spoil(module: Any, name: str) -> None:
    """Exchange two blocks of rows of a tensor."""
    weight = module.get_parameter(name)
    first, second, *rest = weight.data.chunk(4)
    import torch

    weight.data = torch.cat([second, first, *rest])


@pytest.mark.parametrize(
    ("name", "parameter", "layer"),
    [
        ("crnn", "b2.weight_ih_l0", "b2"),
        ("crnn", "c1.weight", "c1"),
        ("masking_layer", "lstm.weight_hh_l0", "lstm"),
        ("masked_recurrent", "out.weight", "out"),
        ("flattened_twice", "one.weight", "one"),
        ("flattened_twice", "b.weight", "b"),
        ("recurrent_variants", "summed.weight_ih_l0", "summed"),
        ("convolutional_recurrent", "first.input_conv.weight", "first"),
        ("convolutional_recurrent", "last.recurrent_conv.weight", "last"),
    ],
)
def test_a_fault_beside_what_is_none_is_still_found(name: str, parameter: str, layer: str) -> None:
    """The layers that have no counterpart step by step are those that are acquitted above."""
    import keras

    keras.backend.clear_session()
    model = MODELS[name]()
    module = scaffold_and_compare(model).module.eval()
    assert found_in(model, module) == ()
    spoil(module, parameter)
    found = found_in(model, module)
    assert layer in {one.layer for one in found}
    # Where two branches only meet in the output, nothing tells which of them is wrong.
    assert name == "recurrent_variants" or found[0].layer == layer


def test_two_faults_and_a_layer_without_one_between_them() -> None:
    import keras

    keras.backend.clear_session()
    model = MODELS["masked_recurrent"]()
    module = scaffold_and_compare(model).module.eval()
    module.embed.weight.data = module.embed.weight.data.roll(1, 0)
    spoil(module, "out.weight")
    found = found_in(model, module)
    assert {one.layer: one.cause for one in found} == {
        "embed": "embedding_offset",
        "out": "other_weights",
    }


def test_flattened_features_in_another_order_behind_a_dropout() -> None:
    import keras
    import torch
    from support.validation_pair import randomise

    L = keras.layers
    layers = [keras.Input((5, 4, 3)), L.Conv2D(6, 2, name="conv"), L.Flatten(), L.Dropout(0.5)]
    model = randomise(keras.Sequential([*layers, L.Activation("relu"), L.Dense(7, name="out")]))

    class Twin(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.out = torch.nn.Conv2d(3, 6, 2), torch.nn.Linear(72, 7)

        def forward(self, x: Any) -> Any:
            return self.out(torch.relu(self.conv(x)).flatten(1))

    module = Twin().eval()
    module.load_state_dict(converter.plan(model).state_dict())
    assert found_in(model, module) == ()
    kernel = torch.tensor(model.get_layer("out").get_weights()[0])
    module.out.weight.data = kernel.T.contiguous()  # (h w c) rows
    (found,) = found_in(model, module)
    assert (found.layer, found.cause) == ("out", "flatten_order")


def test_a_model_that_normalises_inside_and_a_twin_that_does_not() -> None:
    """All that is found is what is missing, although each block owns the parameter of a layer."""
    found = judge(UNLIKE)
    assert found.report.verdict == "fail"
    assert found.causes == ("convnext_tiny_prestem_normalization: layer_missing",)
    assert found.layers > 80
