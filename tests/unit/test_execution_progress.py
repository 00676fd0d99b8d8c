"""What is reported adds up, comes in the caller's thread, and can stop the conversion."""

from __future__ import annotations

import threading

import pytest
from support.flat_files import MemoryCheckpoint, flat_file, make_plan, save, some_arrays
from support.threads import left_threads

from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange
from converter.execution import transfer as transfer_module
from converter.execution.progress import Advanced, Finished, Finishing, Started

SWAP = Rearrange(Pattern.parse("a b -> b a"))


@pytest.mark.parametrize("threads", [1, 3])
def test_progress_adds_up(tmp_path, monkeypatch, threads):
    monkeypatch.setattr(transfer_module, "BLOCK_BYTES", 512)
    monkeypatch.setattr(transfer_module, "JOB_BYTES", 4096)
    monkeypatch.setattr("converter.execution.executor._workers", lambda nbytes: threads)
    events = []
    caller = threading.get_ident()

    def note(event):
        assert threading.get_ident() == caller
        events.append(event)

    arrays = some_arrays(40)
    with flat_file(tmp_path / "source.bin", arrays) as source:
        rows = [([name], [f"new.{name}"], SWAP) for name in arrays]
        plan = make_plan(source.manifest, rows)
        save(plan, source, tmp_path / "target.bin", progress=note)
    total = plan.target.nbytes
    assert events[0] == Started(total, 40, "target.bin")
    assert isinstance(events[-2], Finishing)
    assert isinstance(events[-1], Finished)
    done = [event.done for event in events[1:-2]]
    assert all(isinstance(event, Advanced) for event in events[1:-2])
    assert done == sorted(done)
    assert len(done) > 10
    assert done[-1] == total
    assert {event.tensor for event in events[1:-2]} <= set(plan.target.tensors)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_callback_that_raises_stops_everything(tmp_path, monkeypatch, threads):
    monkeypatch.setattr(transfer_module, "JOB_BYTES", 1)
    monkeypatch.setattr("converter.execution.executor._workers", lambda nbytes: threads)

    def refuse(event):
        if isinstance(event, Advanced):
            raise KeyboardInterrupt

    source = MemoryCheckpoint(some_arrays(40))
    rows = [([name], [f"new.{name}"], SWAP) for name in source.manifest.tensors]
    plan = make_plan(source.manifest, rows)
    with pytest.raises(KeyboardInterrupt):
        save(plan, source, tmp_path / "target.bin", progress=refuse)
    assert list(tmp_path.iterdir()) == []
    assert left_threads() == []
