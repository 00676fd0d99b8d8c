"""What was converted, from what, with what: a record that travels with the target.

It names files without their folders and holds no value of the model. The sources are hashed by a
thread of its own while the conversion runs. With ``SOURCE_DATE_EPOCH`` in the environment the time
is that one, so that equal inputs give equal files.

Source: https://reproducible-builds.org/specs/source-date-epoch/ (version 1.1).
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from converter._version import __version__
from converter.errors import CheckpointError, UsageError
from converter.formats.base import Checkpoint
from converter.formats.wording import cannot_read
from converter.planning.plan import Plan

METADATA_KEY = "weightferry"
SIDECAR_SUFFIX = ".provenance.json"

# Characters. Writers leave room for a record in front of the values; one that does not fit would
# cost moving all of them. The list of dropped tensors is what can be long.
MAX_TEXT = 3000

# Long enough that a call of the system costs nothing, short enough to stay in the L2 cache.
_READ_BYTES = 512 * 2**10


@dataclass(frozen=True, slots=True)
class ProvenanceOptions:
    """What to record, and where.

    Attributes:
        hash_sources: Whether source files are hashed; it reads them a second time.
        mapping_sha256: Hash of the mapping file, where there is one.
        sidecar: Whether the record is also written beside the target, with every tensor.
    """

    hash_sources: bool = True
    mapping_sha256: str | None = None
    sidecar: bool = False


class SourceRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file that was read.

    Attributes:
        name: File name without its folder, or what a source in memory is called.
        nbytes: Size in bytes; absent for a source in memory.
        sha256: Hash of the whole file, hexadecimal; absent where it was not asked for.
    """

    name: str
    nbytes: int | None = None
    sha256: str | None = None


class MappingRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The mapping: its name, and the hash of its file where it is one."""

    name: str
    sha256: str | None = None


class DroppedRecord(msgspec.Struct, frozen=True):
    """A source tensor that was not transferred, and why."""

    name: str
    why: str


class TensorRecord(msgspec.Struct, frozen=True):
    """What was done to give one or more target tensors."""

    targets: tuple[str, ...]
    sources: tuple[str, ...]
    operation: str
    law: str
    rule: str


class Provenance(msgspec.Struct, frozen=True, omit_defaults=True):
    """The whole record.

    Attributes:
        schema: Version of this record's form.
        tool: Name of the tool.
        version: Its version.
        time: UTC, ISO 8601, to the second.
        sources: Every file that was read.
        mapping: The mapping used.
        laws: Law to number of steps.
        num_dropped: Number of source tensors that were not transferred.
        dropped: Those tensors; left out of metadata that would grow too long.
        tensors: Every step; in sidecars only.
        kept: Target tensors that keep the value of what the target is like; left out where
            ``dropped`` is.
        notes: What else was decided: which part was converted, which names were changed.
    """

    schema: int
    tool: str
    version: str
    time: str
    sources: tuple[SourceRecord, ...]
    mapping: MappingRecord
    laws: dict[str, int]
    num_dropped: int
    dropped: tuple[DroppedRecord, ...] = ()
    tensors: tuple[TensorRecord, ...] = ()
    kept: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the record as one line of JSON, short enough for a header."""
        text = msgspec.json.encode(self).decode()
        if len(text) <= MAX_TEXT:
            return text
        return msgspec.json.encode(msgspec.structs.replace(self, dropped=(), kept=())).decode()


def record(
    plan: Plan,
    source: Checkpoint,
    options: ProvenanceOptions,
    hashes: Sequence[str] | None,
) -> Provenance:
    """Return the record of a conversion, without its single tensors.

    Args:
        plan: What was done.
        source: What was read.
        options: What to record.
        hashes: SHA-256 of each of the source's files, hexadecimal, or ``None``.
    """
    files = source.files
    known: Sequence[str | None] = hashes if hashes is not None else [None] * len(files)
    sources = tuple(
        SourceRecord(file.name, file.stat().st_size, digest)
        for file, digest in zip(files, known, strict=True)
    )
    return Provenance(
        schema=1,
        tool="weightferry",
        version=__version__,
        time=timestamp(),
        sources=sources or (SourceRecord(source.label),),
        mapping=MappingRecord(plan.mapping, options.mapping_sha256),
        laws=dict(sorted(Counter(str(step.law) for step in plan.steps).items())),
        num_dropped=len(plan.dropped),
        dropped=tuple(DroppedRecord(dropped.name, dropped.why) for dropped in plan.dropped),
        kept=plan.kept,
        notes=plan.notes,
    )


def sidecar(provenance: Provenance, plan: Plan) -> bytes:
    """Return the text of a sidecar: the record and every tensor, readable by people."""
    tensors = tuple(
        TensorRecord(
            step.targets, step.sources, step.operation.describe(), str(step.law), step.rule
        )
        for step in plan.steps
    )
    full = msgspec.structs.replace(provenance, tensors=tensors)
    return msgspec.json.format(msgspec.json.encode(full), indent=1) + b"\n"


def timestamp() -> str:
    """Return the time of a record: now, or what ``SOURCE_DATE_EPOCH`` says.

    Raises:
        UsageError: If ``SOURCE_DATE_EPOCH`` is no number of seconds.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        moment = datetime.now(UTC)
    else:
        try:
            moment = datetime.fromtimestamp(int(epoch), UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise UsageError(
                "cannot record the time: SOURCE_DATE_EPOCH is not a number of seconds",
                facts=[("found", ascii(epoch))],
            ) from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class SourceHashes:
    """The SHA-256 of files, computed by a thread of its own."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Begin to hash ``files``, one after the other."""
        self._files = tuple(files)
        self._digests: list[str] = []
        self._error: OSError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="converter-hash", daemon=True)
        self._thread.start()

    def result(self) -> list[str]:
        """Wait and return the hashes, hexadecimal, in the order of the files.

        Raises:
            CheckpointError: If a file could not be read.
        """
        while self._thread.is_alive():
            self._thread.join(timeout=0.5)  # without a timeout Ctrl-C would wait on Windows
        if self._error is not None:
            path = self._files[len(self._digests)]
            why = self._error.strerror or str(self._error)
            raise CheckpointError(cannot_read(path, why)) from self._error
        return self._digests

    def cancel(self) -> None:
        """Stop and wait until the thread has ended."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            for path in self._files:
                self._digests.append(self._hash(path))
        except OSError as error:
            self._error = error

    def _hash(self, path: Path) -> str:
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(_READ_BYTES))
        with path.open("rb", buffering=0) as file:
            while not self._stop.is_set() and (count := file.readinto(buffer)):
                digest.update(buffer[:count])
        return digest.hexdigest()
