"""A plan is carried out: from an open source to a complete target, or to arrays in memory.

Nothing is decided here about names, shapes or values; the plan says it. What is decided here is how
much memory is used, in which order tensors are read, and that a target appears complete or not at
all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converter.errors import ConverterError
from converter.execution import progress as events
from converter.execution.flushing import EarlyFlush
from converter.execution.progress import Progress
from converter.execution.provenance import (
    METADATA_KEY,
    SIDECAR_SUFFIX,
    Provenance,
    ProvenanceOptions,
    SourceHashes,
    record,
    sidecar,
)
from converter.execution.residency import ResidencyGuard
from converter.execution.staging import StagedTarget
from converter.execution.superseded import remove, superseded
from converter.execution.transfer import Transfer, Wrote
from converter.execution.workers import run_jobs
from converter.execution.write_errors import mark_unwritten, write_error
from converter.formats.base import Checkpoint, Writer
from converter.planning.plan import Plan
from converter.tensors.dtype import Array
from converter.tensors.structure import KerasStructure

MEMORY_BYTES = 224 * 2**20  # blocks and mapped source pages of all workers together
MAPPED_LIMIT = 96 * 2**20
SMALL_BYTES = 16 * 2**20  # up to here one thread is done before others have started
MAX_WORKERS = 4

RECORDED = ProvenanceOptions()

MakeWriter = Callable[[Path], Writer]


@dataclass(frozen=True, slots=True)
class Written:
    """A target that is there.

    Attributes:
        files: All its files, the one that names the others last.
        nbytes: Size of all tensors, in bytes.
        tensors: Number of tensors.
        seconds: Wall time.
        provenance: What was recorded, or ``None`` where nothing was asked for.
    """

    files: tuple[Path, ...]
    nbytes: int
    tensors: int
    seconds: float
    provenance: Provenance | None


def execute(
    plan: Plan,
    source: Checkpoint,
    target: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word that every caller uses
    structure: KerasStructure | None = None,
    like: Checkpoint | None = None,
    max_shard_size: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    provenance: ProvenanceOptions | None = RECORDED,
) -> Written:
    """Write the target of a plan, complete or not at all.

    Args:
        plan: What to do.
        source: The open checkpoint that the plan was made for.
        target: The file to write; its folder must be there.
        format: Identifier of the target's format; by default the file name decides.
        structure: Where each tensor sits in a Keras file; needed for those only.
        like: The checkpoint that the target is like; needed for ONNX only.
        max_shard_size: Largest size of one file in bytes, or ``None`` for one file.
        force: Whether files of these names may be replaced.
        progress: Called with each event, in this thread.
        provenance: What to record, or ``None`` for no record.

    Raises:
        TargetExistsError: If the target is there and ``force`` is false.
        WriteError: If the disk is full, or the target's place cannot be written to.
        OperationError: If a value is not what the plan allows.
        CheckpointError: If the source cannot be read.
    """
    from converter.formats.registry import create_writer, target_format

    format_id = target_format(target, format).id
    path = Path(target)

    def make_writer(folder: Path) -> Writer:
        return create_writer(
            format_id,
            folder,
            path.name,
            plan.target,
            structure=structure,
            max_shard_size=max_shard_size,
            like=like,
        )

    return execute_with(
        make_writer, plan, source, path, force=force, progress=progress, provenance=provenance
    )


def execute_with(
    make_writer: MakeWriter,
    plan: Plan,
    source: Checkpoint,
    target: Path,
    *,
    force: bool = False,
    progress: Progress | None = None,
    provenance: ProvenanceOptions | None = RECORDED,
) -> Written:
    """Do what :func:`execute` does, with a writer that the caller makes.

    Args:
        make_writer: Takes the temporary folder and returns a writer of ``plan.target``.
        plan: As in :func:`execute`, like all that follow.
        source: See there.
        target: See there.
        force: See there.
        progress: See there.
        provenance: See there.
    """
    started = time.monotonic()
    report = progress or events.ignore
    total = plan.target.nbytes
    try:
        staged = StagedTarget(target, sources=source.files, needed=total, force=force)
        with staged:
            report(events.Started(total, len(plan.target), target.name))
            names, noted = _fill(
                staged,
                make_writer=make_writer,
                plan=plan,
                source=source,
                total=total,
                report=report,
                options=provenance,
            )
            stale = superseded(staged.target, names, source.files) if force else ()
            files = staged.commit(names)
            remove(stale)
    except ConverterError as error:
        mark_unwritten(error)
        raise
    seconds = time.monotonic() - started
    report(events.Finished(total, len(files), seconds))
    return Written(files, total, len(plan.target), seconds, noted)


def _fill(
    staged: StagedTarget,
    *,
    make_writer: MakeWriter,
    plan: Plan,
    source: Checkpoint,
    total: int,
    report: Progress,
    options: ProvenanceOptions | None,
) -> tuple[tuple[str, ...], Provenance | None]:
    """Write everything into the temporary folder; return the names of the files."""
    with ExitStack() as stack:
        hashes: SourceHashes | None = None
        if options is not None and options.hash_sources and source.files:
            hashes = SourceHashes(source.files)
            stack.callback(hashes.cancel)
        try:
            writer = make_writer(staged.folder)
            aborting = stack.enter_context(ExitStack())
            aborting.callback(writer.abort)
            staged.claim(path.name for path in staged.folder.iterdir())
            _transfer(plan, source, writer, report, total=total, folder=staged.folder)
            report(events.Finishing(total))
            noted = None
            metadata = {}
            if options is not None:
                noted = record(plan, source, options, hashes.result() if hashes else None)
                metadata[METADATA_KEY] = noted.text()
            names = writer.finish(metadata)
            aborting.pop_all()
            if noted is not None and options is not None and options.sidecar:
                names = (_write_sidecar(staged, noted, plan), *names)
        except ConverterError:
            raise
        except OSError as error:
            raise write_error(error, staged.target, needed=total) from error
    return names, noted


def _write_sidecar(staged: StagedTarget, noted: Provenance, plan: Plan) -> str:
    name = staged.target.name + SIDECAR_SUFFIX
    (staged.folder / name).write_bytes(sidecar(noted, plan))
    return name


def _transfer(
    plan: Plan,
    source: Checkpoint,
    writer: Writer,
    report: Progress,
    *,
    total: int,
    folder: Path,
) -> None:
    """Write all values; ``folder`` is where the writer's files are."""
    workers = _workers(total)
    transfer = Transfer(plan, source, writer.write, workers=workers)
    done = 0

    flush = EarlyFlush(folder)

    def advance(wrote: Wrote) -> None:
        nonlocal done
        done += wrote.nbytes
        flush.wrote(wrote.nbytes)
        report(events.Advanced(done, total, wrote.tensor))

    with ExitStack() as stack:
        if transfer.has_large:
            stack.enter_context(ResidencyGuard(transfer.release_all, MAPPED_LIMIT))
        if workers > 1:
            stack.enter_context(flush)
        run_jobs(transfer.jobs(), advance, workers=workers, limit=MEMORY_BYTES)
    flush.check()
    transfer.check()


