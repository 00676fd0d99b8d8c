"""Expansion: which layer corresponds to which module, from either side, and what contradicts it."""

from __future__ import annotations

import pytest
from support.hanging import no_hang
from support_mapping import keras, mapping, torch

from converter.mapping.catalogue import load_catalogue
from converter.mapping.expansion import expand
from converter.tensors.manifest import Manifest

CATALOGUE = load_catalogue()
BLOCKS = '["conv2d", "conv{b}_block{l}", "features.{b-1}.{l}.conv"], ["dense", "head", "fc"]'


def pairs(expansion):
    return [(pairing.layer, pairing.module) for pairing in expansion.pairings]


def problems(expansion):
    return [f"{one.kind} {one.where}: {one.text}" for one in expansion.problems]


KERAS = keras({"conv2_block1": "Conv2D", "conv2_block11": "Conv2D", "head": "Dense"})
TORCH = torch(
    "features.1.1.conv.weight",
    "features.1.1.conv.bias",
    "features.1.11.conv.weight",
    "features.1.11.conv.bias",
    "fc.weight",
    "fc.bias",
)
WANTED = [
    ("conv2_block1", "features.1.1.conv"),
    ("conv2_block11", "features.1.11.conv"),
    ("head", "fc"),
]


@pytest.mark.parametrize(
    "sides",
    [{"keras": KERAS}, {"torch": TORCH}, {"keras": KERAS, "torch": TORCH}],
    ids=["from Keras", "from PyTorch", "from both"],
)
def test_every_side_alone_gives_the_same_pairings(sides):
    found = expand(mapping(BLOCKS), CATALOGUE, **sides)
    assert pairs(found) == WANTED
    assert problems(found) == []
    assert found.unused == ()


def test_what_only_one_side_has_is_paired_for_the_planner_to_report():
    found = expand(mapping(BLOCKS), CATALOGUE, keras=keras({"head": "Dense"}), torch=TORCH)
    assert sorted(pairs(found)) == sorted(WANTED)


def test_the_order_is_that_of_the_model():
    layers = {"head": "Dense", "conv2_block11": "Conv2D", "conv2_block1": "Conv2D"}
    found = expand(mapping(BLOCKS), CATALOGUE, keras=keras(layers))
    assert [pairing.layer for pairing in found.pairings] == list(layers)


def test_a_container_of_the_right_name_without_tensors_is_no_layer():
    rows = '["dense", "{x}", "m.{x}"]'
    table = '[tables]\nx = ["inner", "dense"]'
    found = expand(mapping(rows, table), CATALOGUE, keras=keras({"inner/dense": "Dense"}))
    assert pairs(found) == []


def test_tensors_of_a_checkpoint_without_layers_are_found_by_name():
    bare = Manifest.of(KERAS.tensors.values(), family="keras")
    assert pairs(expand(mapping(BLOCKS), CATALOGUE, keras=bare)) == WANTED


def test_two_rules_that_claim_one_tensor():
    rows = '["dense", "head", "fc"], ["dense", "{x}", "other"]'
    found = expand(
        mapping(rows, '[tables]\nx = ["head", "tail"]'), CATALOGUE, keras=keras({"head": "Dense"})
    )
    assert problems(found) == [
        'conflict head/kernel: is claimed by two rules: rules[0] ["dense", "head", "fc"] '
        'and rules[1] ["dense", "{x}", "other"]'
    ]


def test_two_layers_that_become_one_module():
    rows = '["dense", "{x}_head", "fc"]'
    found = expand(
        mapping(rows, '[tables]\nx = ["a", "b"]'),
        CATALOGUE,
        keras=keras({"a_head": "Dense", "b_head": "Dense"}),
    )
    assert problems(found) == [
        'conflict fc.weight: is claimed twice by rules[0] ["dense", "{x}_head", "fc"]: '
        "for 'a_head' and for 'b_head'"
    ]


