"""What wrote a file is told from files that the real programs write, and from nothing else."""

from __future__ import annotations

import importlib.metadata
import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import converter
from converter.formats import authorship
from converter.formats.registry import open_checkpoint

VALUES = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
NUMPY = "NumPy, or a program that writes as it does (array format 1.0)"


def writer_of(path: Path, **options: object) -> str | None:
    with open_checkpoint(path, **options) as found:
        return found.manifest.writer


def notices_of(path: Path) -> tuple[str, ...]:
    with open_checkpoint(path) as found:
        return found.manifest.notices


class TestNumpy:
    def test_archives_and_single_arrays(self, tmp_path):
        np.savez(tmp_path / "a.npz", **VALUES)
        np.save(tmp_path / "a.npy", VALUES["a.weight"])
        assert writer_of(tmp_path / "a.npz") == NUMPY
        assert writer_of(tmp_path / "a.npy") == NUMPY

    def test_a_header_of_another_version_is_said(self, tmp_path):
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array(file, np.zeros(3), version=(2, 0))
        assert writer_of(tmp_path / "a.npy").endswith("(array format 2.0)")

    def test_pickles_of_every_protocol(self, tmp_path):
        path = tmp_path / "a.pkl"
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            path.write_bytes(pickle.dumps([np.arange(3.0)], protocol=protocol))
            said = "0 or 1" if protocol < 2 else protocol
            expected = f"pickle with NumPy 2.0 or later (pickle protocol {said})"
            assert writer_of(path) == expected

    def test_a_pickle_of_an_older_numpy(self, tmp_path):
        data = pickle.dumps([np.arange(3.0)], protocol=2)
        (tmp_path / "a.pkl").write_bytes(data.replace(b"numpy._core.", b"numpy.core."))
        expected = "pickle with NumPy before 2.0 (pickle protocol 2)"
        assert writer_of(tmp_path / "a.pkl") == expected

    def test_joblib(self, tmp_path):
        joblib = pytest.importorskip("joblib")
        joblib.dump([np.arange(3.0)], tmp_path / "a.joblib", compress=("gzip", 3), protocol=4)
        expected = "joblib 0.10 or later (gzip, pickle protocol 4)"
        assert writer_of(tmp_path / "a.joblib") == expected

    def test_an_array_without_names_keeps_its_writer_under_those_of_a_model(self, tmp_path):
        np.savez(tmp_path / "model.npz", **{"d/kernel": VALUES["a.weight"]})
        np.savez(tmp_path / "a.npz", VALUES["a.weight"])
        assert writer_of(tmp_path / "a.npz", architecture=tmp_path / "model.npz") == NUMPY


class TestTorch:
    @pytest.fixture(autouse=True)
    def _torch(self, tmp_path):
        self.torch = pytest.importorskip("torch")
        self.state = {"a.weight": self.torch.arange(6.0).reshape(2, 3)}
        self.path = tmp_path / "a.pt"

    def rewritten(self, drop: set[str], **changed: bytes) -> None:
        """Write the archive of this PyTorch without some of its records."""
        saved = io.BytesIO()
        self.torch.save(self.state, saved)
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(self.path, "w") as new:
            for name in old.namelist():
                record = name.partition("/")[2]
                if record not in drop:
                    new.writestr(name, changed.get(record, old.read(name)))

    def test_this_version_and_older_ones_by_their_records(self):
        other = "or a program that writes as it does (pickle protocol 2)"
        self.torch.save(self.state, self.path)
        assert writer_of(self.path) == f"PyTorch 2.7 or later, {other}"
        newest = {".format_version", ".storage_alignment"}
        self.rewritten(newest)
        assert writer_of(self.path) == f"PyTorch 2.1 to 2.6, {other}"
        self.rewritten({*newest, "byteorder", ".data/serialization_id"})
        assert writer_of(self.path) == f"PyTorch 1.6 to 2.0, {other}"
        assert notices_of(self.path) == ()

    def test_the_format_before_the_zip(self):
        self.torch.save(self.state, self.path, _use_new_zipfile_serialization=False)
        expected = "PyTorch before 1.6, or a later one asked for the old format (pickle protocol 2)"
        assert writer_of(self.path) == expected

    def test_programs(self):
        with pytest.warns(DeprecationWarning, match="deprecated"):
            self.torch.jit.save(self.torch.jit.script(self.torch.nn.Linear(3, 2)), self.path)
        assert writer_of(self.path) == "PyTorch, torch.jit.save (file version 3)"

    def test_missing_checksums_are_said(self):
        from torch.utils.serialization import config

        config.save.compute_crc32 = False
        try:
            self.torch.save(self.state, self.path)
        finally:
            config.save.compute_crc32 = True
        assert notices_of(self.path) == (
            "Its checksums were not computed: damaged values would not be noticed.",
        )

    def test_a_file_of_the_other_byte_order_is_said(self):
        value = self.state["a.weight"].numpy().byteswap().tobytes()
        self.rewritten(set(), **{"byteorder": b"big", "data/0": value})
        assert notices_of(self.path) == (
            "Its values are big-endian: they are turned when they are read.",
        )
        with open_checkpoint(self.path) as found:
            assert found.read("a.weight").tolist() == [[0, 1, 2], [3, 4, 5]]

    def test_weights_computed_from_parts_keep_the_writer(self):
        module = self.torch.nn.Sequential(
            self.torch.nn.utils.parametrizations.weight_norm(self.torch.nn.Linear(3, 2))
        )
        self.torch.save(module.state_dict(), self.path)
        with converter.open(self.path, norms="materialise") as found:
            assert "0.weight" in found.manifest
            assert found.manifest.writer.startswith("PyTorch 2.7 or later")

    def test_safetensors(self, tmp_path):
        library = pytest.importorskip("safetensors.torch")
        path = tmp_path / "a.safetensors"
        library.save_file(self.state, path, metadata={"format": "pt"})
        assert writer_of(path) == (
            "a safetensors writer for PyTorch (format 'pt', no version recorded)"
        )
        library.save_file(self.state, path)
        assert writer_of(path) is None

    def test_a_header_that_begins_with_space_is_said(self, tmp_path):
        library = pytest.importorskip("safetensors.torch")
        data = library.save(self.state)
        size = int.from_bytes(data[:8], "little")
        path = tmp_path / "a.safetensors"
        path.write_bytes((size + 2).to_bytes(8, "little") + b"  " + data[8:])
        assert notices_of(path) == (
            "The header begins with space, which the format forbids and its own reader takes.",
        )
        assert set(library.load_file(path)) == set(self.state)


