"""A stream of a mapped source larger than its bound: how much of it is resident, measured."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from converter.algebra.chain import chain
from converter.algebra.joins import PadRows
from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange
from converter.algebra.values import Cast
from converter.tensors.dtype import find_dtype

STATM = Path("/proc/self/statm")
BOUND = 2 << 20  # bytes
ROWS, COLUMNS = 4096, 2048  # 32 MB of float32; a row is two pages

pytestmark = pytest.mark.skipif(not STATM.exists(), reason="resident pages are counted by Linux")


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "weights"
    values = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)
    values.tofile(path)
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # closed with its arrays
    memory.madvise(mmap.MADV_RANDOM)  # no reading ahead: what is resident was asked for
    array = np.frombuffer(memory, np.float32).reshape(ROWS, COLUMNS)
    return array, lambda: memory.madvise(mmap.MADV_DONTNEED), values


def resident_file_bytes():
    return int(STATM.read_text().split()[2]) * mmap.PAGESIZE


def peak_while_streaming(rule, array, release):
    """Return the most source bytes resident at once, and the target put together."""
    release()
    before, peak = resident_file_bytes(), 0
    (shape,) = rule.infer([array.shape])
    (dtype,) = rule.infer_dtypes([find_dtype("float32")])
    target = np.zeros(shape, dtype.numpy).reshape(-1)
    for block in rule.stream([array], BOUND):
        assert block.array.nbytes <= BOUND
        target[block.start : block.start + block.array.size] = block.array.reshape(-1)
        peak = max(peak, resident_file_bytes() - before)
        release()
    return peak, target.reshape(shape)


RULES = {
    "permuted": (Rearrange(Pattern.parse("a b -> b a")), lambda x: x.T),
    "as it is": (Rearrange(Pattern.parse("a b -> a b")), lambda x: x),
    "gates": (
        Rearrange(Pattern.parse("a ([p q r s] u) -> ([q p s r] u) a")),
        lambda x: x.reshape(ROWS, 4, -1)[:, [1, 0, 3, 2]].reshape(ROWS, -1).T,
    ),
    "permuted and cast": (
        chain(
            Rearrange(Pattern.parse("a b -> b a")),
            Cast(find_dtype("float32"), find_dtype("float64")),
        ),
        lambda x: x.T.astype(np.float64),
    ),
    "padded": (PadRows(2, 0.0), lambda x: np.concatenate([np.zeros((2, COLUMNS), "f4"), x])),
}


@pytest.mark.parametrize("name", RULES)
def test_no_more_of_the_source_is_resident_than_the_bound_allows(mapped, name):
    array, release, values = mapped
    rule, expected = RULES[name]
    peak, target = peak_while_streaming(rule, array, release)
    # The kernel maps the pages around a fault as well, 16 at a time where they are cached.
    assert peak <= 2 * BOUND
    assert (target == expected(values)).all()


def test_the_measurement_can_fail(mapped):
    array, release, _ = mapped
    rule = RULES["permuted"][0]
    peak, _ = peak_while_streaming(rule, array, lambda: None)
    assert peak > 10 * BOUND
    release()