def test_a_negative_number_is_a_problem():
    found = expand(mapping(BLOCKS), CATALOGUE, keras=keras({"conv0_block1": "Conv2D"}))
    assert problems(found) == [
        "invalid conv0_block1: gives a negative number in 'features.{b-1}.{l}.conv'"
    ]


VARIANT = '["dense", "{v}_head", "fc"], ["dense", "{v}_neck", "neck"]'
VARIANT_TABLE = '[tables]\nv = ["tiny", "huge"]'
VARIANT_TORCH = torch("fc.weight", "fc.bias", "neck.weight", "neck.bias")


def test_a_placeholder_that_only_keras_has_is_filled_from_keras():
    model = keras({"huge_head": "Dense"})
    found = expand(mapping(VARIANT, VARIANT_TABLE), CATALOGUE, keras=model, torch=VARIANT_TORCH)
    assert pairs(found) == [("huge_head", "fc"), ("huge_neck", "neck")]


def test_without_keras_such_a_name_is_undetermined_once_a_rule():
    found = expand(mapping(VARIANT, VARIANT_TABLE), CATALOGUE, torch=VARIANT_TORCH)
    assert problems(found) == [
        "undetermined fc: the Keras name needs {v}, which PyTorch names do not show",
        "undetermined neck: the Keras name needs {v}, which PyTorch names do not show",
    ]
    assert found.problems[0].hint == "give the Keras model: --like MODEL"
    assert [pairing.module for pairing in found.unfilled] == ["fc", "neck"]


def test_the_kind_must_serve_the_class_of_the_layer():
    found = expand(mapping('["conv2d", "a", "b"]'), CATALOGUE, keras=keras({"a": "Dense"}))
    assert problems(found) == ["mismatched a: is a Dense; kind 'conv2d' serves Conv2D"]


def test_an_unknown_kind_of_a_mapping_made_in_code():
    found = expand(mapping('["denze", "a", "b"]'), CATALOGUE, keras=keras({"a": "Dense"}))
    assert problems(found) == [
        'invalid rules[0] ["denze", "a", "b"]: unknown kind \'denze\'; near: \'dense\''
    ]


# ------------------------------------------------------------------------------ names of PyTorch


def test_a_prefix_is_taken_off_by_component_and_kept_in_the_names():
    names = [f"bert.{name}" for name in TORCH.tensors if not name.startswith("fc")]
    found = expand(
        mapping(BLOCKS, 'prefixes = ["bert.", "be."]'),
        CATALOGUE,
        torch=torch(*names, "fc.weight", "fc.bias"),
    )
    assert pairs(found) == WANTED
    assert found.prefix == "bert."
    assert found.torch_names["features.1.1.conv.weight"] == "bert.features.1.1.conv.weight"
    assert found.torch_names["fc.weight"] == "fc.weight"
    assert found.assumptions == (
        "PyTorch names start with 'bert.', which the rules of 'toy' do not write.",
    )


def test_a_row_that_pytorch_lacks_hides_no_prefix():
    """Its PyTorch column is empty, the name of the model itself, which owns every tensor."""
    rows = '["dense", "a", "a"], ["dense_of_keras_alone", "pooled", "", { optional = true }]'
    found = expand(mapping(rows, 'prefixes = ["bert."]'), CATALOGUE, torch=torch("bert.a.weight"))
    assert ("a", "a") in pairs(found)
    assert found.prefix == "bert."


def test_a_prefix_that_a_rule_writes_itself_stays():
    rows = '["dense", "head", "bert.fc"]'
    found = expand(mapping(rows, 'prefixes = ["bert."]'), CATALOGUE, torch=torch("bert.fc.weight"))
    assert pairs(found) == [("head", "bert.fc")]
    assert found.prefix == ""


def test_wrappers_of_training_are_taken_off():
    names = ["module._orig_mod." + name.replace("conv", "_orig_mod.conv") for name in TORCH.tensors]
    found = expand(mapping(BLOCKS), CATALOGUE, torch=torch(*names))
    assert pairs(found) == WANTED
    assert found.torch_names["fc.weight"] == "module._orig_mod.fc.weight"


