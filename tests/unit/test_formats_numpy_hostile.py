"""Pickles of arrays that attack: nothing is called, little is allocated, and everything ends."""

import contextlib
import gzip
import os
import pickle
import subprocess
import sys
import zlib

import numpy as np
import pytest

from converter.errors import CheckpointError, CorruptFileError, UnsafeFileError
from converter.formats.registry import open_checkpoint

MEMORY = 400 * 2**20
SECONDS = 10  # of processor time


LARGE = "\x8a\x08" + "\xff" * 7 + "\x7f"  # 2**63 - 1


def saved(folder, data):
    path = folder / "w.pkl"
    path.write_bytes(data if isinstance(data, bytes) else data.encode("latin-1"))
    return path


def array_code(shape="K\x03", dtype="f4", order="<", raw="C\x0c" + "\0" * 12, version="K\x01"):
    """Return the pickle of [array], with parts to lie about, as opcodes of protocol 3."""
    return (
        "\x80\x03]cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
        f"({version}({shape}tcnumpy\ndtype\nX\x02\x00\x00\x00{dtype}\x89\x88\x87R"
        f"(K\x03X\x01\x00\x00\x00{order}NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89{raw}tba."
    )


def joblib_code(shape="K\x03", order="C", extra="", data="\0" * 12, subclass="cnumpy\nndarray\n"):
    """Return [array] as joblib 1.1 writes it, without padding."""
    return (
        "\x80\x03]cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}("
        f"X\x08\x00\x00\x00subclass{subclass}X\x05\x00\x00\x00shape({shape}t"
        f"X\x05\x00\x00\x00orderX\x01\x00\x00\x00{order}X\x05\x00\x00\x00dtypecnumpy\ndtype\n"
        "X\x02\x00\x00\x00f4\x89\x88\x87R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        f"K\x00tb{extra}ub{data}a."
    )


@pytest.mark.parametrize("code", [array_code(), joblib_code()])
def test_the_controls_are_read(tmp_path, code):
    with open_checkpoint(saved(tmp_path, code)) as checkpoint:
        assert checkpoint.read("0").tolist() == [0, 0, 0]


class TestNothingIsCalled:
    def bombs(self, canary):
        class System:
            def __reduce__(self):
                return (os.system, (f"touch {canary}",))

        class Creates:
            def __reduce__(self):
                return (os.mkfifo, (str(canary),))

        class Evaluates:
            def __reduce__(self):
                return (eval, (f"__import__('os').mkfifo({str(canary)!r})",), {"x": 1})

        class LooksLikeNumpy:
            def __reduce__(self):
                return (np.ndarray.tofile, (np.ones(2), str(canary)))

        return [System(), Creates(), Evaluates(), LooksLikeNumpy()]

    @pytest.mark.parametrize("protocol", range(6))
    def test_whatever_it_names(self, tmp_path, protocol):
        canary = tmp_path / "canary"
        for bomb in self.bombs(canary):
            with contextlib.suppress(AttributeError):  # the state, after the deed
                pickle.loads(pickle.dumps(bomb, protocol))
            assert canary.exists(), "the bomb works"
            canary.unlink()
            path = saved(tmp_path, pickle.dumps([np.ones(2), bomb], protocol))
            with pytest.raises(CheckpointError, match="is no array of NumPy"):
                open_checkpoint(path)
            path = saved(tmp_path, pickle.dumps({"a": np.ones(2), "b": bomb}, protocol))
            with open_checkpoint(path) as checkpoint:
                assert list(checkpoint.manifest.tensors) == ["a"]
                assert checkpoint.read("a").tolist() == [1, 1]
                assert "'b' is left out" in checkpoint.manifest.notices[0]
            assert not canary.exists()

    @pytest.mark.parametrize(
        "name",
        ["numpy\nload", "numpy\nfromfile", "numpy\nmemmap", "builtins\nbytearray", "numpy\nzeros"],
    )
    def test_other_functions_of_numpy_are_only_names(self, tmp_path, name):
        code = f"\x80\x03]c{name}\nX\x05\x00\x00\x00numpyK\x05\x86Ra."
        with pytest.raises(CheckpointError, match="is no array of NumPy"):
            open_checkpoint(saved(tmp_path, code))

    def test_a_state_is_not_set_on_what_is_no_array(self, tmp_path):
        code = "\x80\x03]cos\nenviron\n}X\x05\x00\x00\x00numpyK\x01sba."
        with pytest.raises(CheckpointError):
            open_checkpoint(saved(tmp_path, code))