def _workers(nbytes: int) -> int:
    if nbytes <= SMALL_BYTES:
        return 1
    return max(1, min(MAX_WORKERS, os.cpu_count() or 1))


def iterate(plan: Plan, source: Checkpoint) -> Iterator[tuple[str, Array]]:
    """Yield the name and values of each target tensor, in the order of the target.

    Each array is new memory that the caller may keep and change.

    Raises:
        OperationError: If a value is not what the plan allows.
        CheckpointError: If the source cannot be read.
    """
    waiting: dict[str, Array] = {}
    order = iter(plan.target.tensors)
    awaited = next(order, None)

    def write(name: str, start: int, block: Array) -> None:
        if name not in waiting:
            waiting[name] = _empty(plan, name)
        waiting[name].reshape(-1)[start : start + block.size] = block.reshape(-1)

    transfer = Transfer(plan, source, write)
    for names in transfer.each():
        for name in names:
            waiting.setdefault(name, _empty(plan, name))  # of size 0: no block came
        while awaited is not None and awaited in waiting and transfer.is_complete(awaited):
            yield awaited, waiting.pop(awaited)
            awaited = next(order, None)
    transfer.check()


def _empty(plan: Plan, name: str) -> Array:
    spec = plan.target[name]
    shape = (spec.nbytes,) if spec.dtype.is_packed else spec.shape
    array: Array = np.empty(shape, spec.dtype.numpy)
    return array


def to_arrays(plan: Plan, source: Checkpoint) -> dict[str, Array]:
    """Return all target tensors by name, in the order of the target; further names share arrays."""
    arrays = dict(iterate(plan, source))
    return _with_ties(arrays, {**plan.target.ties, **plan.ties})


def _with_ties(arrays: dict[str, Array], ties: Mapping[str, str]) -> dict[str, Array]:
    for further, name in ties.items():
        arrays.setdefault(further, arrays[name])
    return arrays
