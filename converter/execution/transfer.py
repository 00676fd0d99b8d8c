"""The steps of a plan are done: read, apply, write, give the memory back.

A block is the unit of memory, a tensor that of a thread, and several small steps together that of
a job, because a step of a few kilobytes costs less than handing it to a thread. That every target
tensor is written completely and exactly once is counted here, element by element, whatever the
operations and the writer do.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from converter.algebra.base import Block, Operation
from converter.errors import ConverterError, OperationError, PlanError, Problem, shape_text
from converter.execution.ahead import make_ahead
from converter.execution.workers import Job
from converter.formats.base import Checkpoint
from converter.planning.plan import Plan, Step
from converter.tensors.dtype import Array
from converter.tensors.spec import TensorSpec

BLOCK_BYTES = 8 * 2**20
MAX_BLOCK_BYTES = 64 * 2**20  # of a tensor so large that it is not kept in memory
JOB_BYTES = 8 * 2**20  # small steps are done together up to this size
MAPPED_BYTES = 64 * 2**20  # of a source that one step keeps in memory
RELEASE_BYTES = 16 * 2**20  # small sources are given back together

Write = Callable[[str, int, Array], None]
_Sized = tuple[Step, int]  # a step and its size in bytes


@dataclass(frozen=True, slots=True)
class Wrote:
    """So many bytes were written, of this tensor last."""

    nbytes: int
    tensor: str


Post = Callable[[Wrote], None]


class Transfer:
    """The values of one plan on their way."""

    def __init__(self, plan: Plan, source: Checkpoint, write: Write, *, workers: int = 1) -> None:
        """Take a plan, an open source, where blocks go, and the number of threads.

        Raises:
            PlanError: If a target tensor has no step or two.
        """
        self._plan = plan
        self._source = source
        self._write = write
        self._workers = workers
        self._written: dict[str, int] = {}
        self._aliases = _aliases(plan)
        _check_targets(plan, self._aliases)
        self._work = _sized(plan)
        self._consumers = Counter(name for step in plan.steps for name in step.sources)
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._finished: list[str] = []
        self._finished_bytes = 0
        self.in_use: set[str] = set()

    def jobs(self) -> list[Job[Wrote]]:
        """Return all steps as jobs, in the order of the source."""
        order = {name: index for index, name in enumerate(self._plan.source.tensors)}
        work = sorted(
            self._work,
            key=lambda pair: min((order.get(name, -1) for name in pair[0].sources), default=-1),
        )
        return [self._job(group) for group in _grouped(work)]

    def each(self) -> Iterator[tuple[str, ...]]:
        """Do the steps one after the other in the order of the plan; yield what each wrote."""
        for step, size in self._work:
            for _ in self._run(step, size):
                pass
            yield tuple(
                target for name in step.targets for target in (name, *self._aliases.get(name, ()))
            )

    def is_complete(self, name: str) -> bool:
        """Whether every element of a target tensor was written."""
        return self._written.get(name, 0) == count_elements(self._plan.target[name])

    def check(self) -> None:
        """Prove that every target tensor was written completely.

        Raises:
            OperationError: If one was not.
        """
        for spec in self._plan.target:
            if not self.is_complete(spec.name):
                expected = count_elements(spec)
                found = self._written.get(spec.name, 0)
                raise OperationError(
                    f"cannot convert '{spec.name}': its values are not complete",
                    facts=[
                        ("expected", f"{expected:,} elements"),
                        ("found", f"{found:,} elements"),
                    ],
                )

    def release_all(self) -> None:
        """Give back the memory of every source in use; it is read again where needed."""
        for name in list(self.in_use):
            self._source.release(name)

    @property
    def has_large(self) -> bool:
        """Whether a source is too large to stay in memory while its step is done."""
        return any(size > MAPPED_BYTES for _, size in self._work)

    def _job(self, work: tuple[_Sized, ...]) -> Job[Wrote]:
        def run(post: Post, stop: threading.Event) -> None:
            unreported = 0
            tensor = ""
            for step, size in work:
                if stop.is_set():
                    return
                for name, nbytes in self._run(step, size):
                    unreported += nbytes
                    tensor = name
                    if unreported >= BLOCK_BYTES:
                        post(Wrote(unreported, tensor))
                        unreported = 0
                    if stop.is_set():
                        return
            if unreported:
                post(Wrote(unreported, tensor))

        return Job(max(_memory(step, size) for step, size in work), run)

    def _run(self, step: Step, size: int) -> Iterator[tuple[str, int]]:
        """Do one step; yield the name and size of each block written."""
        try:
            yield from self._stream(step, size)
        except ConverterError as error:
            _add_place(error, step)
            raise
        except MemoryError as error:
            failure = OperationError("cannot convert a tensor: there is not enough memory")
            _add_place(failure, step)
            raise failure from error

    def _stream(self, step: Step, size: int) -> Iterator[tuple[str, int]]:
        since_release = 0
        for block in self._blocks(step, size):
            name = step.targets[block.target]
            yield from self._put(name, block.start, self._checked(name, block))
            since_release += block.array.nbytes
            if size > MAPPED_BYTES and since_release >= MAPPED_BYTES:
                self._release(step)
                since_release = 0
            del block  # its memory is used again for the one after the next
        self._done(step, size)

    def _blocks(self, step: Step, size: int) -> Iterator[Block]:
        """Yield the blocks of a step; of a large one, each is made while another is written."""
        arrays = [self._read(name) for name in step.sources]
        blocks = step.operation.stream(arrays, _block_bytes(size))
        if size <= MAPPED_BYTES:
            return blocks
        blocks = self._without_pauses(blocks, step)
        return blocks if self._workers == 1 else make_ahead(blocks)

    def _without_pauses(self, blocks: Iterator[Block], step: Step) -> Iterator[Block]:
        """Release the sources where an empty block says that many of their pages were touched."""
        for block in blocks:
            if block.array.size:
                yield block
            else:
                self._release(step)

    def _release(self, step: Step) -> None:
        for name in step.sources:
            self._source.release(name)

    def _put(self, name: str, start: int, array: Array) -> Iterator[tuple[str, int]]:
        if array.size:
            for target in (name, *self._aliases.get(name, ())):
                self._write(target, start, array)
                self._written[target] = start + array.size
                yield target, array.nbytes

    def _read(self, name: str) -> Array:
        # Readers of maps are quick here; those that decompress need not be safe for threads.
        with self._reading:
            self.in_use.add(name)
            return self._source.read(name)

    def _checked(self, name: str, block: Block) -> Array:
        expected = self._plan.target[name].dtype
        if block.array.dtype != expected.numpy:
            raise OperationError(
                f"cannot convert '{name}': its values are of another type than planned",
                facts=[("expected", str(expected)), ("found", block.array.dtype.name)],
            )
        if block.start != self._written.get(name, 0):
            raise OperationError(
                f"cannot convert '{name}': its values are not written once and in order",
                facts=[
                    ("expected", f"element {self._written.get(name, 0):,}"),
                    ("found", f"element {block.start:,}"),
                ],
            )
        return np.ascontiguousarray(block.array)

    def _done(self, step: Step, size: int) -> None:
        """Give back the sources that no later step takes, many small ones together."""
        with self._lock:
            for name in step.sources:
                self._consumers[name] -= 1
                if not self._consumers[name]:
                    self._finished.append(name)
                    self._finished_bytes += size
            if self._finished_bytes < RELEASE_BYTES:
                return
            finished, self._finished, self._finished_bytes = self._finished, [], 0
        for name in finished:
            self._source.release(name)
            self.in_use.discard(name)


def count_elements(spec: TensorSpec) -> int:
    """Return how many elements the arrays of a tensor have; bytes where the type is packed."""
    return spec.nbytes if spec.dtype.is_packed else math.prod(spec.shape)


def _sized(plan: Plan) -> list[_Sized]:
    """Return each step with the size of its sources or of its targets, whichever is larger."""
    source = {spec.name: spec.nbytes for spec in plan.source}
    target = {spec.name: spec.nbytes for spec in plan.target}
    return [
        (
            step,
            max(
                sum([source[name] for name in step.sources]),
                sum([target[name] for name in step.targets]),
            ),
        )
        for step in plan.steps
    ]


def _grouped(work: Sequence[_Sized]) -> Iterator[tuple[_Sized, ...]]:
    """Yield consecutive steps together as long as they are small."""
    group: list[_Sized] = []
    nbytes = 0
    for step, size in work:
        if group and nbytes + size > JOB_BYTES:
            yield tuple(group)
            group, nbytes = [], 0
        group.append((step, size))
        nbytes += size
    if group:
        yield tuple(group)


def _memory(step: Step, size: int) -> int:
    """Return what a step holds at most: blocks and the mapped part of its sources."""
    if type(step.operation).stream is Operation.stream:
        return 2 * size  # computed at once
    return min(2 * size, 3 * _block_bytes(size) + MAPPED_BYTES)


def _block_bytes(nbytes: int) -> int:
    # Every block of a permuted tensor touches pages all over its source. A source too large to
    # stay resident is mapped anew for each of them (45 ms for 411 MB), so there should be few.
    return min(max(BLOCK_BYTES, -(-nbytes // 6)), MAX_BLOCK_BYTES)


def _aliases(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Target tensor to those that the target stores again under further names."""
    written = {name for step in plan.steps for name in step.targets}
    aliases: dict[str, tuple[str, ...]] = {}
    for further, name in plan.ties.items():
        if further in plan.target and further not in written:
            aliases[name] = (*aliases.get(name, ()), further)
    return aliases