class TestKeras:
    @pytest.fixture(autouse=True)
    def _keras(self):
        self.keras = pytest.importorskip("keras")

    def model(self, *layers: object) -> object:
        dense = self.keras.layers.Dense(2, name="d")
        return self.keras.Sequential([self.keras.Input((3,)), dense, *layers])

    def test_all_three_kinds_of_files(self, tmp_path):
        version = self.keras.__version__
        for name in ("a.keras", "a.h5"):
            self.model().save(tmp_path / name)
        self.model().save_weights(tmp_path / "a.weights.h5")
        assert writer_of(tmp_path / "a.keras") == f"Keras {version}"
        backend = authorship._BACKENDS[self.keras.backend.backend()]
        assert writer_of(tmp_path / "a.h5") == f"Keras {version} ({backend})"
        assert writer_of(tmp_path / "a.weights.h5") == (
            "Keras 3.6 or later (no version recorded; its layers have names)"
        )

    def test_weights_of_an_older_keras_have_no_names(self, tmp_path):
        import h5py

        path = tmp_path / "a.weights.h5"
        self.model().save_weights(path)
        with h5py.File(path, "r+") as file:
            file.visititems(lambda _, item: item.attrs.pop("name", None) and None)
        assert writer_of(path) == (
            "Keras 3.0 to 3.5 or tf.keras (no version recorded; its layers have no names)"
        )

    def test_a_file_of_ours_says_so(self, tmp_path):
        self.model().save(tmp_path / "a.keras")
        ours = f"Weightferry {importlib.metadata.version('weightferry')}"
        converter.convert(tmp_path / "a.keras", tmp_path / "a.safetensors")
        assert writer_of(tmp_path / "a.safetensors").startswith(ours)
        like = tmp_path / "a.keras"
        for name in ("b.keras", "b.weights.h5"):
            converter.convert(tmp_path / "a.safetensors", tmp_path / name, like=like)
            assert writer_of(tmp_path / name).startswith(f"{ours}, in the form of Keras 3"), name

    def test_weights_that_are_pickles_in_arrays_are_refused_with_the_way_out(self, tmp_path):
        from keras.src.saving import saving_lib

        with (tmp_path / "a.keras").open("wb") as file:
            saving_lib._save_model_to_fileobj(self.model(), file, "npz")
        with pytest.raises(converter.UnsupportedFileError) as error:
            open_checkpoint(tmp_path / "a.keras")
        assert error.value.summary == (
            "cannot read 'a.keras': its weights are 'model.weights.npz', pickled objects of Keras"
        )
        with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
            self.keras.models.load_model(tmp_path / "a.keras")

    def test_functions_in_a_file_are_said_and_not_run(self, tmp_path):
        for name in ("a.keras", "a.h5"):
            self.model(self.keras.layers.Lambda(lambda x: x, name="l")).save(tmp_path / name)
            assert notices_of(tmp_path / name) == (
                "functions in the file were not run or read: 'l' (Lambda)",
            )

    def test_an_archive_that_was_zipped_again_is_said(self, tmp_path):
        self.model().save(tmp_path / "a.keras")
        with (
            zipfile.ZipFile(tmp_path / "a.keras") as old,
            zipfile.ZipFile(tmp_path / "b.keras", "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for name in old.namelist():
                new.writestr(name, old.read(name))
        assert notices_of(tmp_path / "b.keras") == (
            "the archive was compressed, which Keras does not do: it was inflated",
        )


def test_a_record_that_is_no_record_changes_nothing():
    for text in ("{", "[]", "{}", '{"version": 3}', "[" * 100_000, "x" * 2**17):
        assert authorship.converted({"weightferry": text}, "Keras 2.1.3") == "Keras 2.1.3"


def test_what_a_file_says_is_made_safe_to_print():
    said = authorship.of_onnx("evil\x1b[2J" + "x" * 1000, "", 9, 4)
    assert "\x1b" not in said
    assert len(said) < 260


def test_inspect_says_it(tmp_path):
    np.savez(tmp_path / "a.npz", **VALUES)
    command = [sys.executable, "-m", "converter", "inspect", str(tmp_path / "a.npz")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"written by: {NUMPY}\n" in text
    found = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout)["writer"] == NUMPY
