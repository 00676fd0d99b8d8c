"""Zip containers: zipfile as oracle, and the tricks that other readers fall for."""

import io
import struct
import zipfile

import numpy as np
import pytest

from converter.errors import CheckpointError, CorruptFileError, UnsafeFileError
from converter.formats.source_file import SourceFile
from converter.formats.zip_archive import ZipArchive
from converter.formats.zip_target import ZipTarget

MEMBERS = {"a/b.bin": bytes(range(256)) * 9, "empty": b"", "zeros": bytes(50_000), "\u00e4": b"x"}


def archive_of(folder, members=MEMBERS, compression=zipfile.ZIP_STORED):
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def read_all(path):
    with SourceFile(path) as source:
        archive = ZipArchive(source)
        found = {name: archive.view(name).tobytes() for name in archive.members}
        for name, data in found.items():
            assert archive.read(name) == data
            assert archive.peek(name, 7) == data[:7]
            archive.release(name)
            assert archive.view(name).tobytes() == data
        archive.close()
        return found


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_as_zipfile_wrote_them(tmp_path, compression):
    assert read_all(archive_of(tmp_path, compression=compression)) == MEMBERS


def test_an_archive_that_was_written_to_a_stream_is_read(tmp_path):
    class Stream(io.RawIOBase):
        def __init__(self):
            self.parts = []

        def writable(self):
            return True

        def write(self, data):
            self.parts.append(bytes(data))
            return len(data)

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    (tmp_path / "a.zip").write_bytes(b"".join(stream.parts))
    assert read_all(tmp_path / "a.zip") == MEMBERS


