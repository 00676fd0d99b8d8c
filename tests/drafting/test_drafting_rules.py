"""Rules from pairs: short, and standing for exactly the pairs that they were made from."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.drafting.candidates import Candidate
from converter.drafting.hints import Hint, heeded, read_hints
from converter.drafting.induction import induce
from converter.drafting.names import Likeness, read_name
from converter.drafting.numbering import rows_of
from converter.drafting.units import Place, Unit
from converter.drafting.writing import spell
from converter.errors import UsageError
from converter.mapping.catalogue import load_catalogue
from converter.mapping.template import Template
from converter.tensors.spec import LayerSpec


@dataclass(frozen=True)
class Case:
    id: str
    pairs: list[tuple[str, str]]
    rows: list[tuple[str, str]]


CASES = [
    Case("one pair is itself", [("conv1", "features.0")], [("conv1", "features.0")]),
    Case(
        "a number that is shifted",
        [("b1_c", "x.0.w"), ("b2_c", "x.1.w"), ("b3_c", "x.2.w")],
        [("b{b}_c", "x.{b-1}.w")],
    ),
    Case(
        "a factor needs three points",
        [("s0", "f.1"), ("s1", "f.3"), ("s2", "f.5")],
        [("s{s}", "f.{2*s+1}")],
    ),
    Case(
        "two numbers",
        [(f"c{c}_b{b}", f"d{c - 1}.l{b}") for c in (2, 3) for b in (1, 2)],
        [("c{c}_b{b}", "d{c-1}.l{b}")],
    ),
    Case(
        "what follows no line is divided by the number that tells",
        [(f"a1_{n}", f"f.{n}") for n in range(4)]
        + [(f"a2_{n}", f"f.{2 * n + 20}") for n in range(6)],
        [("a1_{a}", "f.{a}"), ("a2_{a}", "f.{2*a+20}")],
    ),
    Case(
        "and where that is no shorter, a table",
        [("a1_1", "f.0"), ("a1_2", "f.3"), ("a2_1", "f.9"), ("a2_2", "f.11"), ("a2_3", "f.30")],
        [("a{part}", "f.{part}")],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_numbers_become_placeholders(case):
    written = spell(rows_of("conv2d", case.pairs, {}))
    assert sorted((keras, torch) for _, keras, torch in written.rows) == sorted(case.rows)


_NUMBER = st.integers(0, 30)


@given(
    st.lists(st.tuples(_NUMBER, _NUMBER), min_size=1, max_size=12, unique=True),
    st.integers(1, 4), st.integers(0, 9), st.booleans(),
)  # fmt: skip
def test_rows_stand_for_their_pairs(numbers, factor, offset, regular):
    """Every pair is matched by its row's left column and made by its right one."""
    pairs = [
        (f"stage{a}_block{b}_conv", f"s.{factor * a + offset}.b{b}" if regular else f"s.{i}.b{b}")
        for i, (a, b) in enumerate(numbers)
    ]
    rows = rows_of("conv2d", pairs, {})
    assert sorted(pair for row in rows for pair in row.pairs) == sorted(pairs)
    written = spell(rows)
    for row, (_, keras, torch) in zip(rows, written.rows, strict=True):
        left = Template.parse(keras, written.tables, "keras")
        right = Template.parse(torch, written.tables, "torch")
        for first, second in row.pairs:
            bindings = left.match(first)
            assert bindings is not None
            assert right.fill(bindings) == second


def _pairs(names):
    from converter.drafting.assignment import Pair

    kind = load_catalogue().kinds["dense"]
    return [
        Pair(Candidate(Unit(LayerSpec(keras, "Dense", {}), {}, 0), Place(torch, {}), kind), 0.0)
        for keras, torch in names
    ]


def test_words_that_differ_alike_become_a_table():
    names = [
        (f"layer_{n}/{keras}", f"h.{n}.attn.{torch}")
        for n in range(3)
        for keras, torch in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"))
    ]
    [row] = induce(_pairs(names), lambda rows: set())
    written = spell([row])
    assert written.rows == (("dense", "layer_{l}/{part}", "h.{l}.attn.{part}_proj"),)
    assert written.tables == {"part": {"key": "k", "query": "q", "value": "v"}}


def _claiming(*others):
    """Return what finds the rows that would also be about some other layers."""

    def faulty(rows):
        written = spell(rows)
        return {
            place
            for place, (_, keras, _) in enumerate(written.rows)
            if any(Template.parse(keras, written.tables, "keras").match(one) for one in others)
        }

    return faulty


