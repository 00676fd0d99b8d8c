"""What commands print: sizes, collapsed rows, tables, and the same lines in a pipe."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.cli.collapse import collapse, number_set
from converter.cli.render import Column, plain_table
from converter.cli.sizes import parse_axis_sizes, parse_size, size_text
from converter.errors import UsageError

NO_AXIS = """it is not of the form axis=size
  expected  the name of an axis and a whole number, as in heads=12"""


@dataclass(frozen=True)
class Collapsing:
    id: str
    rows: list[tuple[str, ...]]
    shown: list[tuple[tuple[str, ...], int]]


COLLAPSING = [
    Collapsing("nothing", [], []),
    Collapsing("one row stays as it is", [("conv2d_3/kernel",)], [(("conv2d_3/kernel",), 1)]),
    Collapsing(
        "a ragged grid keeps its ranges and its count",
        [(f"conv{b}_block{k}_0_bn",) for b, blocks in ((2, 6), (3, 12)) for k in range(1, blocks)],
        [(("conv{2,3}_block{1..11}_0_bn",), 16)],
    ),
    Collapsing(
        "columns are collapsed together, each with its own numbers",
        [(f"layer_{n}/kernel", f"h.{n - 1}.weight") for n in (1, 2, 3)],
        [(("layer_{1..3}/kernel", "h.{0..2}.weight"), 3)],
    ),
    Collapsing(
        "what differs in letters stays apart, in order of first appearance",
        [("b1_x",), ("a1_y",), ("b2_x",)],
        [(("b{1,2}_x",), 2), (("a1_y",), 1)],
    ),
    Collapsing("leading zeros are kept", [("w01",), ("w02",), ("w03",)], [(("w{01..03}",), 3)]),
]


@pytest.mark.parametrize("case", COLLAPSING, ids=lambda case: case.id)
def test_rows_that_differ_in_numbers_are_one(case: Collapsing):
    assert [(group.texts, group.count) for group in collapse(case.rows)] == case.shown


@given(st.lists(st.tuples(st.from_regex(r"[ab]\d{1,2}[cd]\d?", fullmatch=True))))
def test_no_row_is_lost_by_collapsing(rows):
    """The counts add up, and a row that stands for one name is that name."""
    groups = collapse(rows)
    assert sum(group.count for group in groups) == len(rows)
    assert all(group.texts in rows for group in groups if "{" not in group.texts[0])


@given(st.sets(st.integers(0, 60), min_size=1, max_size=4))
def test_a_set_of_numbers_names_exactly_its_members(numbers):
    """Up to four numbers no range can hide a gap."""
    text = number_set(str(number) for number in numbers).strip("{}")
    named: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("..")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == numbers


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("5GB", 5 * 10**9), ("2 KiB", 2048), ("0.5mb", 500_000), ("1TiB", 2**40)],
)
def test_sizes_are_read(text: str, size: int):
    assert parse_size(text, "--max-shard-size") == size


@pytest.mark.parametrize("text", ["", "GB", "5XB", "-1GB", "0", "1e9", "five"])
def test_what_is_no_size_is_refused(text: str):
    with pytest.raises(UsageError) as caught:
        parse_size(text, "--max-shard-size")
    assert str(caught.value) == (
        f"cannot use --max-shard-size {text!r}: it is not a size\n"
        "  expected  a number and KB, MB, GB, TB, KiB, MiB, GiB or TiB, as in 5GB"
    )


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["heads"],
            f"cannot use --set 'heads': {NO_AXIS}",
        ),
        (["h=2", "h=3"], "cannot use --set 'h=3': h was 2 before"),
        (
            ["h=-2"],
            f"cannot use --set 'h=-2': {NO_AXIS}",
        ),
    ],
)
def test_what_sets_no_axis_is_refused(texts: list[str], message: str):
    with pytest.raises(UsageError) as caught:
        parse_axis_sizes(texts)
    assert str(caught.value) == message


@given(st.integers(0, 10**16))
def test_a_size_is_shown_within_half_a_per_cent(nbytes: int):
    number, unit = size_text(nbytes).split()
    scale = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
    assert float(number) * scale == pytest.approx(nbytes, rel=0.0051)


def test_a_plain_table_never_wraps_a_name():
    name = "encoder/" * 60 + "kernel"
    lines = plain_table([Column("tensor"), Column("bytes", right=True)], [(name, "12")])
    assert lines[1] == f"{name}     12"
