"""Configurations translated by a table: every entry has its place, or is named."""

from __future__ import annotations

import pytest

from converter.errors import MappingFileError
from converter.mapping.config_tables import Accepted, ConfigRow, ConfigTable
from converter.mapping.config_translation import TorchTensors, to_keras, to_torch
from converter.mapping.document import parse_mapping
from converter.tensors.dtype import get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

HEAD = """schema = 1
name = "toy"
keras = "k"
torch = "t"
rules = [
  ["dense", "a{i}", "b.{i}"],
  ["dense", "head", "head", { when = "headed", optional = true }],
]
prefixes = ["model."]
[conditions]
headed = { keras = "head", torch = "head" }
"""
TEXT = (
    HEAD
    + """
[[configs]]
keras = "lib.models:Toy"
torch = "ToyModel"
model_type = "toy"
tasks = ["ToyTask"]
prefix = "model."
apart = ["head"]
rows = [
  ["layers", "num_layers"],
  ["wide", "n_inner", { axis = "b.0.weight[1]" }],
  ["groups", "num_groups", { like = "num_layers" }],
  ["base", "theta", { other = ["rope.theta"], absent = 7.5 }],
  ["dropout", "drop_a", { copies = ["drop_b"], absent = 0.25 }],
  ["tied", "tie", { holds = "not headed" }],
]
keras_only = { scale = 1.0 }
keras_unset = ["window"]
torch_only = { act = "silu" }
expected = { "rope.kind" = "default", cross = false }
torch_unset = ["scaling"]
ignored = ["label"]

[configs.accepted.act]
values = ["gelu"]
why = "a little"
"""
)
MAPPING = parse_mapping(TEXT)
(TABLE,) = MAPPING.configs


def tensors(*names: str) -> TorchTensors:
    return TorchTensors(
        MAPPING,
        Manifest.of(TensorSpec(name, (3, 5), get_dtype("float32")) for name in names),
    )


TIED = tensors("model.b.0.weight")
HEADED = tensors("b.0.weight", "head.weight")
KERAS = {"name": "toy_3", "trainable": True, "dtype": {"class_name": "DTypePolicy"}, "label": "x"}
KERAS |= {"layers": 2, "wide": 5, "groups": 1, "base": 9.0, "dropout": 0, "scale": 1}
KERAS |= {"window": None}
TORCH = {"num_layers": 2, "n_inner": 5, "num_groups": 1, "theta": 9.0, "drop_a": 0, "drop_b": 0}
TORCH |= {"tie": True, "act": "silu"}
ARGUMENTS = {"layers": 2, "wide": 5, "groups": 1, "base": 9.0, "dropout": 0, "tied": True}
ARGUMENTS |= {"scale": 1.0, "window": None}


def said(found) -> list[str]:
    return [f"{one.kind} {one.where}: {one.text}" for one in found.problems]


def test_a_table_is_read_in_full():
    assert (
        ConfigTable(
            keras="lib.models:Toy",
            architecture="ToyModel",
            model_type="toy",
            tasks=("ToyTask",),
            prefix="model.",
            apart=("head",),
            rows=(
                ConfigRow("layers", "num_layers"),
                ConfigRow("wide", "n_inner", axis=("b.0.weight", 1)),
                ConfigRow("groups", "num_groups", like="num_layers"),
                ConfigRow("base", "theta", other=("rope.theta",), absent=7.5),
                ConfigRow("dropout", "drop_a", copies=("drop_b",), absent=0.25),
                ConfigRow("tied", "tie", holds="not headed"),
            ),
            keras_only={"scale": 1.0},
            torch_only={"act": "silu"},
            expected={"rope.kind": "default", "cross": False},
            keras_unset=("window",),
            torch_unset=("scaling",),
            accepted={"act": Accepted(("gelu",), "a little")},
            ignored=("label",),
        )
        == TABLE
    )
    assert TABLE.keras_class == "Toy"


def test_keras_to_torch_and_back():
    found = to_torch(TABLE, KERAS, TIED)
    assert (found.entries, found.problems, found.notes) == (TORCH, [], [])
    back = to_keras(TABLE, found.entries, TIED)
    assert (back.entries, back.problems, back.notes) == (ARGUMENTS, [], [])


def test_what_tensors_show_counts_where_no_configuration_says_it():
    assert to_torch(TABLE, KERAS, HEADED).entries["tie"] is False
    config = {key: value for key, value in TORCH.items() if key not in {"tie", "n_inner"}}
    entries = to_keras(TABLE, {**config, "n_inner": None}, HEADED).entries
    assert (entries["tied"], entries["wide"]) == (False, 5)


def test_defaults_other_places_and_equal_entries():
    config = {"num_layers": 2, "n_inner": 5, "rope": {"theta": 4.0, "kind": "default"}}
    found = to_keras(TABLE, config, TIED)
    assert found.entries == {**ARGUMENTS, "groups": 2, "base": 4.0, "dropout": 0.25}
    assert to_keras(TABLE, {"num_layers": 2, "n_inner": 5}, TIED).entries["base"] == 7.5


def test_what_config_json_cannot_say():
    config = {**KERAS, "scale": 2.0, "window": 4, "tied": True, "novel": [1, 2]}
    del config["layers"]
    assert said(to_torch(TABLE, config, HEADED)) == [
        "missing layers: is not in the Keras config",
        "mismatched tied: is true in the Keras config, and its tensors show false",
        "refused scale: is 2.0, and ToyModel computes with 1.0",
        "refused window: is 4, which ToyModel is not told of here",
        "unexpected novel: is [1, 2], and the table of Toy has no such row",
    ]