class TestLies:
    @pytest.mark.parametrize(
        "lie",
        [
            {"shape": "K\x04"},
            {"shape": "K\x02"},
            {"shape": "J\xff\xff\xff\xff"},
            {"shape": "\x88"},
            {"shape": "N"},
            {"shape": "\x8a\x08" + "\xff" * 7 + "\x7f"},
            {"shape": "K\x00\x8a\x08" + "\xff" * 7 + "\x7f" + "\x8a\x08" + "\xff" * 7 + "\x7f"},
            {"shape": "K\x01" * 65},
            {"shape": f"K\0{LARGE}{LARGE}", "raw": "C\0"},
            {"dtype": "O8"},
            {"dtype": "V4"},
            {"dtype": "f3"},
            {"dtype": "U3"},
            {"order": "!"},
            {"raw": "N"},
            {"raw": "]"},
            {"raw": "C\x0b" + "\0" * 11},
            {"raw": "B\xff\xff\xff\x7f" + "\0" * 12},
            {"raw": "\x8e" + "\xff" * 7 + "\x7f" + "\0" * 12},
            {"version": "K\x01K\x01"},
        ],
        ids=repr,
    )
    def test_an_array_that_is_not_what_it_says_is_refused(self, tmp_path, lie):
        with (
            pytest.raises(CheckpointError),
            open_checkpoint(saved(tmp_path, array_code(**lie))) as checkpoint,
        ):
            checkpoint.read("0")

    @pytest.mark.parametrize(
        "lie",
        [
            {"shape": "K\x04"},
            {"shape": "\x8a\x08" + "\xff" * 7 + "\x7f"},
            {"shape": "J\xff\xff\xff\xff"},
            {"subclass": "cos\nsystem\n"},
            {"subclass": "cnumpy\nmatrix\n"},
            {"extra": "X\x1b\x00\x00\x00numpy_array_alignment_bytesK\x10", "data": "\xff"},
            {"extra": "X\x1b\x00\x00\x00numpy_array_alignment_bytesK\x10", "data": "\xff" * 300},
            {"extra": "X\x05\x00\x00\x00shapeK\x01"},
            {"data": "\0" * 13},
            {"data": ""},
        ],
        ids=repr,
    )
    def test_an_array_of_joblib_that_is_not_what_it_says_is_refused(self, tmp_path, lie):
        with pytest.raises(CheckpointError):
            open_checkpoint(saved(tmp_path, joblib_code(**lie)))

    def test_an_array_that_is_described_twice_is_refused(self, tmp_path):
        start, state = array_code()[:-2].split("R(", 1)
        code = f"{start}R({state}({state}a."
        with pytest.raises(CorruptFileError, match="an array is filled twice"):
            open_checkpoint(saved(tmp_path, code))

    def test_an_array_that_is_never_described_is_refused(self, tmp_path):
        code = array_code()
        code = code[: code.index("R(") + 1] + "a."
        with pytest.raises(CorruptFileError, match="an array is not described"):
            open_checkpoint(saved(tmp_path, code))

    def test_text_that_is_no_sequence_of_bytes_is_refused_when_it_is_read(self, tmp_path):
        data = pickle.dumps([np.zeros(600, "u2")], 2)
        changed = data.replace(b"\0" * 1200, b"\0" * 1197 + "\u20ac".encode())
        assert changed != data
        with (
            open_checkpoint(saved(tmp_path, changed)) as checkpoint,
            pytest.raises(CorruptFileError),
        ):
            checkpoint.read("0")

    def test_something_behind_the_pickle_is_refused(self, tmp_path):
        with pytest.raises(CorruptFileError, match="something follows its end"):
            open_checkpoint(saved(tmp_path, array_code() + "x"))

    @pytest.mark.parametrize("compress", [zlib.compress, gzip.compress], ids=["zlib", "gzip"])
    def test_something_behind_what_is_compressed_is_refused(self, tmp_path, compress):
        data = compress(array_code().encode("latin-1"))
        with open_checkpoint(saved(tmp_path, data)) as checkpoint:
            assert len(checkpoint.manifest) == 1
        with pytest.raises(CorruptFileError, match="something follows its end"):
            open_checkpoint(saved(tmp_path, data + b"x"))


