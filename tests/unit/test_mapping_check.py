"""Checking a mapping before any checkpoint is there."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from support_mapping import mapping

from converter.errors import MappingFileError
from converter.mapping import library
from converter.mapping.catalogue import load_catalogue
from converter.mapping.check import check_mapping, find_problems

CATALOGUE = load_catalogue()


@dataclass(frozen=True)
class Case:
    id: str
    rules: str
    problems: tuple[str, ...]
    rest: str = ""


CASES = [
    Case("sound", '["dense", "a{i}", "b.{i}"], ["conv2d", "c{i}", "d.{i}"]', ()),
    Case(
        "two rules for one Keras tensor",
        '["dense", "a{i}", "b.{i}"], ["dense", "a3", "c"]',
        ('conflict: and rules[1] ["dense", "a3", "c"] can claim one tensor of Keras',),
    ),
    Case(
        "two rules for one PyTorch tensor",
        '["dense", "a{i}", "b.{2*i}"], ["dense", "c{i}", "b.{3*i+1}"]',
        ('conflict: and rules[1] ["dense", "c{i}", "b.{3*i+1}"] can claim one tensor of PyTorch',),
    ),
    Case("odd and even", '["dense", "a{i}", "b.{2*i}"], ["dense", "c{i}", "b.{2*i+1}"]', ()),
    Case("other slots", '["conv2d", "a", "b"], ["layer_scale", "c", "b"]', ()),
    Case(
        "exclusive conditions",
        '["dense", "a", "b", { when = "x" }], ["dense", "a", "c", { when = "not x" }]',
        (),
        '[conditions]\nx = { keras = "y" }',
    ),
    Case(
        "unrelated conditions",
        '["dense", "a", "b", { when = "x" }], ["dense", "a", "c", { when = "not y" }]',
        ('conflict: and rules[1] ["dense", "a", "c"] can claim one tensor of Keras',),
        '[conditions]\nx = { keras = "y" }\ny = { keras = "y" }',
    ),
    Case(
        "no such axis",
        '["dense", "a", "b", { sizes = { channels = 3 } }]',
        ("invalid: kind 'dense' has no axis 'channels'; its axes: in, out",),
    ),
    Case(
        "a drop of what a rule claims",
        '["dense", "a{i}", "b.{i}"]',
        ("conflict: claims what 'b.3' drops",),
        'drop = [{ torch = "b.3", why = "no reason" }]',
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_problems(case):
    found = find_problems(mapping(case.rules, case.rest), CATALOGUE)
    assert tuple(f"{problem.kind}: {problem.text}" for problem in found) == case.problems


def test_a_kind_that_is_refused():
    found = list(find_problems(mapping('["gru_reset_before", "a", "b"]'), CATALOGUE))
    assert [problem.kind for problem in found] == ["refused"]


@pytest.mark.parametrize("name", library.names())
def test_our_own_mappings_are_sound(name):
    assert check_mapping(name).name == name


def test_the_message_as_a_whole(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'schema = 1\nname = "mine"\nkeras = "k"\ntorch = "t"\n'
        'rules = [["dense", "a", "b"], ["dense", "a", "c"]]\n'
    )
    with pytest.raises(MappingFileError) as caught:
        check_mapping(path)
    assert str(caught.value) == (
        f"cannot use '{path}': 1 problem\n"
        '  conflict  rules[0] ["dense", "a", "b"]  and rules[1] ["dense", "a", "c"] can claim one '
        "tensor of Keras"
    )
