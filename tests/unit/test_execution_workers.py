"""Threads: a shared memory limit, order, failures, and nobody left behind."""

from __future__ import annotations

import errno
import os
import threading
import weakref

import numpy as np
import pytest
from support.flat_files import FlatWriter, MemoryCheckpoint, make_plan
from support.threads import left_threads

from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange
from converter.errors import OperationError, WriteError
from converter.execution import flushing
from converter.execution.ahead import make_ahead
from converter.execution.executor import execute_with
from converter.execution.progress import Advanced
from converter.execution.workers import ByteBudget, Job, run_jobs


def test_the_budget_is_never_passed():
    budget = ByteBudget(100)
    held = []
    most = []
    lock = threading.Lock()

    def work(nbytes):
        def run(post, stop):
            with lock:
                held.append(nbytes)
                most.append(sum(held))
            threading.Event().wait(0.001)
            with lock:
                held.remove(nbytes)
            post(nbytes)

        return Job(nbytes, run)

    sizes = [1 + 37 * index % 60 for index in range(80)]
    seen = []
    run_jobs([work(size) for size in sizes], seen.append, workers=4, limit=budget.limit)
    assert sorted(seen) == sorted(sizes)
    assert max(most) <= 100
    assert max(most) > 60  # several at once


def test_what_is_larger_than_the_budget_runs_alone():
    running = set()
    together = []

    def work(nbytes):
        def run(post, stop):
            running.add(nbytes)
            threading.Event().wait(0.002)
            together.append(frozenset(running))
            running.discard(nbytes)

        return Job(nbytes, run)

    run_jobs([work(10), work(11), work(1000), work(12), work(13)], print, workers=4, limit=100)
    assert [names for names in together if 1000 in names] == [frozenset({1000})]


def test_the_first_failure_stops_the_others():
    started = []

    def work(index):
        def run(post, stop):
            started.append(index)
            if index == 3:
                raise ValueError("third")
            stop.wait(0.01)

        return Job(1, run)

    with pytest.raises(ValueError, match="third"):
        run_jobs([work(index) for index in range(1000)], print, workers=3, limit=100)
    assert len(started) < 20
    assert left_threads() == []


def test_items_made_ahead_are_never_more_than_two():
    alive = weakref.WeakSet()
    most = []

    class Thing:
        pass

    def things():
        for _ in range(20):
            thing = Thing()
            alive.add(thing)
            most.append(len(alive))
            yield thing
            del thing

    count = 0
    for _ in make_ahead(things()):
        count += 1
        threading.Event().wait(0.001)
    assert count == 20
    assert max(most) <= 3  # the name in the loop above keeps one until it takes the next
    assert left_threads() == []


def test_a_failure_while_making_ahead_is_raised_in_its_turn():
    def failing():
        yield 1
        raise OperationError("second")

    seen = []

    def consume():
        seen.extend(make_ahead(failing()))

    with pytest.raises(OperationError, match="second"):
        consume()
    assert left_threads() == []


def test_stopping_early_ends_the_thread():
    ahead = make_ahead(iter(range(1000)))
    assert next(ahead) == 0
    ahead.close()
    assert left_threads() == []


def test_what_the_disk_says_while_flushing_is_not_lost(tmp_path, monkeypatch):
    """The system reports a failed write once; the fsync at the end would hear nothing of it."""
    monkeypatch.setattr("converter.execution.executor._workers", lambda nbytes: 2)
    monkeypatch.setattr(flushing, "FLUSH_BYTES", 1)

    failed = threading.Event()

    def fail(descriptor):
        failed.set()
        raise OSError(errno.EIO, "injected")

    def wait(event):
        assert not isinstance(event, Advanced) or failed.wait(5)

    monkeypatch.setattr(os, "fdatasync", fail)
    source = MemoryCheckpoint({"t": np.ones((3, 5), np.float32)})
    keep = Rearrange(Pattern.parse("a b -> a b"))
    plan = make_plan(source.manifest, [(["t"], ["u"], keep)])
    target = tmp_path / "target.bin"
    with pytest.raises(WriteError, match="the disk reports an error"):
        execute_with(
            lambda folder: FlatWriter(folder, target.name, plan.target),
            plan,
            source,
            target,
            progress=wait,
        )
    assert list(tmp_path.iterdir()) == []


def test_files_are_flushed_while_they_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(flushing, "FLUSH_BYTES", 100)
    (tmp_path / "shard").write_bytes(b"abc")
    flushed = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: flushed.set())
    with flushing.EarlyFlush(tmp_path) as flush:
        flush.wrote(99)
        assert not flushed.wait(0.05)
        flush.wrote(1)
        assert flushed.wait(5)
    flush.check()
    assert left_threads() == []
