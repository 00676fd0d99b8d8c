"""The record says what was read and done, and equal inputs can give equal files."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest
from support.flat_files import FlatWriter, MemoryCheckpoint, flat_file, make_plan
from support.threads import left_threads

from converter._version import __version__
from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange
from converter.errors import CheckpointError, UsageError
from converter.execution.executor import execute_with
from converter.execution.provenance import MAX_TEXT, ProvenanceOptions, SourceHashes, timestamp
from converter.planning.plan import Dropped

SWAP = Rearrange(Pattern.parse("a b -> b a"))


def converted(tmp_path, *, dropped=(), **options):
    arrays = {"x": np.ones((3, 5), np.float32), "y": np.ones((2, 7), np.float32)}
    with flat_file(tmp_path / "source.bin", arrays) as source:
        plan = make_plan(source.manifest, [(["x"], ["new"], SWAP)])
        plan = type(plan)(plan.source, plan.target, "torch", "densenet", plan.steps, dropped)
        target = tmp_path / "target.bin"
        return execute_with(
            lambda folder: FlatWriter(folder, target.name, plan.target, index=True),
            plan,
            source,
            target,
            force=True,
            **options,
        )


def recorded(tmp_path) -> dict:
    return json.loads(json.loads((tmp_path / "target.bin.json").read_text())["weightferry"])


def test_the_record_of_a_conversion(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    converted(
        tmp_path,
        dropped=(Dropped("y", "not in the twin"),),
        provenance=ProvenanceOptions(mapping_sha256="12ab"),
    )
    content = (tmp_path / "source.bin").read_bytes()
    assert recorded(tmp_path) == {
        "schema": 1,
        "tool": "weightferry",
        "version": __version__,
        "time": "2023-11-14T22:13:20Z",
        "sources": [
            {
                "name": "source.bin",
                "nbytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
        "mapping": {"name": "densenet", "sha256": "12ab"},
        "laws": {"exact": 1},
        "num_dropped": 1,
        "dropped": [{"name": "y", "why": "not in the twin"}],
    }


def test_equal_inputs_give_equal_files(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    texts = set()
    for _ in range(2):
        converted(tmp_path)
        texts.add((tmp_path / "target.bin.json").read_bytes())
    assert len(texts) == 1


def test_the_time_is_now_unless_it_is_given(monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", timestamp())
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError) as caught:
        timestamp()
    assert str(caught.value) == (
        "cannot record the time: SOURCE_DATE_EPOCH is not a number of seconds\n  found  'yesterday'"
    )


def test_no_record_and_no_hash_on_request(tmp_path):
    assert converted(tmp_path, provenance=None).provenance is None
    assert json.loads((tmp_path / "target.bin.json").read_text()) == {}
    converted(tmp_path, provenance=ProvenanceOptions(hash_sources=False))
    assert set(recorded(tmp_path)["sources"][0]) == {"name", "nbytes"}


def test_a_long_list_of_dropped_tensors_stays_out_of_the_metadata(tmp_path):
    dropped = tuple(Dropped(f"optimizer/{index}", "optimizer state") for index in range(500))
    written = converted(tmp_path, dropped=dropped, provenance=ProvenanceOptions(sidecar=True))
    assert len(written.provenance.text()) < MAX_TEXT
    assert recorded(tmp_path)["num_dropped"] == 500
    assert "dropped" not in recorded(tmp_path)
    beside = json.loads((tmp_path / "target.bin.provenance.json").read_text())
    assert len(beside["dropped"]) == 500


def test_a_sidecar_has_every_tensor(tmp_path):
    written = converted(tmp_path, provenance=ProvenanceOptions(sidecar=True))
    assert [path.name for path in written.files] == [
        "target.bin.provenance.json",
        "target.bin",
        "target.bin.json",
    ]
    beside = json.loads((tmp_path / "target.bin.provenance.json").read_text())
    assert beside["tensors"] == [
        {
            "targets": ["new"],
            "sources": ["x"],
            "operation": "a b -> b a",
            "law": "exact",
            "rule": "x -> new",
        }
    ]
    assert beside["sources"] == recorded(tmp_path)["sources"]


def test_a_source_in_memory_has_a_name_only(tmp_path):
    source = MemoryCheckpoint({"x": np.ones((3, 5), np.float32)})
    plan = make_plan(source.manifest, [(["x"], ["new"], SWAP)])
    execute_with(
        lambda folder: FlatWriter(folder, "target.bin", plan.target, index=True),
        plan,
        source,
        tmp_path / "target.bin",
    )
    assert recorded(tmp_path)["sources"] == [{"name": "live"}]


def test_hashes_of_several_files(tmp_path):
    texts = [b"", b"a" * 3_000_000, b"b"]
    files = []
    for index, text in enumerate(texts):
        files.append(tmp_path / str(index))
        files[-1].write_bytes(text)
    assert SourceHashes(files).result() == [hashlib.sha256(text).hexdigest() for text in texts]
    assert left_threads() == []


def test_a_file_that_cannot_be_hashed(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    with pytest.raises(CheckpointError, match="cannot read 'b': No such file or directory"):
        SourceHashes([tmp_path / "a", tmp_path / "b"]).result()


def test_hashing_can_be_cancelled(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**36)  # half a minute of hashing
    hashes = SourceHashes([tmp_path / "large"])
    hashes.cancel()
    assert left_threads() == []