def test_names_that_a_prefix_alone_tells_apart_are_a_conflict():
    both = torch("fc.weight", "ema.fc.weight", "ema.fc.bias")
    found = expand(mapping('["dense", "head", "fc"]', 'prefixes = ["ema."]'), CATALOGUE, torch=both)
    assert problems(found) == [
        "conflict ema.fc.weight: and 'fc.weight' are both 'fc.weight' to the rules"
    ]


def test_an_alias_changes_the_ending_by_component():
    found = expand(
        mapping(
            '["layer_norm", "n{i}", "b.{i}.LayerNorm"]',
            'aliases = { "Norm.gamma" = "x", "LayerNorm.gamma" = "LayerNorm.weight" }',
        ),
        CATALOGUE,
        torch=torch("b.0.LayerNorm.gamma", "b.0.LayerNorm.bias"),
    )
    assert pairs(found) == [("n0", "b.0.LayerNorm")]
    assert found.torch_names["b.0.LayerNorm.weight"] == "b.0.LayerNorm.gamma"


def test_a_prefix_of_keras_layers():
    model = keras({"net/conv2_block1": "Conv2D", "head": "Dense"})
    text = mapping(BLOCKS, 'keras_prefixes = ["net/"]')
    assert pairs(expand(text, CATALOGUE, keras=model)) == [
        ("net/conv2_block1", "features.1.1.conv"),
        ("head", "fc"),
    ]
    both = expand(text, CATALOGUE, keras=model, torch=torch("features.1.1.conv.weight"))
    assert len(both.pairings) == 2


# -------------------------------------------------------------------- conditions, sizes, the rest

CONDITION = '[conditions]\ndeep = { keras = "conv9", torch = "c9.weight" }'
DEEP = '["dense", "a", "x", { when = "deep" }], ["dense", "a", "y", { when = "not deep" }]'


def test_a_condition_chooses_rules_by_what_is_there():
    deep = keras({"a": "Dense", "conv9": "Conv2D"})
    assert pairs(expand(mapping(DEEP, CONDITION), CATALOGUE, keras=deep)) == [("a", "x")]
    shallow = keras({"a": "Dense"})
    assert pairs(expand(mapping(DEEP, CONDITION), CATALOGUE, keras=shallow)) == [("a", "y")]
    theirs = torch("x.weight", "c9.weight")
    assert pairs(expand(mapping(DEEP, CONDITION), CATALOGUE, torch=theirs)) == [("a", "x")]


def test_sides_that_are_different_variants():
    found = expand(
        mapping(DEEP, CONDITION), CATALOGUE, keras=keras({"a": "Dense"}), torch=torch("c9.weight")
    )
    assert problems(found) == [
        "mismatched conditions.deep: holds in PyTorch and not in Keras: "
        "the two are different variants"
    ]


def test_a_condition_that_only_the_other_side_shows():
    only = '[conditions]\ndeep = { torch = "c9" }'
    found = expand(mapping(DEEP, only), CATALOGUE, keras=keras({"a": "Dense"}))
    assert problems(found) == [
        "undetermined conditions.deep: cannot be decided: the checkpoint of the other side "
        "would show it"
    ]


def test_a_condition_on_a_size():
    sized = '[conditions]\ndeep = { size = "depth", equals = 9 }\n[sizes]\ndepth = "num_layers"'
    model = keras({"a": "Dense"})
    for sizes in ({"depth": 9}, {"num_layers": 9}):
        found = expand(mapping(DEEP, sized), CATALOGUE, keras=model, sizes=sizes)
        assert pairs(found) == [("a", "x")]
    found = expand(mapping(DEEP, sized), CATALOGUE, keras=model, sizes={"depth": 8})
    assert pairs(found) == [("a", "y")]
    found = expand(mapping(DEEP, sized), CATALOGUE, keras=model)
    assert [problem.hint for problem in found.problems] == ["give it: --set depth=VALUE"]