def _check_targets(plan: Plan, aliases: dict[str, tuple[str, ...]]) -> None:
    counts = Counter(name for step in plan.steps for name in step.targets)
    counts.update(further for names in aliases.values() for further in names)
    problems = [
        Problem("missing", spec.name, f"{shape_text(spec.shape)} {spec.dtype}: no step writes it")
        for spec in plan.target
        if not counts[spec.name]
    ]
    problems += [
        Problem("conflict", name, f"{count} steps write it")
        for name, count in counts.items()
        if count > 1
    ]
    problems += [
        Problem("unexpected", name, "the target has no such tensor")
        for name in counts
        if name not in plan.target
    ]
    if problems:
        raise PlanError("cannot convert: steps and target do not fit together", problems)


def _add_place(error: ConverterError, step: Step) -> None:
    """Say which tensor it was about, once; the error itself is kept."""
    labels = {label for label, _ in error.facts}
    place = [
        ("tensor", ", ".join(f"'{name}'" for name in step.targets or step.sources)),
        ("from", ", ".join(f"'{name}'" for name in step.sources)),
        ("rule", step.rule),
    ]
    if step.targets == () or not step.sources:
        place = [row for row in place if row[0] != "from"]
    known = [row for row in place if row[1] and row[0] not in labels]
    error.facts = (*error.facts, *known)