def test_a_number_that_claims_too_much_becomes_a_table():
    """The shortcut of a block is 0 in Keras, and under another name in PyTorch."""
    names = [(f"s{s}_{c}_conv", f"l{s + 1}.conv{c}") for s in range(4) for c in (1, 2, 3)]
    [row] = induce(_pairs(names), _claiming("s0_0_conv", "s3_0_conv"))
    written = spell([row])
    assert written.rows == (("dense", "s{s}_{part}_conv", "l{s+1}.conv{part}"),)
    assert written.tables == {"part": {"1": "1", "2": "2", "3": "3"}}


def test_where_no_table_helps_one_number_is_written_out():
    names = [(f"s{s}_b{b}", f"l{s}.{b}") for s in range(2) for b in range(3 + s)]
    written = spell(induce(_pairs(names), _claiming("s0_b3")))
    assert [(keras, torch) for _, keras, torch in written.rows] == [
        ("s0_b{part1}", "l0.{part1}"), ("s1_b{part2}", "l1.{part2}"),
    ]  # fmt: skip
    assert written.tables["part1"] == {"0": "0", "1": "1", "2": "2"}


def test_rows_that_differ_by_one_word_share_its_table():
    """A table of two words saves a line where two rows use it, and none where one does."""
    names = [(f"{s}/{w}_{n}", f"{t}.{v}.{n}") for s, t in (("enc", "e"), ("dec", "d"))
             for w, v in (("mlp", "fc"), ("ln", "norm")) for n in range(3)]  # fmt: skip
    written = spell(induce(_pairs(names), lambda rows: set()))
    assert len(written.rows) == 2
    assert written.tables == {"part": {"dec": "d", "enc": "e"}}
    alone = spell(induce(_pairs(names[:3] + names[6:9]), lambda rows: set()))
    assert len(alone.rows) == 2
    assert alone.tables == {}


def test_a_row_that_claims_too_much_is_taken_apart():
    names = [(f"layer_{n}/{word}", f"h.{n}.{word}") for n in range(3) for word in ("a", "b", "c")]
    calls = []

    def faulty(rows):
        calls.append(len(rows))
        return {0} if len(calls) == 1 else set()

    assert len(induce(_pairs(names), faulty)) == 3
    assert calls == [1, 3]


def test_words_of_both_frameworks_mean_the_same():
    assert read_name("encoder.layers.3.self_attn.q_proj").words[-2:] == ("attn", "query")
    assert read_name("transformer_layer_3/self_attention_layer/query").words[-1] == "query"
    alike = Likeness(["block_1/query", "block_1/key"], ["h.1.q_proj", "h.1.k_proj"])
    assert alike("block_1/query", "h.1.q_proj") > alike("block_1/query", "h.1.k_proj")


HINTS = [
    ("encoder", "cannot use the hint 'encoder'\n  expected  KERAS=TORCH, such as "
     "encoder/block_0=layers.0"),
    ("nobody=a", "cannot use the hint 'nobody=a': no layer of Keras is at 'nobody'"),
    ("x=nobody", "cannot use the hint 'x=nobody': no module of PyTorch is at 'nobody'"),
    ("x=b", "cannot use the hint 'x=b': no layer at 'x' can be a module at 'b'\n"
     "  because  no layer kind pairs their shapes"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), HINTS, ids=[text for text, _ in HINTS])
def test_hints_that_cannot_be_followed(text, message):
    candidates = [pair.candidate for pair in _pairs([("x", "a"), ("y", "b")])]
    with pytest.raises(UsageError) as caught:
        heeded(candidates, read_hints([text]))
    assert str(caught.value) == message


def test_a_hint_leaves_only_what_it_allows():
    candidates = [pair.candidate for pair in _pairs([("x", "a"), ("x", "b"), ("y", "a")])]
    kept = heeded(candidates, [Hint("x", "b")])
    assert [(one.unit.path, one.place.module) for one in kept] == [("x", "b"), ("y", "a")]


def test_hints_that_contradict_each_other():
    """Each could be followed alone; nothing is left when both are."""
    candidates = [pair.candidate for pair in _pairs([("x", "a"), ("x", "b"), ("y", "a")])]
    with pytest.raises(UsageError) as caught:
        heeded(candidates, read_hints(["x=a", "x=b"]))
    assert str(caught.value) == "cannot use the hint 'x=a': another one forbids it\n  hint  x=b"
    inside = [pair.candidate for pair in _pairs([("e/x", "d.a"), ("e/x", "d.b"), ("y", "a")])]
    kept = heeded(inside, read_hints(["e=d", "e/x=d.b"]))
    assert [one.place.module for one in kept] == ["d.b", "a"]