def test_sizes_are_numbers_keys_of_a_config_or_read_off_a_shape():
    rows = '["dense_after_flatten", "a", "b", { sizes = { c = "channels", s = 4, out = "units" } }]'
    sizes = (
        '[sizes]\nunits = "hidden"\nchannels = { keras = "conv/kernel[3]", torch = "c.weight[0]" }'
    )
    model = keras({"conv": "Conv2D", "a": "Dense"}, {"conv/kernel": (3, 3, 5, 17)})
    found = expand(mapping(rows, sizes), CATALOGUE, keras=model, sizes={"hidden": 6})
    assert found.pairings[0].sizes == {"c": 17, "s": 4, "out": 6}
    found = expand(mapping(rows, sizes), CATALOGUE, keras=model)
    assert found.pairings[0].sizes == {"c": 17, "s": 4}
    theirs = torch("b.weight", "c.weight", sizes={"c.weight": (16, 5, 3, 3)})
    found = expand(mapping(rows, sizes), CATALOGUE, keras=model, torch=theirs)
    assert problems(found) == ["mismatched sizes.channels: is 17 in Keras and 16 in PyTorch"]


def test_drops_take_a_tensor_or_everything_below_a_module():
    text = mapping(
        '["dense", "head", "fc"]',
        'drop = [{ torch = "blk.{i}.ids", why = "an index" }, { torch = "aux", why = "training" }]',
    )
    names = ("fc.weight", "blk.3.ids", "blk.x.ids", "aux.0.weight", "auxiliary.weight")
    found = expand(text, CATALOGUE, torch=torch(*names))
    assert found.dropped == {
        ("torch", "blk.3.ids"): "an index",
        ("torch", "aux.0.weight"): "training",
    }


def test_a_drop_of_what_a_rule_claims():
    text = mapping('["dense", "head", "fc"]', 'drop = [{ torch = "fc.bias", why = "none" }]')
    found = expand(text, CATALOGUE, torch=torch("fc.weight", "fc.bias"))
    assert problems(found) == [
        'conflict fc.bias: is dropped, and claimed by rules[0] ["dense", "head", "fc"]'
    ]


def test_ties_by_what_is_there_or_by_what_is_to_be_written():
    rows = '["embedding", "tokens", "wte"]'
    tie = 'ties = [{ torch = "lm_head.weight", of = "wte.weight", write = "%s" }]'
    model = keras({"tokens": "Embedding"})
    wanted = {"lm_head.weight": "wte.weight"}
    assert expand(mapping(rows, tie % "copy"), CATALOGUE, keras=model).ties == wanted
    assert expand(mapping(rows, tie % "omit"), CATALOGUE, keras=model).ties == {}
    theirs = torch("wte.weight", "lm_head.weight")
    assert expand(mapping(rows, tie % "omit"), CATALOGUE, torch=theirs).ties == wanted
    assert expand(mapping(rows, tie % "omit"), CATALOGUE, torch=torch("wte.weight")).ties == {}


def test_rules_about_nothing_are_named_unless_optional():
    rows = BLOCKS + ', ["dense", "tail", "t"], ["dense", "more", "m", { optional = true }]'
    assert expand(mapping(rows), CATALOGUE, keras=KERAS).unused == (
        'rules[2] ["dense", "tail", "t"]',
    )


def test_many_tensors_take_no_quadratic_time():
    def expands(count):
        rows = ", ".join(
            f'["dense", "layer_{{i}}/part_{part}", "layer.{{i}}.{part}"]'
            for part in "abcdefghijklmnop"
        )
        names = [
            f"layer.{i}.{part}.weight" for i in range(count // 16) for part in "abcdefghijklmnop"
        ]
        manifest = torch(*names)
        text = mapping(rows)
        with no_hang():
            assert len(expand(text, CATALOGUE, torch=manifest).pairings) == count

    expands(20_000)