def shared_lists(levels, width):
    """Return a pickle of lists that hold one list ``width`` times, ``levels`` deep."""
    lists = f"0]({'h' + chr(0)}" + ("h\x00" * (width - 1)) + "eq\x00"
    return array_code()[:-1] + "q\x00" + lists * levels + "."


BOMBS = {
    "deep lists": lambda: shared_lists(60, 2).encode("latin-1"),
    "wide lists": lambda: shared_lists(14, 20).encode("latin-1"),
    "marks": lambda: b"\x80\x03" + b"(" * 10**6 + b"numpy.",
    "a gigabyte of zeros in zlib": lambda: zipped(zlib.compressobj(9)),
    "a gigabyte of zeros in gzip": lambda: zipped(zlib.compressobj(9, wbits=31)),
    "a shape of exabytes": lambda: array_code(
        shape="\x8a\x07" + "\xff" * 6 + "\x7f", raw="C\x0c" + "\0" * 12
    ).encode("latin-1"),
    "a line without an end": lambda: b"(lp0\nVnumpy" + b"x" * 10**8,
    "a number of many digits": lambda: b"(lp0\nVnumpy\naI" + b"1" * 10**6 + b"\na.",
    "a long integer": lambda: b"\x80\x03]X\x05\x00\x00\x00numpy\x8b\xff\xff\xff\x7f" + bytes(10**6),
    "many memos": lambda: b"\x80\x03]X\x05\x00\x00\x00numpy" + b"r\xff\xff\xff\xff" * 10 + b"0",
}


def zipped(compressor):
    head = array_code()[: -len("tba.") - 12 - 2].encode("latin-1") + b"B\x00\x00\x00\x40"
    parts = [compressor.compress(head)]
    parts += [compressor.compress(bytes(2**24)) for _ in range(64)]
    return b"".join([*parts, compressor.compress(b"tba."), compressor.flush()])


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_an_error_and_little_memory(tmp_path, name):
    path = saved(tmp_path, BOMBS[name]())
    program = (
        "import sys, time\n"
        "from converter.errors import CheckpointError\n"
        "from converter.formats.registry import open_checkpoint\n"
        "from pathlib import Path\n"
        "try:\n    open_checkpoint(Path(sys.argv[1]))\n"
        "except CheckpointError as error:\n    print(type(error).__name__)\n"
        # Not ru_maxrss: that one remembers the process that started this one.
        "status = Path('/proc/self/status').read_text()\n"
        "print(int(status.split('VmHWM:')[1].split()[0]) * 1024)\n"
        "print(time.process_time())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    kind, peak, seconds = done.stdout.split()
    assert kind in {"UnsafeFileError", "CorruptFileError", "UnknownFormatError"}
    assert int(peak) < MEMORY
    assert float(seconds) < SECONDS


def test_honest_zeros_are_read_however_well_they_are_compressed(tmp_path):
    joblib = pytest.importorskip("joblib")
    zeros = np.zeros(10**7, "f4")
    joblib.dump([zeros], tmp_path / "w.joblib", compress=("zlib", 9))
    assert (tmp_path / "w.joblib").stat().st_size < zeros.nbytes / 500
    with open_checkpoint(tmp_path / "w.joblib") as checkpoint:
        assert not checkpoint.read("0").any()


def test_an_lz4_bomb_is_refused(tmp_path):
    frame = pytest.importorskip("lz4.frame")
    raw = pickle.dumps([np.zeros(60 * 10**6, "f4")])
    with pytest.raises(UnsafeFileError, match="it grows absurdly when it is inflated"):
        open_checkpoint(saved(tmp_path, frame.compress(raw)))
