"""What every format that is written must do, whatever it is. Subclass it once for each."""

import os
import resource
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from support.tensor_files import (
    assert_holds,
    random_values,
    small_manifest,
    specs_of_every_type,
    write_file,
)

from converter.errors import CheckpointError, WriteError
from converter.formats.base import Checkpoint, Writer
from converter.formats.registry import create_writer, open_checkpoint
from converter.tensors.dtype import get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec


class FormatContract:
    """Tests of one format.

    Attributes:
        format_id: Its identifier.
        file_name: What the writer is asked for.
        refused: Types that it does not have.
        truncation_step: Every how many bytes a file is cut off.
        flipped_bytes: About how many bytes of a file are changed.
    """

    format_id: str
    file_name: str
    refused: frozenset[str]
    truncation_step = 1
    flipped_bytes = 10 * settings().max_examples  # about 600, and with --long 10,000

    def result(self) -> str:
        """Return the name of the file that is opened afterwards."""
        return self.file_name

    def manifest(self, specs: Iterable[TensorSpec]) -> Manifest:
        """Return a manifest of these tensors, under names that the format can have."""
        return Manifest.of(specs, family="torch")

    def options_for(self, manifest: Manifest) -> Mapping[str, object]:
        """Return further options of the writer."""
        del manifest
        return {}

    def create(self, folder: Path, manifest: Manifest) -> Writer:
        options = self.options_for(manifest)
        return create_writer(self.format_id, folder, self.file_name, manifest, **options)

    def write(self, folder: Path, manifest: Manifest, values: dict) -> Path:
        path = folder / self.file_name
        options = self.options_for(manifest)
        names = write_file(self.format_id, path, manifest, values, **options)
        assert names[-1] == self.result()
        assert set(names) == {file.name for file in folder.iterdir()}
        return folder / self.result()

    def test_every_type_and_shape_is_read_as_it_was_written(self, tmp_path):
        manifest = self.manifest(specs_of_every_type(self.refused))
        values = random_values(manifest)
        path = self.write(tmp_path, manifest, values)
        with open_checkpoint(path) as checkpoint:
            assert dict(checkpoint.manifest.tensors) == dict(manifest.tensors)
            assert_holds(checkpoint, values)

    def test_a_type_that_the_format_lacks_is_refused_before_anything_is_written(self, tmp_path):
        for name in self.refused:
            spec = TensorSpec("some.weight", (4, 2), get_dtype(name))
            with pytest.raises(WriteError, match=name):
                self.create(tmp_path, self.manifest([spec]))
            assert not list(tmp_path.iterdir())

    def test_an_empty_manifest_is_a_file(self, tmp_path):
        path = self.write(tmp_path, self.manifest(()), {})
        with open_checkpoint(path) as checkpoint:
            assert not len(checkpoint.manifest)

    def test_blocks_come_from_several_threads_in_any_order_of_tensors(self, tmp_path):
        specs = [TensorSpec(f"t.{i}", (i + 1, 37), get_dtype("float32")) for i in range(40)]
        manifest = self.manifest(specs)
        values = random_values(manifest)
        writer = self.create(tmp_path, manifest)

        def put(spec: TensorSpec) -> None:
            flat = values[spec.name].reshape(-1)
            for start in range(0, flat.size, 29):
                writer.write(spec.name, start, flat[start : start + 29])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, reversed(list(manifest))))
        writer.finish({})
        with open_checkpoint(tmp_path / self.result()) as checkpoint:
            assert_holds(checkpoint, values)

    def test_a_tensor_may_be_written_from_its_end(self, tmp_path):
        manifest = self.manifest(small_manifest())
        values = random_values(manifest)
        writer = self.create(tmp_path, manifest)
        for spec in manifest:
            flat = values[spec.name].reshape(-1)
            half = flat.size // 2
            writer.write(spec.name, half, flat[half:])
            writer.write(spec.name, 0, flat[:half])
        writer.finish({})
        with open_checkpoint(tmp_path / self.result()) as checkpoint:
            assert_holds(checkpoint, values)

    def test_an_array_in_fortran_order_is_written_in_c_order(self, tmp_path):
        manifest = self.manifest([TensorSpec("a.weight", (3, 5), get_dtype("float32"))])
        values = random_values(manifest)
        fortran = {name: np.asfortranarray(value) for name, value in values.items()}
        assert not any(value.flags.c_contiguous for value in fortran.values())
        path = self.write(tmp_path, manifest, fortran)
        with open_checkpoint(path) as checkpoint:
            assert_holds(checkpoint, values)

    def test_opening_reads_no_values(self, tmp_path):
        nbytes = 96 * 2**20
        manifest = self.manifest([TensorSpec("big", (nbytes // 4,), get_dtype("float32"))])
        (name,) = manifest.tensors
        path = self.write(tmp_path, manifest, {name: np.zeros(nbytes // 4, np.float32)})
        before = _bytes_read(), _resident()
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.manifest.nbytes == nbytes
            assert _bytes_read() - before[0] < 2**20
            assert _resident() - before[1] < 2**25

    def test_release_gives_the_memory_back_and_the_tensor_can_be_read_again(self, tmp_path):
        nbytes = 96 * 2**20
        manifest = self.manifest([TensorSpec("big", (nbytes // 4,), get_dtype("float32"))])
        (name,) = manifest.tensors
        ones = np.ones(nbytes // 4, np.float32)
        path = self.write(tmp_path, manifest, {name: ones})
        with open_checkpoint(path) as checkpoint:
            array = checkpoint.read(name)
            before = _resident()
            assert array.sum() == ones.size
            assert _resident() - before > nbytes // 2
            checkpoint.release(name)
            assert _resident() - before < nbytes // 2
            assert array[-1] == 1
            assert checkpoint.read(name).sum() == ones.size

    def test_arrays_cannot_be_written_to(self, tmp_path):
        manifest = self.manifest(small_manifest())
        path = self.write(tmp_path, manifest, random_values(manifest))
        with open_checkpoint(path) as checkpoint:
            for spec in manifest:
                assert not checkpoint.read(spec.name).flags.writeable

    def test_an_unknown_name_is_a_key_error(self, tmp_path):
        manifest = self.manifest(small_manifest())
        path = self.write(tmp_path, manifest, random_values(manifest))
        with open_checkpoint(path) as checkpoint, pytest.raises(KeyError):
            checkpoint.read("nothing")

    def test_abort_closes_everything(self, tmp_path):
        manifest = self.manifest(small_manifest())
        before = _open_files()
        writer = self.create(tmp_path, manifest)
        writer.write(next(iter(manifest.tensors)), 0, np.zeros(2, np.float32))
        writer.abort()
        assert _open_files() == before

    def test_reading_closes_everything(self, tmp_path):
        manifest = self.manifest(small_manifest())
        path = self.write(tmp_path, manifest, random_values(manifest))
        before = _open_files()
        checkpoint = open_checkpoint(path)
        read_everything(checkpoint)
        checkpoint.close()
        assert _open_files() == before

    def test_a_file_that_is_there_is_not_written_over(self, tmp_path):
        manifest = self.manifest(small_manifest())
        path = self.write(tmp_path, manifest, random_values(manifest))
        content = path.read_bytes()
        with pytest.raises(FileExistsError):
            self.write(tmp_path, manifest, random_values(manifest, seed=8))
        assert path.read_bytes() == content

    def test_a_disk_that_cannot_hold_the_target_is_noticed_before_the_first_value(self, tmp_path):
        manifest = self.manifest([TensorSpec("a.weight", (2**18,), get_dtype("float32"))])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                self.create(tmp_path, manifest)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    def test_every_truncation_is_an_error_of_our_own(self, tmp_path):
        path, data = self.small_file(tmp_path)
        path.write_bytes(data)
        for size in range(len(data) - 1, -1, -self.truncation_step):
            os.truncate(path, size)
            with pytest.raises(CheckpointError), open_checkpoint(path) as checkpoint:
                read_everything(checkpoint)

    def test_no_flipped_byte_is_more_than_an_error_of_our_own(self, tmp_path):
        path, data = self.small_file(tmp_path)
        for place in range(0, len(data), max(1, len(data) // self.flipped_bytes)):
            path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
            try:
                with open_checkpoint(path) as checkpoint:
                    read_everything(checkpoint)
            except CheckpointError:
                continue

    def small_file(self, folder: Path) -> tuple[Path, bytes]:
        """Return a small file, or the last one where there are several."""
        manifest = self.manifest(small_manifest())
        path = self.write(folder, manifest, random_values(manifest))
        return path, path.read_bytes()


def read_everything(checkpoint: Checkpoint) -> None:
    for name in checkpoint.manifest.tensors:
        checkpoint.read(name).tobytes()


def _bytes_read() -> int:
    text = Path("/proc/self/io").read_text(encoding="ascii")
    return int(text.split("rchar:")[1].split()[0])


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
