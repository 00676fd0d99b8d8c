"""One way to open a file: what it refuses, what it reads, and what it gives back."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.errors import CheckpointError, CorruptFileError, UnsafeFileError
from converter.formats.beside import check_member_name, open_beside
from converter.formats.source_file import SourceFile, strict_json

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "some.bin"
    file.write_bytes(CONTENT)
    return file


@pytest.mark.parametrize(("offset", "nbytes"), [(0, 0), (0, 1), (5, 9000), (10240, 0), (0, 10240)])
def test_reading_and_viewing_give_the_same_bytes(path, offset, nbytes):
    with SourceFile(path) as source:
        assert source.read(offset, nbytes) == CONTENT[offset : offset + nbytes]
        view = source.view(offset, nbytes)
        assert view.tobytes() == CONTENT[offset : offset + nbytes]
        assert not view.flags.writeable


@pytest.mark.parametrize(
    ("offset", "nbytes"), [(0, 10241), (10241, 0), (-1, 2), (5, -1), (2**63, 1)]
)
def test_what_is_not_in_the_file_is_not_read(path, offset, nbytes):
    with SourceFile(path) as source:
        for method in (source.read, source.view, source.release, source.window):
            with pytest.raises(CorruptFileError):
                method(offset, nbytes)


def test_a_view_outlives_the_file_and_its_release(path):
    source = SourceFile(path)
    view = source.view(100, 5000)
    source.release(100, 5000)
    source.close()
    source.close()
    assert view.tobytes() == CONTENT[100:5100]
    with pytest.raises(ValueError, match="is closed"):
        source.read(0, 1)


def test_a_file_that_became_shorter_is_an_error_and_no_signal(path):
    with SourceFile(path) as source:
        os.truncate(path, 10)
        with pytest.raises(CorruptFileError, match="became shorter"):
            source.view(0, 5000)
        with pytest.raises(CorruptFileError, match="became shorter"):
            source.read(0, 5000)


def test_pipes_devices_folders_and_missing_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsafeFileError, match="cannot read 'pipe': it is not a regular file"):
        SourceFile(tmp_path / "pipe")
    with pytest.raises(UnsafeFileError, match="it is not a regular file"):
        SourceFile("/dev/zero")
    with pytest.raises(CheckpointError, match="it is a folder"):
        SourceFile(tmp_path)
    with pytest.raises(CheckpointError, match="there is no such file"):
        SourceFile(tmp_path / "nothing")


def test_a_file_over_its_limit_is_refused(path):
    with pytest.raises(UnsafeFileError) as error:
        SourceFile(path, max_bytes=10_000)
    assert str(error.value) == (
        "cannot read 'some.bin': it is too large for this kind of file\n"
        "  expected  at most 10,000 bytes\n"
        "  found     10,240 bytes"
    )


def test_no_descriptor_is_left_open(path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with SourceFile(path) as source:
            source.view(0, 10)
        with pytest.raises(UnsafeFileError):
            SourceFile(path, max_bytes=1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@given(st.data())
def test_a_window_behaves_like_a_file_of_its_own(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "window.bin"
    file.write_bytes(CONTENT)
    with SourceFile(file) as source:
        window = source.window(100, 300)
        position = 0
        for _ in range(6):
            if data.draw(st.booleans()):
                position = data.draw(st.integers(0, 400))
                assert window.seek(position) == position
            count = data.draw(st.integers(0, 500))
            expected = CONTENT[100:400][position : position + count]
            assert window.read(count) == expected
            position += len(expected)
            assert window.tell() == position


def test_hdf5_reads_through_a_window(tmp_path):
    with h5py.File(tmp_path / "inner.h5", "w") as file:
        file["x"] = np.arange(30.0).reshape(5, 6)
    inner = (tmp_path / "inner.h5").read_bytes()
    (tmp_path / "outer.bin").write_bytes(b"x" * 77 + inner + b"y" * 99)
    with SourceFile(tmp_path / "outer.bin") as source:
        window = source.window(77, len(inner))
        with h5py.File(window, "r") as file:
            assert np.array_equal(file["x"][:], np.arange(30.0).reshape(5, 6))
        window.seek(-5, os.SEEK_END)
        assert window.readall() == inner[-5:]


REFUSED_JSON = {
    b'{"a": 1, "a": 2}': "the key 'a' is there twice",
    b'{"b": {"a": 1, "a": 1}}': "the key 'a' is there twice",
    b"[NaN]": "it holds NaN",
    b"[-Infinity]": "it holds -Infinity",
    b"[1e999]": "a number is too large",
    b"[123456789012345678901]": "a number has 21 digits",
    b'["\\ud800"]': "a text in it is not Unicode",
    b"\xef\xbb\xbf{}": "it starts with a byte order mark",
    b'"\xff"': "it is not UTF-8 at byte 1",
    b"[" * 65 + b"]" * 65: "it is nested more than 64 levels deep",
    b"[" * 100_000: "it is nested more than 64 levels deep",
    b'{"a" 1}': "Expecting ':' delimiter at character 5",
    b"": "Expecting value at character 0",
    b"[1,]": "Expecting value at character 3",
    b"{} {}": "Extra data at character 3",
}


@pytest.mark.parametrize(("text", "why"), REFUSED_JSON.items())
def test_json_with_more_than_one_reading_is_refused(text, why):
    with pytest.raises(CorruptFileError) as error:
        strict_json(text, what="the header", path=Path("a/x.json"))
    assert str(error.value) == f"cannot read 'x.json': the header is not valid JSON: {why}"


def test_json_that_is_merely_odd_is_read():
    text = b' {"": [18446744073709551615, -1, 1.5, true, null, "\\ud83d\\ude00[[[{{{\\\\\\""]}\n'
    found = strict_json(text, what="it", path=Path("x"))
    assert found == {"": [2**64 - 1, -1, 1.5, True, None, '\N{GRINNING FACE}[[[{{{\\"']}
    assert strict_json(b"[" * 64 + b"]" * 64, what="it", path=Path("x"))


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "~/x", "a\\b", "C:x"),
        *("a\0b", "http://x/y", "x" * 256, "\ud800", None, 3, ["a"], b"a"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(UnsafeFileError, match="it names a file outside its own folder"):
        check_member_name(name, path=Path("index.json"))


class TestOpenBeside:
    def test_files_in_the_folder_and_below_are_opened(self, tmp_path):
        (tmp_path / "sub").mkdir()
        for name in ("a.bin", "sub/b.bin"):
            (tmp_path / name).write_bytes(name.encode())
            with open_beside(tmp_path / "index.json", name) as source:
                assert source.read(0, source.size) == name.encode()

    def test_links_out_of_the_folder_are_not_followed(self, tmp_path):
        secret = tmp_path / "secret"
        secret.mkdir()
        (secret / "key.bin").write_bytes(b"secret")
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "file.bin").symlink_to(secret / "key.bin")
        (folder / "sub").symlink_to(secret)
        for name in ("file.bin", "sub/key.bin"):
            with pytest.raises(UnsafeFileError, match="it is a link"):
                open_beside(folder / "index.json", name)

    def test_a_pipe_does_not_block(self, tmp_path):
        os.mkfifo(tmp_path / "shard.bin")
        with pytest.raises(UnsafeFileError, match="not a regular file"):
            open_beside(tmp_path / "index.json", "shard.bin")

    def test_a_missing_shard_is_said_so(self, tmp_path):
        with pytest.raises(CheckpointError, match="there is no such file"):
            open_beside(tmp_path / "index.json", "shard.bin")

    def test_the_cache_of_hugging_face_is_read(self, tmp_path):
        blob = "0123456789abcdef" * 4
        (tmp_path / "blobs").mkdir()
        (tmp_path / "blobs" / blob).write_bytes(b"weights")
        snapshot = tmp_path / "snapshots" / ("c" * 40)
        snapshot.mkdir(parents=True)
        (snapshot / "a.bin").symlink_to(f"../../blobs/{blob}")
        with open_beside(snapshot / "index.json", "a.bin") as source:
            assert source.read(0, 7) == b"weights"

    @pytest.mark.parametrize(
        "link", ["../../blobs/../secret", "../../../blobs/" + "a" * 64, "../../blobs/" + "g" * 64]
    )
    def test_links_that_only_look_like_the_cache_are_not_followed(self, tmp_path, link):
        snapshot = tmp_path / "snapshots" / ("c" * 40)
        snapshot.mkdir(parents=True)
        (tmp_path / "blobs").mkdir()
        (tmp_path / "secret").write_bytes(b"secret")
        (snapshot / "a.bin").symlink_to(link)
        with pytest.raises(UnsafeFileError):
            open_beside(snapshot / "index.json", "a.bin")
