"""Templates: what they match, what they fill, and what is refused when they are read."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hanging import no_hang

from converter.mapping.template import Template, TemplateError, skeleton

TABLES = {
    "proj": {"query": "q_proj", "key": "k_proj"},
    "size": {"net_tiny": "", "net_small": ""},
    "letter": {"a": "0", "b": "1"},
    "ambiguous": {"a": "x", "a_b": "y"},
    "same": {"first": "x", "second": "x"},
}


@dataclass(frozen=True)
class Match:
    id: str
    template: str
    name: str
    bindings: dict | None
    side: str = "keras"


MATCHES = [
    Match("literal", "conv1", "conv1", {}),
    Match("a longer name is no match", "conv1", "conv10", None),
    Match("two integers", "conv{b}_block{l}_0_bn", "conv5_block16_0_bn", {"b": 5, "l": 16}),
    Match("in full", "conv{b}", "conv5_bn", None),
    Match("no leading zero", "conv{b}", "conv05", None),
    Match("zero", "conv{b}", "conv0", {"b": 0}),
    Match("offset down", "denseblock{b-1}", "denseblock1", {"b": 2}),
    Match("offset up", "layer{s+2}", "layer7", {"s": 5}),
    Match("offset up, would be negative", "layer{s+2}", "layer1", None),
    Match("linear", "features.{2*s+1}.0", "features.7.0", {"s": 3}),
    Match("linear, between", "features.{2*s+1}.0", "features.6.0", None),
    Match("linear, below", "features.{2*s-4}", "features.0", {"s": 2}),
    Match("twice the same", "block_{s}/conv_{s}", "block_3/conv_3", {"s": 3}),
    Match("twice, and different", "block_{s}/conv_{s}", "block_3/conv_4", None),
    Match("sign is no number", "conv{b}", "conv-1", None),
    Match("too many digits", "conv{b}", "conv1234567890", None),
    Match("table, Keras", "l{i}/{proj}", "l3/key", {"i": 3, "proj": "key"}),
    Match("table, PyTorch", "l.{i}.{proj}", "l.3.k_proj", {"i": 3, "proj": "key"}, "torch"),
    Match("no member", "l{i}/{proj}", "l3/value", None),
    Match("member in front", "{size}_stem", "net_small_stem", {"size": "net_small"}),
    Match("table and number", "block{i}{letter}", "block3b", {"i": 3, "letter": "b"}),
    Match("empty template", "", "", {}, "torch"),
    Match("empty template, some name", "", "x", None, "torch"),
]


@pytest.mark.parametrize("case", MATCHES, ids=lambda case: case.id)
def test_match(case):
    template = Template.parse(case.template, TABLES, case.side)
    assert template.match(case.name) == case.bindings


@pytest.mark.parametrize(
    "case", [one for one in MATCHES if one.bindings is not None], ids=lambda case: case.id
)
def test_fill_gives_back_what_matched_and_the_skeleton_is_foreseen(case):
    template = Template.parse(case.template, TABLES, case.side)
    assert template.fill(case.bindings) == case.name
    assert skeleton(case.name) in template.skeletons()


def test_fill_of_a_negative_number_is_none():
    assert Template.parse("layer{s-1}").fill({"s": 0}) is None


@dataclass(frozen=True)
class Refusal:
    id: str
    template: str
    message: str
    side: str = "keras"


REFUSALS = [
    Refusal("open", "conv{b", "has a '{' without its '}'"),
    Refusal("closed", "conv}b", "has a '}' without its '{'"),
    Refusal(
        "malformed",
        "conv{b--1}",
        "has {b--1}, which is not of the form {b}, {b-1}, {2*b+1} or {table}",
    ),
    Refusal("empty", "conv{}", "has {}, which is not of the form {b}, {b-1}, {2*b+1} or {table}"),
    Refusal("times zero", "conv{0*b}", "multiplies {b} by zero"),
    Refusal("arithmetic on a table", "{proj+1}", "does arithmetic on {proj}, which is a table"),
    Refusal(
        "two numbers",
        "conv{a}{b}",
        "has digits right behind the number {a}: where the number ends cannot be told",
    ),
    Refusal(
        "a number and a digit",
        "conv{a}0",
        "has digits right behind the number {a}: where the number ends cannot be told",
    ),
    Refusal(
        "a number and members that are digits",
        "conv{a}{letter}",
        "has digits right behind the number {a}: where the number ends cannot be told",
        "torch",
    ),
    Refusal(
        "members that begin alike",
        "{ambiguous}{i}",
        "has {ambiguous}, whose members 'a' and 'a_b' cannot be told apart by what follows",
    ),
    Refusal(
        "members spelt alike",
        "{same}",
        "has {same}, two members of which are spelt alike on this side",
        "torch",
    ),
    Refusal("not ASCII", "conv\u00e9", "holds characters that are not printable ASCII"),
    Refusal("long", "x" * 1001, "is longer than 1000 characters"),
    Refusal("many", "{a}." * 17, "has more than 16 placeholders"),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.id)
def test_refusal(case):
    with pytest.raises(TemplateError) as caught:
        Template.parse(case.template, TABLES, case.side)
    assert str(caught.value) == case.message


def test_members_told_apart_by_what_follows_are_accepted():
    template = Template.parse("{ambiguous}/x", TABLES)
    assert template.match("a/x") == {"ambiguous": "a"}
    assert template.match("a_b/x") == {"ambiguous": "a_b"}


PIECES = st.lists(
    st.one_of(
        st.sampled_from(["conv", "_", "/block", ".w", "7x"]),
        st.sampled_from(["{a}", "{b}", "{a-1}", "{2*b+1}", "{3*a}", "{proj}"]),
    ),
    max_size=6,
)


@given(PIECES, st.integers(0, 300), st.integers(0, 300), st.sampled_from(["query", "key"]))
def test_law_fill_then_match_gives_the_bindings_back(pieces, a, b, proj):
    text = "".join(pieces)
    for side in ("keras", "torch"):
        try:
            template = Template.parse(text, TABLES, side)
        except TemplateError:
            continue
        bindings = {"a": a, "b": b, "proj": proj}
        name = template.fill(bindings)
        if name is None:
            continue
        assert template.match(name) == {key: bindings[key] for key in template.placeholders}
        assert skeleton(name) in template.skeletons()


@given(PIECES, st.text("cov_/.w7x0123blk", max_size=30))
def test_law_what_matches_is_what_fill_gives(pieces, name):
    try:
        template = Template.parse("".join(pieces), TABLES)
    except TemplateError:
        return
    bindings = template.match(name)
    if bindings is not None:
        assert template.fill(bindings) == name


def test_matching_takes_linear_time_on_names_made_to_hurt():
    """What makes backtracking matchers explode: repeated near-matches, very long names."""
    template = Template.parse("{a}x{b}x{c}x{d}x{e}x{f}x{g}x{h}!")
    name = "1x" * 100_000
    with no_hang():
        assert template.match(name) is None
        assert template.match("9" * 1_000_000) is None
