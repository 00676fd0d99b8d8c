"""Pickles that attack: nothing is called, nothing is allocated, and everything ends."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.tensor_files import assert_holds

from converter.errors import CheckpointError, CorruptFileError, UnsafeFileError
from converter.formats.registry import open_checkpoint
from converter.tensors.dtype import get_dtype

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.frameworks


def saved(folder: Path, value: object, **options) -> Path:
    path = folder / "a.pt"
    torch.save(value, path, **options)
    return path


def zip_of(folder: Path, data: bytes, storages: dict[str, bytes] | None = None) -> Path:
    path = folder / "a.pt"
    members = {"a/data.pkl": data, "a/version": b"3\n"}
    members |= {f"a/data/{key}": value for key, value in (storages or {}).items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tensor_code(
    storage="FloatStorage", count="K\x04", offset="K\x00", shape="K\x04", stride="K\x01"
):
    """Return the pickle of {"w": tensor}, with parts to lie about, as opcodes of protocol 2."""
    return (
        "\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
        f"ctorch\n{storage}\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu{count}tQ{offset}({shape}t"
        f"({stride}t\x89ccollections\nOrderedDict\n)RtRs."
    ).encode("latin-1")


class TestHostilePickles:
    def test_the_control_is_read(self, tmp_path):
        path = zip_of(tmp_path, tensor_code(), {"0": np.arange(4.0, dtype="f4").tobytes()})
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.read("w").tolist() == [0, 1, 2, 3]

    def test_nothing_is_ever_called(self, tmp_path):
        canary = tmp_path / "canary"

        class Bomb:
            def __reduce__(self):
                return (open, (str(canary), "w"))

        class Builder:
            def __reduce__(self):
                return (eval, (f"open({str(canary)!r}, 'w')",), {"x": 1})

        pickle.loads(pickle.dumps(Bomb(), protocol=2)).close()
        assert canary.exists(), "the bomb works"
        canary.unlink()
        state = {"w": torch.ones(2), "a": Bomb(), "b": [Builder()], "c": {"d": Bomb()}}
        for protocol in (2, 3, 4, 5):
            path = saved(tmp_path, state, pickle_protocol=protocol)
            with open_checkpoint(path) as checkpoint:
                assert list(checkpoint.manifest.tensors) == ["w"]
                assert "'a' (io.open)" in checkpoint.manifest.notices[0]
        assert not canary.exists()

    def test_torch_and_pickle_are_not_used(self):
        import ast

        import converter.formats

        folder = Path(converter.formats.__file__).parent
        for file in folder.glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [alias.name for alias in getattr(node, "names", [])]
                names.append(getattr(node, "module", None) or "")
                if isinstance(node, ast.Import | ast.ImportFrom):
                    assert not {"torch", "pickle", "_pickle"} & {n.split(".")[0] for n in names}

    @pytest.mark.parametrize(
        "lie",
        [
            {"shape": "K\x05"},
            {"offset": "K\x01"},
            {"stride": "K\x02"},
            {"offset": "J\xff\xff\xff\xff"},
            {"shape": "J\xff\xff\xff\xff"},
            {"shape": "K\x02K\x02"},
            {"shape": "\x88"},
            {"shape": "G\x40\x10\x00\x00\x00\x00\x00\x00"},
            {"count": "K\x05"},
            {"count": "K\x03"},
            {"count": "N"},
            {"count": "\x8a\x09" + "\xff" * 8 + "\x00"},
            {"storage": "DoubleStorage"},
            {"shape": "\x8a\x06\xff\xff\xff\xff\xff\x00", "stride": "K\x00"},
        ],
    )
    def test_a_tensor_that_its_storage_cannot_hold_is_refused(self, tmp_path, lie):
        path = zip_of(tmp_path, tensor_code(**lie), {"0": bytes(16)})
        with pytest.raises(CorruptFileError), open_checkpoint(path) as checkpoint:
            checkpoint.read("w")

    def test_a_storage_class_that_is_not_known_is_no_allocation(self, tmp_path):
        path = zip_of(tmp_path, tensor_code(storage="QInt8Storage"), {"0": bytes(16)})
        with pytest.raises(CheckpointError):
            open_checkpoint(path)

    @pytest.mark.parametrize(
        "code",
        [
            b"",
            b"\x80",
            b".",
            b"}",
            b"}}.",
            b"(.",
            b"(}.",
            b"}s.",
            b"0.",
            b"(0.",
            b"h\x01.",
            b"X\xff\xff\xff\xffa.",
            b"X\x01\x00\x00\x00\xff.",
            b"\x8b\xff\xff\xff\x7f.",
            b"\x8a\xff" + b"\1" * 255 + b".",
            b"NNR.",
            b"N)R.",
            b"NQ.",
            b"(NtQ.",
            b"KN.",
            b"c",
            b"c" + b"a" * 5000,
            b"N}b.",
            b"}NNs.N",
            b"}(NN" + b"u.",
            b"]N" + b"s.",
            b"(" * 1001 + b".",
            b"I1\n.",
            b"i__main__\nX\n.",
            b"\x82\x01.",
            b"P1\n.",
        ],
        ids=repr,
    )
    def test_a_pickle_that_is_not_sound_is_one_clear_error(self, tmp_path, code):
        with pytest.raises(CheckpointError, match=r"cannot read 'a\.pt'"):
            open_checkpoint(zip_of(tmp_path, code))

    def test_a_key_twice_is_refused(self, tmp_path):
        code = b"\x80\x02}(X\x01\x00\x00\x00wK\x01X\x01\x00\x00\x00wK\x02u."
        with pytest.raises(UnsafeFileError, match="has the key 'w' twice"):
            open_checkpoint(zip_of(tmp_path, code))

    def test_lists_of_lists_of_the_same_list_do_not_take_for_ever(self, tmp_path):
        laughs = {"w": torch.ones(2)}
        lists, dicts, key = [1], {"x": 1}, (1,)
        for _ in range(60):
            lists, dicts, key = [lists, lists], {"a": dicts, "b": dicts}, (key, key)
        laughs |= {"lists": lists, "dicts": dicts, "tuples": key}
        with open_checkpoint(saved(tmp_path, laughs)) as checkpoint:
            assert list(checkpoint.manifest.tensors) == ["w"]

    def test_keys_of_shared_tuples_are_not_hashed_for_ever(self, tmp_path):
        doubled = b"h\x00h\x00\x86q\x000"  # a pair of the last one twice, 60 times
        code = b"\x80\x02})q\x000" + doubled * 60 + b"h\x00K\x02s."
        with pytest.raises(CheckpointError, match="no dict in it holds tensors"):
            open_checkpoint(zip_of(tmp_path, code))

    def test_values_that_contain_themselves_end(self, tmp_path):
        state: dict = {"w": torch.ones(2), "list": []}
        state["self"] = state
        state["list"].append(state["list"])
        with open_checkpoint(saved(tmp_path, state)) as checkpoint:
            assert list(checkpoint.manifest.tensors) == ["w"]

    def test_something_behind_the_pickle_is_refused(self, tmp_path):
        path = zip_of(tmp_path, tensor_code() + b"x", {"0": bytes(16)})
        with pytest.raises(CorruptFileError, match="something follows its end"):
            open_checkpoint(path)

    def test_a_changed_value_does_not_pass_its_checksum(self, tmp_path):
        path = saved(tmp_path, {"w": torch.arange(1000.0)})
        data = bytearray(path.read_bytes())
        data[data.index(np.arange(1000.0, dtype="f4").tobytes()) + 3] ^= 1
        path.write_bytes(data)
        with open_checkpoint(path) as checkpoint, pytest.raises(CorruptFileError, match="checksum"):
            checkpoint.read("w")

    def test_a_file_without_checksums_is_read(self, tmp_path):
        torch.utils.serialization.config.save.compute_crc32 = False
        try:
            path = saved(tmp_path, {"w": torch.arange(10.0)})
        finally:
            torch.utils.serialization.config.save.compute_crc32 = True
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.read("w").tolist() == list(range(10))

    @pytest.mark.parametrize("name", ["float32", "bfloat16", "int64", "complex64", "bool"])
    def test_the_other_byte_order_is_turned(self, tmp_path, name):
        state = {"w": torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 4.0]]).to(getattr(torch, name))}
        path = saved(tmp_path, state)
        raw = state["w"].view(torch.uint8).numpy()
        expected = raw.view(get_dtype(name).numpy).reshape(2, 3)
        turned = tmp_path / "turned.pt"
        width = expected.dtype.itemsize // (2 if name == "complex64" else 1)
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(turned, "w") as target:
            for member in source.namelist():
                data = source.read(member)
                if member.endswith("byteorder"):
                    data = b"big"
                if member.endswith("data/0"):
                    data = np.frombuffer(data, f"V{width}").view(f"u{width}").byteswap().tobytes()
                target.writestr(member, data)
        assert torch.equal(torch.load(turned, weights_only=True)["w"], state["w"])
        with open_checkpoint(turned) as checkpoint:
            assert_holds(checkpoint, {"w": expected})
