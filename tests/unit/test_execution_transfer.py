"""Every target tensor is written completely and once, whatever operations and writers do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from support.flat_files import (
    MemoryCheckpoint,
    flat_file,
    make_plan,
    read_flat,
    save,
    some_arrays,
    specs,
)
from support.threads import left_threads

from converter.algebra.base import Block, Law, Operation
from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange
from converter.errors import OperationError, PlanError
from converter.execution import transfer as transfer_module
from converter.execution.executor import iterate, to_arrays
from converter.execution.transfer import Transfer
from converter.formats.base import Checkpoint
from converter.tensors.dtype import DTYPES, get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

SWAP = Rearrange(Pattern.parse("a b -> b a"))
KEEP = Rearrange(Pattern.parse("a b -> a b"))


@dataclass(frozen=True)
class Odd(Operation):
    """Gives the blocks it is told to give."""

    blocks: tuple = ()
    error: Exception | None = None

    @property
    def law(self):
        return Law.EXACT

    def infer(self, shapes):
        return tuple(shapes)

    def infer_dtypes(self, dtypes):
        return tuple(dtypes)

    def apply(self, arrays):
        return tuple(arrays)

    def inverse(self):
        return self

    def describe(self):
        return "odd"

    def stream(self, arrays, max_bytes):
        if self.error is not None:
            raise self.error
        for target, start, size in self.blocks:
            yield Block(target, start, np.ones(size, np.float32))


@pytest.mark.parametrize("threads", [1, 3])
def test_values_arrive_where_the_plan_says(tmp_path, monkeypatch, threads):
    """Blocks far smaller than tensors, jobs of few tensors: the seams are where mistakes sit."""
    monkeypatch.setattr(transfer_module, "BLOCK_BYTES", 256)
    monkeypatch.setattr(transfer_module, "JOB_BYTES", 2000)
    monkeypatch.setattr("converter.execution.executor._workers", lambda nbytes: threads)
    arrays = some_arrays(60)
    with flat_file(tmp_path / "source.bin", arrays) as source:
        rows = [
            ([name], [f"new.{name}"], SWAP if index % 2 else KEEP)
            for index, name in enumerate(arrays)
        ]
        plan = make_plan(source.manifest, list(reversed(rows)))
        written = save(plan, source, tmp_path / "target.bin")
    found = read_flat(tmp_path / "target.bin", plan.target)
    for index, (name, array) in enumerate(arrays.items()):
        np.testing.assert_array_equal(found[f"new.{name}"], array.T if index % 2 else array)
    assert written.files == (tmp_path / "target.bin",)
    assert (written.nbytes, written.tensors) == (plan.target.nbytes, 60)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_passes_bit_for_bit(tmp_path, dtype):
    raw = np.random.default_rng(3).integers(0, 256, dtype.nbytes((8, 12)), dtype=np.uint8)
    (tmp_path / "source.bin").write_bytes(raw.tobytes())
    from support.flat_files import FlatCheckpoint

    spec = TensorSpec("t", (8, 12), dtype)
    with FlatCheckpoint(tmp_path / "source.bin", [spec]) as source:
        plan = make_plan(source.manifest, [(["t"], ["u"], KEEP)])
        save(plan, source, tmp_path / "target.bin")
        array = to_arrays(plan, source)["u"]
    assert (tmp_path / "target.bin").read_bytes() == raw.tobytes()
    assert array.tobytes() == raw.tobytes()
    assert array.flags.owndata
    assert array.flags.writeable


def test_sources_are_read_in_their_order(tmp_path):
    arrays = some_arrays(30)
    read = []

    class Recording(MemoryCheckpoint):
        def read(self, name):
            read.append(name)
            return super().read(name)

    source = Recording(arrays)
    rows = [([name], [f"new.{name}"], SWAP) for name in arrays]
    save(make_plan(source.manifest, rows[::-1]), source, tmp_path / "target.bin")
    assert read == list(arrays)


def test_a_source_is_released_after_its_last_use(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer_module, "RELEASE_BYTES", 1)
    arrays = some_arrays(4)
    with flat_file(tmp_path / "source.bin", arrays) as source:
        rows = [
            (["t0"], ["a"], KEEP),
            (["t1"], ["b"], KEEP),
            (["t0"], ["c"], SWAP),
            (["t3"], ["d"], KEEP),
        ]
        plan = make_plan(source.manifest, rows)
        save(plan, source, tmp_path / "target.bin")
        assert source.released == ["t0", "t1", "t3"]


def test_large_sources_are_released_between_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer_module, "BLOCK_BYTES", 1024)
    monkeypatch.setattr(transfer_module, "MAPPED_BYTES", 4096)
    arrays = {"t": np.arange(8 * 1024, dtype=np.float32).reshape(64, 128)}
    for operation in (KEEP, SWAP):
        with flat_file(tmp_path / "source.bin", arrays) as source:
            plan = make_plan(source.manifest, [(["t"], ["u"], operation)])
            save(plan, source, tmp_path / "target.bin", force=True)
            assert len(source.released) >= 5
            assert set(source.released) == {"t"}


def test_further_names_of_one_value(tmp_path):
    """Kept in the target under both names where it has both, else only in memory."""
    arrays = some_arrays(2)
    source = MemoryCheckpoint(arrays)
    plan = make_plan(
        source.manifest,
        [(["t0"], ["a"], SWAP), (["t1"], ["b"], KEEP)],
        ties={"again": "a", "only.in.memory": "b"},
        also=specs({"again": (5, 3)}),
    )
    save(plan, source, tmp_path / "target.bin")
    found = read_flat(tmp_path / "target.bin", plan.target)
    np.testing.assert_array_equal(found["again"], arrays["t0"].T)
    values = to_arrays(plan, source)
    assert list(values) == ["a", "b", "again", "only.in.memory"]
    assert values["only.in.memory"] is values["b"]


def test_iterate_yields_in_the_order_of_the_target():
    """A step with two targets may finish the second before its turn."""
    arrays = {"x": np.ones((2, 3, 5), np.float32), "y": np.zeros((0, 4), np.float32)}
    source = MemoryCheckpoint(arrays)
    split = Rearrange(Pattern.parse("[p q] a b -> [p q] b a", 1, 2))
    plan = make_plan(source.manifest, [(["x"], ["p", "q"], split), (["y"], ["e"], SWAP)])
    ordered = Manifest.of([plan.target[name] for name in ("q", "e", "p")])
    plan = type(plan)(plan.source, ordered, "torch", "test", plan.steps)
    found = list(iterate(plan, source))
    assert [name for name, _ in found] == ["q", "e", "p"]
    assert [array.shape for _, array in found] == [(5, 3), (4, 0), (5, 3)]


@pytest.mark.parametrize("size", [0, 1])
def test_empty_and_scalar_tensors(tmp_path, size):
    arrays = {
        "none": np.zeros((0, 7), np.float32),
        "scalar": np.float32(3).reshape(()),
        "t": np.ones((size, 2), np.float32),
    }
    with flat_file(tmp_path / "source.bin", arrays) as source:
        rows = [
            (["none"], ["a"], SWAP),
            (["scalar"], ["b"], Rearrange(Pattern.parse("->"))),
            (["t"], ["c"], SWAP),
        ]
        plan = make_plan(source.manifest, rows)
        save(plan, source, tmp_path / "target.bin")
        assert {name: a.shape for name, a in iterate(plan, source)} == {
            "a": (7, 0),
            "b": (),
            "c": (2, size),
        }


def odd_plan(operation: Operation):
    source = MemoryCheckpoint({"t": np.ones((4, 5), np.float32)})
    return make_plan(source.manifest, [(["t"], ["u"], operation)]), source


@dataclass(frozen=True)
class Failure:
    id: str
    operation: Operation
    says: str


@pytest.mark.parametrize(
    "case",
    [
        Failure(
            "incomplete",
            Odd(blocks=((0, 0, 8),)),
            "cannot convert 'u': its values are not complete\n"
            "  expected  20 elements\n"
            "  found     8 elements\n"
            "  written   nothing",
        ),
        Failure(
            "too many",
            Odd(blocks=((0, 0, 20), (0, 20, 1))),
            "cannot convert 'u': its values are not complete\n"
            "  expected  20 elements\n"
            "  found     21 elements\n"
            "  written   nothing",
        ),
        Failure(
            "twice",
            Odd(blocks=((0, 0, 20), (0, 0, 20))),
            "cannot convert 'u': its values are not written once and in order\n"
            "  expected  element 20\n"
            "  found     element 0\n"
            "  tensor    'u'\n"
            "  from      't'\n"
            "  rule      t -> u\n"
            "  written   nothing",
        ),
        Failure(
            "its own error",
            Odd(error=OperationError("a value differs", facts=[("found", "2")], hint="look")),
            "a value differs\n"
            "  found    2\n"
            "  tensor   'u'\n"
            "  from     't'\n"
            "  rule     t -> u\n"
            "  hint     look\n"
            "  written  nothing",
        ),
        Failure(
            "no memory",
            Odd(error=MemoryError()),
            "cannot convert a tensor: there is not enough memory\n"
            "  tensor   'u'\n"
            "  from     't'\n"
            "  rule     t -> u\n"
            "  written  nothing",
        ),
    ],
    ids=lambda case: case.id,
)
@pytest.mark.parametrize("threads", [1, 2])
def test_failures_say_where_and_that_nothing_was_written(tmp_path, monkeypatch, threads, case):
    monkeypatch.setattr("converter.execution.executor._workers", lambda nbytes: threads)
    plan, source = odd_plan(case.operation)
    with pytest.raises(OperationError) as caught:
        save(plan, source, tmp_path / "target.bin")
    assert str(caught.value) == case.says
    assert list(tmp_path.iterdir()) == []
    assert left_threads() == []


def test_a_block_of_another_type_is_refused(tmp_path):
    plan, source = odd_plan(Odd(blocks=((0, 0, 20),)))
    target = Manifest.of([TensorSpec("u", (4, 5), get_dtype("float16"))])
    plan = type(plan)(plan.source, target, "torch", "test", plan.steps)
    with pytest.raises(OperationError) as caught:
        save(plan, source, tmp_path / "target.bin")
    assert str(caught.value).splitlines()[:3] == [
        "cannot convert 'u': its values are of another type than planned",
        "  expected  float16",
        "  found     float32",
    ]


def test_steps_that_do_not_cover_the_target_are_refused_before_reading():
    source = MemoryCheckpoint(some_arrays(3))
    rows = [(["t0"], ["a"], KEEP), (["t1"], ["b"], KEEP)]
    plan = make_plan(source.manifest, rows)
    steps = (plan.steps[0], plan.steps[0])
    with pytest.raises(PlanError) as caught:
        Transfer(type(plan)(plan.source, plan.target, "torch", "x", steps), source, print)
    assert str(caught.value) == (
        "cannot convert: steps and target do not fit together\n"
        "  missing   b  (4, 7) float32: no step writes it\n"
        "  conflict  a  2 steps write it"
    )


def test_a_step_without_targets_is_done_too(tmp_path):
    """A check of a value that is not transferred."""
    source = MemoryCheckpoint(some_arrays(2))
    plan = make_plan(source.manifest, [(["t0"], ["a"], KEEP)])

    @dataclass(frozen=True)
    class Check(Odd):
        def infer(self, shapes):
            return ()

    failing = type(plan.steps[0])(
        ("t1",), (), Check(error=OperationError("t1 is not zero")), "rule 7", "", ""
    )
    plan = type(plan)(plan.source, plan.target, "torch", "x", (*plan.steps, failing))
    with pytest.raises(OperationError) as caught:
        save(plan, source, tmp_path / "target.bin")
    assert str(caught.value) == (
        "t1 is not zero\n  tensor   't1'\n  rule     rule 7\n  written  nothing"
    )


def test_small_steps_share_a_job():
    """20,000 small tensors must not cost 20,000 hand-overs."""
    arrays = {f"t{index}": np.zeros((2, 3), np.float32) for index in range(20_000)}
    source = MemoryCheckpoint(arrays)
    rows = [([name], [f"new.{name}"], SWAP) for name in arrays]
    jobs = Transfer(make_plan(source.manifest, rows), source, print).jobs()
    assert len(jobs) == 1


def test_memory_of_a_job_is_bounded_where_the_operation_streams():
    spec = TensorSpec("t", (2**20, 2**10), get_dtype("float32"))

    class Huge(Checkpoint):
        path = None
        format = "live"
        manifest = Manifest.of([spec])

        def read(self, name):
            raise AssertionError

    class AtOnce(Odd):
        stream = Operation.stream

    (streams,) = Transfer(make_plan(Huge.manifest, [(["t"], ["u"], SWAP)]), Huge(), print).jobs()
    (whole,) = Transfer(make_plan(Huge.manifest, [(["t"], ["u"], AtOnce())]), Huge(), print).jobs()
    assert streams.nbytes <= 256 * 2**20
    assert whole.nbytes == 2 * spec.nbytes