def test_what_keras_cannot_say():
    config = {**TORCH, "act": "relu", "rope": {"kind": "linear"}, "scaling": {"by": 2}, "cross": 0}
    del config["num_layers"], config["num_groups"]
    assert said(to_keras(TABLE, config, TIED)) == [
        "missing num_layers: is not in config.json",
        "missing num_groups: is not in config.json",
        'refused act: is "relu", and Toy computes with "silu"',
        'refused rope.kind: is "linear", and Toy computes with "default"',
        "refused cross: is 0, and Toy computes with false",
        'refused scaling: is {"by": 2}, which Toy is not told of here',
    ]


def test_what_is_accepted_or_left_out_is_said():
    config = {**TORCH, "act": "gelu", "drop_b": 0.5, "bos_token_id": 1, "model_type": "toy"}
    found = to_keras(TABLE, config, TIED)
    assert (found.entries, found.problems) == (ARGUMENTS, [])
    assert found.notes == [
        "config.json has drop_b = 0.5; Keras has one value for that and drop_a: dropout = 0",
        'config.json has act = "gelu", and Toy computes with "silu": a little',
        "config.json says more, which is not taken: bos_token_id",
    ]


COUNTED = (
    HEAD
    + """
[[configs]]
keras = "lib.models:Toy"
torch = "ToyModel"
model_type = "toy"
rows = [
  ["gated", "inner", { times = 2 }],
  ["length", "positions", { plus = -2 }],
  ["window", "sliding", { null = true, absent = 9 }],
  ["size", "head_dim", { equal = ["scalar"] }],
]
cycles = { kinds = ["near", "far"] }
unfilled = { pooler = "nobody needs it" }
"""
)
(COUNTING,) = parse_mapping(COUNTED).configs


def test_what_is_counted_otherwise_is_null_or_must_be_equal():
    keras = {"gated": 14, "length": 17, "window": None, "size": 5}
    torch = {"inner": 7, "positions": 19, "sliding": None, "head_dim": 5, "scalar": 5}
    found = to_torch(COUNTING, keras, TIED)
    assert (found.entries, found.problems) == (torch, [])
    note = "the folder is without the 'pooler' of ToyModel, which begins at random: nobody needs it"
    assert found.notes == [note]
    for kinds in ({}, {"kinds": None}, {"kinds": ["near", "far", "near"]}):
        back = to_keras(COUNTING, {**torch, **kinds}, TIED)
        assert (back.entries, back.problems, back.notes) == (keras, [], [])
    del torch["sliding"]
    assert to_keras(COUNTING, torch, TIED).entries["window"] == 9


def test_what_cannot_be_counted_otherwise_or_differs():
    keras = {"gated": 15, "length": "long", "window": 3, "size": 5}
    assert said(to_torch(COUNTING, keras, TIED)) == [
        "refused gated: is 15, which is no inner * 2",
        'refused length: is "long", which is no positions - 2',
    ]
    torch = {"inner": 7.5, "positions": 2, "head_dim": 5, "scalar": 6, "kinds": ["far", "near"]}
    assert said(to_keras(COUNTING, torch, TIED)) == [
        "refused inner: is 7.5, and * 2 it is no gated",
        "refused positions: is 2, and - 2 it is no length",
        "refused scalar: is 6, and Toy has one value for that and head_dim, which is 5",
        'refused kinds: is ["far", "near"], and Toy repeats ["near", "far"]',
    ]
    assert "kinds: is 1," in said(to_keras(COUNTING, {**torch, "kinds": 1}, TIED))[-1]


NAMED = 'keras = "a:B"\ntorch = "B"\nmodel_type = "b"\n'
FAILURES = {
    'torch = "B"\nmodel_type = "b"': ["configs[0]: has no 'keras'"],
    'keras = "a"\ntorch = "B"\nmodel_type = "b"\nrow = []': [
        "configs[0]: unknown key 'row'; near: 'rows'",
        "configs[0].keras: 'a' is not of the form 'package.module:Class'",
    ],
    NAMED + 'rows = [["a"], ["a", "b", { absent = 1, like = '
    '"c" }], ["a", "b", { holds = "not heade" }]]': [
        "configs[0].rows[0]: must be [keras, torch] or [keras, torch, {...}]",
        "configs[0].rows[1]: has more than one of absent, like, axis, holds",
        "configs[0].rows[2].holds: no condition is called 'not heade'; near: 'headed'",
        "configs[0]: the Keras entry 'a' is there twice",
        "configs[0]: the PyTorch entry 'b' is there twice",
    ],
    NAMED + 'rows = [["a", "b", { times = 0, plus = 1.5, null = 1, equal = ["b"] }]]': [
        "configs[0].rows[0].null: must be true or false, is an integer",
        "configs[0].rows[0].times: must be an integer of at least 1, is 0",
        "configs[0].rows[0].plus: must be an integer, is a number",
        "configs[0]: the PyTorch entry 'b' is there twice",
    ],
    NAMED + 'torch_only = { x = 1 }\nrows = [["a", "b", { axis '
    '= "w" }]]\n[configs.accepted.y]\nvalues = [1]': [
        "configs[0].rows[0].axis: 'w' is not of the form TENSOR[AXIS]",
        "configs[0].accepted.y: has no 'why'",
        "configs[0].accepted: 'y' is held to no value",
    ],
}


@pytest.mark.parametrize("text", FAILURES, ids=range(len(FAILURES)))
def test_everything_wrong_with_a_table_is_said(text):
    with pytest.raises(MappingFileError) as caught:
        parse_mapping(f"{HEAD}[[configs]]\n{text}")
    found = [f"{one.where}: {one.text}" for one in caught.value.problems]
    assert found == FAILURES[text]
