"""TorchScript archives and whole pickled modules, against torch itself; and ones that attack."""

import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from converter.errors import CheckpointError, UnsafeFileError, UnsupportedFileError
from converter.formats.registry import open_checkpoint

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]
nn = torch.nn


class Net(nn.Module):
    """Everything a state dict has to tell apart: buffers of both kinds, plain tensors, sharing."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.conv = nn.Conv2d(3, 4, (2, 3))
        self.bias_free = nn.Conv1d(2, 3, 2, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.layers = nn.ModuleList([nn.Linear(4, 5), nn.Linear(5, 6)])
        self.register_buffer("kept", torch.randn(3))
        self.register_buffer("passing", torch.randn(2), persistent=False)
        self.plain = torch.randn(7)
        self.rnn = nn.GRU(6, 3)
        self.scale = nn.Parameter(torch.randn(2))
        self.nothing = None
        self.again = self.layers[0]

    def forward(self, x):
        return self.norm(self.conv(x)) + self.plain.sum() + self.passing.sum() + self.kept.sum()


def assert_is_state_dict(path, expected, format_id):
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.format == format_id
        manifest = checkpoint.manifest
        assert manifest.family == "torch"
        assert {*manifest.tensors, *manifest.ties} == set(expected)
        assert list(manifest.tensors) == [name for name in expected if name not in manifest.ties]
        assert manifest.ties == {
            "again.weight": "layers.0.weight",
            "again.bias": "layers.0.bias",
        }
        for name, tensor in expected.items():
            found = checkpoint.read(manifest.ties.get(name, name))
            assert np.array_equal(found, tensor.numpy()), name
        return manifest.notices


class TestTorchScript:
    @pytest.mark.parametrize(
        "make",
        [torch.jit.script, lambda net: torch.jit.trace(net, torch.ones(1, 3, 5, 5))],
        ids=["script", "trace"],
    )
    @pytest.mark.parametrize("name", ["a.pt", "a.torchscript", "a.bin"])
    def test_it_is_what_torch_loads(self, tmp_path, make, name):
        torch.jit.save(make(Net().eval()), tmp_path / name)
        expected = torch.jit.load(tmp_path / name).state_dict()
        (notice,) = assert_is_state_dict(tmp_path / name, expected, "torchscript")
        assert notice.startswith("It is a TorchScript program (")
        assert notice.endswith("Net): its tensors were read, none of its code was run.")

    def test_a_frozen_program_has_no_names(self, tmp_path):
        frozen = torch.jit.freeze(torch.jit.script(nn.Conv1d(2, 3, 2).eval()))
        torch.jit.save(frozen, tmp_path / "a.pt")
        assert not torch.jit.load(tmp_path / "a.pt").state_dict()
        with pytest.raises(UnsupportedFileError) as error:
            open_checkpoint(tmp_path / "a.pt")
        assert str(error.value) == (
            "cannot read 'a.pt': it is a frozen TorchScript program\n"
            "  found  its weights are constants of the code and have no names\n"
            "  hint   save it before torch.jit.freeze"
        )

    def rewritten(self, tmp_path, change):
        torch.jit.save(torch.jit.script(nn.Conv1d(2, 3, 2)), tmp_path / "a.pt")
        target = tmp_path / "b.pt"
        with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(target, "w") as new:
            for name in old.namelist():
                new.writestr(name, change(name, old.read(name)))
        return target

    def test_code_that_is_broken_or_hostile_is_only_text(self, tmp_path):
        evil = b'class Conv1d(Module):\n  __parameters__ = ["weight", ]\n  __buffers__ = []\n1/0 ('
        path = self.rewritten(
            tmp_path, lambda name, data: evil if name.endswith("conv.py") else data
        )
        with open_checkpoint(path) as checkpoint:
            assert list(checkpoint.manifest.tensors) == ["weight"]

    def test_a_class_without_code_has_no_tensors(self, tmp_path):
        path = self.rewritten(
            tmp_path, lambda name, data: b"" if name.endswith("conv.py") else data
        )
        with open_checkpoint(path) as checkpoint:
            assert not len(checkpoint.manifest)

    def test_a_class_name_leads_nowhere(self, tmp_path):
        path = self.rewritten(
            tmp_path,
            lambda name, data: (
                data.replace(b"__torch__.torch", b"....etc.passwd.") if "data.pkl" in name else data
            ),
        )
        with open_checkpoint(path) as checkpoint:
            assert not len(checkpoint.manifest)

    def test_a_program_that_is_no_module_is_refused(self, tmp_path):
        path = tmp_path / "a.pt"
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("m/data.pkl", "m/constants.pkl", "m/code/x.py"):
                archive.writestr(name, b"\x80\x02}.")
        with pytest.raises(UnsupportedFileError, match="TorchScript program without a module"):
            open_checkpoint(path)


@pytest.mark.parametrize(
    "options",
    [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}],
    ids=["zip", "old", "p4"],
)
class TestModules:
    def saved(self, tmp_path, value, options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # source code of classes of tests
            torch.save(value, tmp_path / "a.pt", **options)
        return tmp_path / "a.pt"

    def test_it_is_the_state_dict(self, tmp_path, options):
        net = Net()
        path = self.saved(tmp_path, net, options)
        format_id = "torch_legacy" if "_use_new_zipfile_serialization" in options else "torch"
        (notice,) = assert_is_state_dict(path, net.state_dict(), format_id)
        assert notice == (
            f"It is a pickled module ({Net.__module__}.Net): its tensors were read, none of its "
            "code was run."
        )

    def test_one_inside_a_checkpoint_is_found(self, tmp_path, options):
        net = nn.Linear(3, 5)
        path = self.saved(tmp_path, {"epoch": 3, "model": net}, options)
        with open_checkpoint(path) as checkpoint:
            assert list(checkpoint.manifest.tensors) == ["weight", "bias"]
            assert checkpoint.manifest.notices == (
                "'model' is a pickled module (torch.nn.modules.linear.Linear): its tensors were "
                "read, none of its code was run.",
                "The weights are under 'model'; left out: 'epoch'.",
            )

    def test_several_are_a_question(self, tmp_path, options):
        value = {"model": nn.Linear(3, 5), "ema": nn.Linear(3, 5)}
        path = self.saved(tmp_path, value, options)
        with pytest.raises(CheckpointError, match="it holds 2 sets of weights"):
            open_checkpoint(path)
        with open_checkpoint(path, select="ema") as checkpoint:
            assert np.array_equal(checkpoint.read("weight"), value["ema"].weight.detach())

    def test_wrappers_are_taken_off(self, tmp_path, options):
        path = self.saved(tmp_path, nn.DataParallel(nn.Linear(3, 5)), options)
        with open_checkpoint(path) as checkpoint:
            assert list(checkpoint.manifest.tensors) == ["weight", "bias"]

    def test_a_module_that_shares_its_parts_without_end_is_refused(self, tmp_path, options):
        inner = nn.Linear(1, 1)
        for _ in range(60):
            outer = nn.Module()
            outer.a = outer.b = inner
            outer._modules["b"] = inner
            inner = outer
        path = self.saved(tmp_path, inner, options)
        with pytest.raises(UnsafeFileError, match="nested absurdly often"):
            open_checkpoint(path)

    def test_a_module_that_contains_itself_is_refused(self, tmp_path, options):
        net = nn.Sequential(nn.Linear(1, 1))
        net._modules["self"] = net
        with pytest.raises(UnsafeFileError, match="its modules contain themselves"):
            open_checkpoint(self.saved(tmp_path, net, options))

    def test_nothing_in_it_is_run(self, tmp_path, options):
        canary = tmp_path / "canary"

        class Bomb:
            def __reduce__(self):
                return (os.mkfifo, (str(canary),))

        pickle.loads(pickle.dumps(Bomb()))
        assert canary.exists(), "the bomb works"
        canary.unlink()
        net = nn.Linear(3, 5)
        net.bomb = Bomb()
        net._buffers["bomb"] = Bomb()
        path = self.saved(tmp_path, net, options)
        with open_checkpoint(path) as checkpoint:
            assert list(checkpoint.manifest.tensors) == ["weight", "bias"]
            assert "'bomb' (posix.mkfifo)" in checkpoint.manifest.notices[1]
        assert not canary.exists()


def test_an_ordered_dict_of_pairs_of_python_2_is_read(tmp_path):
    tensor = (
        "ctorch._utils\n_rebuild_tensor\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        "X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQK\x00(K\x02t(K\x01ttR"
    )
    code = f"\x80\x02ccollections\nOrderedDict\n]](U\x01w{tensor}ea\x85R."
    path: Path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", code.encode("latin-1"))
        archive.writestr("a/data/0", np.array([1, 2], "f4").tobytes())
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.read("w").tolist() == [1, 2]
