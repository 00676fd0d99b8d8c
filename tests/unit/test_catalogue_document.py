"""Reading the layer catalogue: what is accepted, and every problem at once."""

from __future__ import annotations

import pytest

from converter.algebra.pattern import Pattern
from converter.errors import MappingFileError
from converter.mapping.catalogue import Catalogue, load_catalogue
from converter.mapping.catalogue_document import parse_catalogue, read_catalogue
from converter.mapping.naming import snake_case
from converter.mapping.slots import Slot

DENSE = """
schema = 1
[classes.Dense]
variables = ["kernel", "bias if use_bias"]
[kinds.dense]
keras = ["Dense"]
torch = "torch.nn.Linear"
slots = [["kernel", "weight", "in out -> out in"], ["bias?", "bias"]]
source = "Keras"
"""


def problems(text: str) -> list[str]:
    with pytest.raises(MappingFileError) as caught:
        parse_catalogue(text)
    return [f"{one.where}: {one.text}" for one in caught.value.problems]


def test_a_small_catalogue_reads():
    catalogue = Catalogue(*parse_catalogue(DENSE))
    assert catalogue.kinds["dense"].slots == (
        Slot(("kernel",), ("weight",), "in out -> out in"),
        Slot(("bias",), ("bias",), optional=True),
    )
    found = catalogue.variables("Dense", {"use_bias": False}, ["vars/0"])
    assert found is not None
    assert [one.slot for one in found] == ["kernel"]


def test_parts_repeat_and_families_become_flat_slots():
    text = (
        DENSE
        + """
[kinds."twins_{n}"]
each = [{ n = ["2", "3"] }]
keras = []
torch = ""
parts = [{ kind = "dense", repeat = "{n}", keras = "cells/{i}/{}", torch = "{}_l{i}" }]
source = "x"
"""
    )
    kinds = Catalogue(*parse_catalogue(text)).kinds
    assert list(kinds) == ["dense", "twins_2", "twins_3"]
    assert [slot.torch for slot in kinds["twins_2"].slots] == [
        ("weight_l0",), ("bias_l0",), ("weight_l1",), ("bias_l1",)
    ]  # fmt: skip
    assert kinds["twins_3"].slots[4].keras == ("cells/2/kernel",)
    assert kinds["twins_3"].slots[4].pattern == "in out -> out in"


WRONG = """
[classes.Bad]
variables = ["kernel when use_bias"]
colour = "red"
[classes.Worse]
variables = ["kernel when use_bias"]
aliases = ["Dense"]
children = [{ store = "x", class = "Nowhere", name = "n" }, { store = "y" }]
renamed = { old = "new" }
[kinds.wrong]
keras = ["Nothing(Dense)"]
torch = ""
source = ""
slots = [
  ["kernel", "weight", "in out -> out"],
  ["kernel", "weight", "", "offset one"],
  ["a b", "c"],
  ["", "count", "", "constant 1", "why"],
  ["alone", "", "", "derived 0"],
  ["x", "y", "", "multiply 2"],
  ["m", "n", "", "count"],
  ["p q", "", "", "count", "why"],
  ["r", "", "1 n", "count 3", "why"],
  ["s", "", "f", "frequencies 3.5", "why"],
  ["t", "", "f (", "frequencies base", "why"],
  ["only"],
]
parts = [{ kind = "later" }]
"""

PROBLEMS = [
    "extra: unknown key; known are schema, classes, kinds",
    "schema: must be 1",
    "classes.Bad: Object contains unknown field `colour`",
    "classes.Worse: 'kernel when use_bias' is not 'NAME', 'NAME if KEY', 'NAME unless KEY' "
    "or 'NAME if KEY is VALUE'",
    "classes.Worse: children 'x': no class 'Nowhere'",
    "classes.Worse: children 'y': must have one of class, layer and layers",
    "classes.Worse: renamed: 'old' becomes 'new', which is no variable",
    "classes.Worse: 'Dense' is also classes.Dense",
    "kinds.wrong: parts: no kind 'later' above this one",
    "kinds.wrong: cannot read the pattern 'in out -> out': axis 'in' is only on the left",
    "kinds.wrong: slot ['kernel', 'weight', '', 'offset one']: 'offset' needs a number, not 'one'",
    "kinds.wrong: slot ['a b', 'c']: needs a pattern or an operation to join tensors",
    "kinds.wrong: slot ['', 'count', '', 'constant 1', 'why']: one side is empty, and the "
    "operation is none of 'count', 'derived', 'frequencies'",
    "kinds.wrong: slot ['alone', '', '', 'derived 0']: a tensor of one side needs the reason why",
    "kinds.wrong: slot ['x', 'y', '', 'multiply 2']: no operation 'multiply'; known are sum, "
    "difference, constant, derived, offset, scale, rows, shared_row, stack, join_rows, copies, "
    "count, frequencies",
    "kinds.wrong: slot ['m', 'n', '', 'count']: 'count' makes one tensor of one side",
    "kinds.wrong: slot ['p q', '', '', 'count', 'why']: 'count' makes one tensor of one side",
    "kinds.wrong: slot ['r', '', '1 n', 'count 3', 'why']: 'count' has no value",
    "kinds.wrong: slot ['s', '', 'f', 'frequencies 3.5', 'why']: 'frequencies' needs the name of a "
    "size, not '3.5'",
    "kinds.wrong: cannot read the pattern 'f ( -> f (': '(' is never closed",
    "kinds.wrong: slot ['only']: must have two to five texts",
    "kinds.wrong: has no source",
    "kinds.wrong: two slots have 'kernel'",
    "kinds.wrong: two slots have 'weight'",
    "kinds.wrong: keras: no class 'Nothing'",
]


def test_all_problems_come_together():
    text = DENSE.replace("schema = 1", "schema = 2\nextra = 1") + WRONG
    assert problems(text) == PROBLEMS


def test_a_problem_is_a_message():
    with pytest.raises(MappingFileError) as caught:
        parse_catalogue(DENSE.replace("source =", "sauce ="))
    assert str(caught.value) == (
        "cannot use layers.toml: 1 problem\n"
        "  invalid  kinds.dense  Object contains unknown field `sauce`"
    )


def test_what_is_no_toml_or_no_file_is_said_so(tmp_path):
    assert problems("schema = ")[0].startswith(": is not TOML: ")
    with pytest.raises(MappingFileError, match=r"cannot use absent\.toml: 1 problem"):
        read_catalogue(tmp_path / "absent.toml")


def test_two_kinds_of_one_name_conflict():
    text = (
        DENSE
        + """
[kinds."{n}"]
each = [{ n = "dense" }]
keras = []
torch = ""
source = "x"
"""
    )
    assert problems(text) == ["kinds.dense: is there twice"]


@pytest.mark.parametrize("name", list(load_catalogue().kinds))
def test_every_kind_of_ours_has_a_source_and_patterns_that_invert(name):
    kind = load_catalogue().kinds[name]
    assert kind.source
    assert kind.name == name
    for slot in kind.slots:
        assert slot.keras or slot.torch
        if slot.full_pattern is not None:
            num_targets = 1 if slot.operation == "sum" else slot.pattern_targets
            pattern = Pattern.parse(slot.full_pattern, slot.pattern_sources, num_targets)
            assert pattern.inverse().inverse() == pattern


def test_every_class_is_found_by_the_name_that_keras_makes_of_it():
    catalogue = load_catalogue()
    for name in catalogue.classes:
        assert catalogue.class_of_snake(snake_case(name)) == name
    assert catalogue.class_of_snake("my_layer") is None