def test_zip64_records_that_nobody_needs_are_read(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive, archive.open("x", "w", force_zip64=True) as file:
        file.write(b"content")
    assert read_all(path) == {"x": b"content"}


def test_folders_are_left_out(tmp_path):
    assert read_all(archive_of(tmp_path, {"a/": b"", "a/x": b"y"})) == {"a/x": b"y"}


def test_a_member_over_its_limit_is_refused(tmp_path):
    with SourceFile(archive_of(tmp_path)) as source:
        archive = ZipArchive(source)
        with pytest.raises(UnsafeFileError, match="the member 'zeros' is too large"):
            archive.read("zeros", max_bytes=49_999)
        assert archive.read("zeros", max_bytes=50_000)


def changed(path, old, new, count=1):
    data = path.read_bytes()
    assert data.count(old) >= count
    path.write_bytes(data.replace(old, new, count))
    return path


class TestTricks:
    def test_two_members_of_one_name(self, tmp_path):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x", b"1")
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr("x", b"2")
        with pytest.raises(UnsafeFileError, match="two members are named 'x'"):
            read_all(path)

    @pytest.mark.parametrize("name", ["/x", "../x", "a/../x", "a//x", "./x", "a\\x"])
    def test_names_that_lead_elsewhere(self, tmp_path, name):
        with pytest.raises(UnsafeFileError, match="it has a member named"):
            read_all(archive_of(tmp_path, {name: b"x"}))

    def test_a_local_header_of_another_name(self, tmp_path):
        path = archive_of(tmp_path, {"good.bin": b"content"})
        with pytest.raises(CorruptFileError, match="its local header and the directory disagree"):
            read_all(changed(path, b"good.bin", b"evil.bin"))

    def test_content_that_does_not_match_its_checksum(self, tmp_path):
        path = archive_of(tmp_path, {"x": b"content"})
        with pytest.raises(CorruptFileError, match="does not match its checksum"):
            read_all(changed(path, b"content", b"CONTENT"))

    def test_a_compressed_member_that_declares_another_size(self, tmp_path):
        path = archive_of(tmp_path, {"x": bytes(5000)}, zipfile.ZIP_DEFLATED)
        for size in (4999, 5001, 50_000_000):
            wrong = tmp_path / f"{size}.zip"
            data = path.read_bytes().replace(struct.pack("<I", 5000), struct.pack("<I", size))
            wrong.write_bytes(data)
            with pytest.raises(CorruptFileError):
                read_all(wrong)

    def test_a_bomb_is_not_inflated(self, tmp_path):
        path = archive_of(tmp_path, {"x": bytes(80 * 2**20)}, zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 2**17
        with pytest.raises(UnsafeFileError, match="it would grow absurdly when inflated"):
            read_all(path)

    def test_members_that_overlap(self, tmp_path):
        inner = b"y" * 3000
        path = archive_of(tmp_path, {"a": inner, "b": b"z" * 100})
        data = bytearray(path.read_bytes())
        second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
        data[second + 42 : second + 46] = struct.pack("<I", 40)  # inside the first member
        path.write_bytes(data)
        with pytest.raises(UnsafeFileError, match="overlaps another one"):
            read_all(path)

    @pytest.mark.parametrize("flag", [0x01, 0x20, 0x40, 0x2000])
    def test_encryption_and_odd_flags(self, tmp_path, flag):
        path = archive_of(tmp_path, {"x": b"content"})
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\1\2") + 8 : data.index(b"PK\1\2") + 10] = struct.pack("<H", flag)
        path.write_bytes(data)
        with pytest.raises(UnsafeFileError, match="encrypted, a link, or of an odd compression"):
            read_all(path)

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_other_compressions(self, tmp_path, method):
        with pytest.raises(UnsafeFileError, match="odd compression"):
            read_all(archive_of(tmp_path, {"x": b"content"}, method))

    def test_a_link(self, tmp_path):
        info = zipfile.ZipInfo("x")
        info.external_attr = 0o120777 << 16
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(info, "/etc/passwd")
        with pytest.raises(UnsafeFileError, match="a link"):
            read_all(path)

    @pytest.mark.parametrize("where", ["before", "after", "comment"])
    def test_bytes_around_the_archive(self, tmp_path, where):
        path = archive_of(tmp_path, {"x": b"content"})
        data = path.read_bytes()
        if where == "comment":
            data = data[:-2] + b"\1\0c"
        else:
            data = b"junk" + data if where == "before" else data + b"junk"
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            read_all(path)

    def test_a_count_that_is_wrong(self, tmp_path):
        path = archive_of(tmp_path, {"x": b"1", "y": b"2"})
        data = bytearray(path.read_bytes())
        for count in (1, 3):
            data[-14:-10] = struct.pack("<2H", count, count)
            path.write_bytes(data)
            with pytest.raises(CorruptFileError):
                read_all(path)


class TestTarget:
    def test_zipfile_reads_it_and_every_member_is_aligned(self, tmp_path):
        path = tmp_path / "a.zip"
        target = ZipTarget(path, [(name, len(data)) for name, data in MEMBERS.items()])
        for name, data in MEMBERS.items():
            for start in range(0, len(data), 1000):
                target.write(name, start, data[start : start + 1000])
        target.finish()
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS
        with SourceFile(path) as source:
            archive = ZipArchive(source)
            assert all(archive.locate(name)[0] % 64 == 0 for name in MEMBERS)
        assert read_all(path) == MEMBERS

    def test_equal_content_gives_equal_files(self, tmp_path):
        for name in ("a.zip", "b.zip"):
            target = ZipTarget(tmp_path / name, [("x", 7)])
            target.write("x", 0, b"content")
            target.finish()
        assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()

    def test_more_members_than_the_old_format_counts(self, tmp_path):
        path = tmp_path / "a.zip"
        target = ZipTarget(path, [(f"m{number}", 0) for number in range(65_600)])
        target.finish()
        with zipfile.ZipFile(path) as archive:
            assert len(archive.namelist()) == 65_600
        with SourceFile(path) as source:
            assert len(ZipArchive(source).members) == 65_600

    @pytest.mark.long
    def test_members_and_offsets_over_four_gigabytes(self, tmp_path):
        size = 2**32 + 100
        path = tmp_path / "a.zip"
        try:
            target = ZipTarget(path, [("large", size), ("after", 3)])
        except OSError:
            pytest.skip("not enough room on the disk")
        end = np.arange(100, dtype=np.uint8)
        target.write("large", size - 100, end)
        target.write("after", 0, b"xyz")
        target.finish()
        with zipfile.ZipFile(path) as archive:
            assert [member.file_size for member in archive.infolist()] == [size, 3]
            assert archive.read("after") == b"xyz"
        with SourceFile(path) as source:
            archive = ZipArchive(source)
            assert archive.view("after").tobytes() == b"xyz"
            offset, length = archive.locate("large")
            assert source.read(offset + length - 100, 100) == end.tobytes()
