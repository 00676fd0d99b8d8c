"""PyTorch checkpoints against torch itself: views, ties, nesting, names; and files that attack."""

import collections
import pickle
from pathlib import Path

import numpy as np
import pytest
from support.tensor_files import assert_holds, random_values, small_manifest, write_file

from converter.errors import (
    CheckpointError,
    CorruptFileError,
    UnsupportedFileError,
)
from converter.formats.registry import open_checkpoint
from converter.formats.torch_names import strip_names, strip_wrappers
from converter.tensors.dtype import get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.frameworks

LEGACY = {"_use_new_zipfile_serialization": False}


def as_array(tensor):
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    dtype = get_dtype(str(tensor.dtype).removeprefix("torch.")).numpy
    return raw.view(dtype).reshape(tuple(tensor.shape))


def arrays(state):
    return {name: as_array(tensor) for name, tensor in state.items()}


def saved(folder: Path, value: object, **options) -> Path:
    path = folder / "a.pt"
    torch.save(value, path, **options)
    return path


def random_state() -> dict:
    torch.manual_seed(11)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, (2, 4)), torch.nn.BatchNorm2d(5), torch.nn.Linear(7, 11)
    )
    return module.state_dict()


@pytest.mark.parametrize("options", [{}, LEGACY, {"pickle_protocol": 4}], ids=["zip", "old", "p4"])
class TestWhatTorchWrites:
    def test_a_state_dict_is_read_in_its_order(self, tmp_path, options):
        state = random_state()
        with open_checkpoint(saved(tmp_path, state, **options)) as checkpoint:
            assert list(checkpoint.manifest.tensors) == list(state)
            assert checkpoint.manifest.family == "torch"
            assert checkpoint.manifest.notices == ()
            assert_holds(checkpoint, arrays(state))

    def test_parameters_and_tensors_with_attributes_are_tensors(self, tmp_path, options):
        parameter = torch.nn.Parameter(torch.randn(3, 5))
        marked = torch.nn.Parameter(torch.randn(2, 3))
        marked.note = "hello"
        tensor = torch.randn(4)
        tensor.note = [1, 2]
        state = {"a": parameter, "b": marked, "c": tensor}
        with open_checkpoint(saved(tmp_path, state, **options)) as checkpoint:
            assert_holds(checkpoint, arrays(state))

    def test_every_common_type_is_read(self, tmp_path, options):
        names = ["float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"]
        names += ["bool", "complex64", "complex128"]
        if not options:
            names += ["float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "uint16", "uint64"]
        base = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 4.0]])
        state = {name: base.to(getattr(torch, name)) for name in names}
        with open_checkpoint(saved(tmp_path, state, **options)) as checkpoint:
            for name in names:
                assert checkpoint.manifest[name].dtype.name == name
            assert_holds(checkpoint, arrays(state))

    def test_views_and_strides_are_read_as_they_are_seen(self, tmp_path, options):
        base = torch.randn(6, 7, 5)
        state = {
            "row": base[3],
            "column": base[:, 2, 4],
            "permuted": base.permute(2, 0, 1),
            "stepped": base[1::2, ::3],
            "repeated": torch.randn(4, 1).expand(4, 9),
            "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
            "empty": base[:0],
            "scalar": torch.tensor(3.5),
        }
        with open_checkpoint(saved(tmp_path, state, **options)) as checkpoint:
            assert checkpoint.manifest.ties == {}
            assert_holds(checkpoint, arrays(state))

    def test_two_names_of_one_tensor_are_ties(self, tmp_path, options):
        weight = torch.randn(5, 3)
        state = {"embed": weight, "other": weight.clone(), "head": weight, "flat": weight.view(15)}
        with open_checkpoint(saved(tmp_path, state, **options)) as checkpoint:
            assert list(checkpoint.manifest.tensors) == ["embed", "other", "flat"]
            assert checkpoint.manifest.ties == {"head": "embed"}
            assert np.array_equal(checkpoint.read("head"), weight.numpy())

    def test_an_empty_state_dict_is_a_checkpoint(self, tmp_path, options):
        with open_checkpoint(saved(tmp_path, {}, **options)) as checkpoint:
            assert len(checkpoint.manifest) == 0


def test_a_view_of_a_large_storage_reads_only_its_elements(tmp_path):
    base = torch.zeros(64 * 2**20)
    base[123:133] = torch.arange(10.0)
    path = saved(tmp_path, {"w": base[123:133]})
    assert path.stat().st_size > 2**28
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.manifest["w"].nbytes == 40
        assert checkpoint.read("w").tolist() == list(range(10))


class TestWhatWeWrite:
    def test_torch_loads_it_also_mapped_and_into_a_module(self, tmp_path):
        state = random_state()
        manifest = Manifest.of(
            TensorSpec(k, tuple(v.shape), get_dtype(str(v.dtype).removeprefix("torch.")))
            for k, v in state.items()
        )
        path = tmp_path / "a.pt"
        write_file("torch", path, manifest, arrays(state))
        for mapped in (False, True):
            found = torch.load(path, weights_only=True, mmap=mapped)
            assert type(found) is collections.OrderedDict
            assert list(found) == list(state)
            assert all(torch.equal(found[name], state[name]) for name in state)
        module = torch.nn.Sequential(
            torch.nn.Conv2d(3, 5, (2, 4)), torch.nn.BatchNorm2d(5), torch.nn.Linear(7, 11)
        )
        module.load_state_dict(found)

    def test_ties_are_one_tensor_again(self, tmp_path):
        manifest = small_manifest(ties={"tied": "head.weight", "too": "head.weight"})
        path = tmp_path / "a.pt"
        write_file("torch", path, manifest, random_values(manifest))
        found = torch.load(path, weights_only=True)
        assert found["tied"].data_ptr() == found["head.weight"].data_ptr()
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.manifest.ties == {"tied": "head.weight", "too": "head.weight"}

    def test_large_shapes_and_many_names_are_written(self, tmp_path):
        specs = [TensorSpec(f"n{i}", (0, 2**40), get_dtype("float32")) for i in range(3000)]
        specs += [TensorSpec("k", (300, 70_000, 0), get_dtype("uint16"))]
        specs += [TensorSpec("\N{GREEK SMALL LETTER ALPHA}" * 99, (2,), get_dtype("int8"))]
        manifest = Manifest.of(specs)
        path = tmp_path / "a.pt"
        write_file("torch", path, manifest, random_values(manifest))
        found = torch.load(path, weights_only=True)
        assert {k: tuple(v.shape) for k, v in found.items()} == {s.name: s.shape for s in specs}
        with open_checkpoint(path) as checkpoint:
            assert dict(checkpoint.manifest.tensors) == dict(manifest.tensors)


class TestNesting:
    def open(self, folder, value, select=None):
        return open_checkpoint(saved(folder, value), select=select)

    def test_the_only_set_of_weights_is_found_and_the_rest_is_named(self, tmp_path):
        state = random_state()
        parameters = [torch.nn.Parameter(torch.randn(3))]
        optimizer = torch.optim.Adam(parameters)
        parameters[0].grad = torch.randn(3)
        optimizer.step()
        value = {
            "epoch": 3,
            "model": state,
            "optimizer": optimizer.state_dict(),
            "best": np.float64(0.5),
            "args": {"lr": 0.1},
        }
        with self.open(tmp_path, value) as checkpoint:
            assert_holds(checkpoint, arrays(state))
            assert checkpoint.manifest.notices == (
                "The weights are under 'model'; left out: 'epoch', 'optimizer', 'best', 'args'.",
            )

    @pytest.mark.parametrize(
        "key", ["state_dict", "model_state_dict", "module", "net", "params", "anything at all"]
    )
    def test_any_key_will_do(self, tmp_path, key):
        with self.open(
            tmp_path, {key: {"w": torch.ones(2)}, "n_averaged": torch.tensor(3)}
        ) as found:
            assert list(found.manifest.tensors) == ["w"]

    def test_weights_and_their_average_are_a_question(self, tmp_path):
        value = {
            "model": {"w": torch.zeros(2), "b": torch.zeros(3)},
            "ema": {"shadow": {"w": torch.ones(2)}, "decay": 0.9},
        }
        with pytest.raises(CheckpointError) as error:
            self.open(tmp_path, value)
        assert str(error.value) == (
            "cannot read 'a.pt': it holds 2 sets of weights\n"
            "  select  'model'  2 tensors\n"
            "  select  'ema.shadow'  1 tensors\n"
            "  hint    choose one with select (on the command line: --select)"
        )
        with self.open(tmp_path, value, select="ema.shadow") as checkpoint:
            assert checkpoint.read("w").tolist() == [1, 1]
        with self.open(tmp_path, value, select="model") as checkpoint:
            assert checkpoint.read("w").tolist() == [0, 0]
        with self.open(tmp_path, value, select="ema") as checkpoint:
            assert checkpoint.read("shadow.w").tolist() == [1, 1]

    def test_parts_of_a_model_are_joined_by_their_names(self, tmp_path):
        value = {"model": {"enc": {"w": torch.zeros(2)}, "dec": {"w": torch.ones(2)}}}
        with self.open(tmp_path, value, select="model") as checkpoint:
            assert list(checkpoint.manifest.tensors) == ["enc.w", "dec.w"]

    def test_a_selection_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(CheckpointError, match="it has no weights under 'ema'"):
            self.open(tmp_path, {"model": {"w": torch.zeros(2)}}, select="ema")

    def test_lightning_checkpoints_are_read(self, tmp_path):
        value = {
            "pytorch-lightning_version": "2.1.0",
            "state_dict": {"model.w": torch.ones(2), "loss_fn.weight": torch.ones(3)},
            "callbacks": {"EarlyStopping": {"wait": 0}},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}],
            "hyper_parameters": {"lr": 0.1},
        }
        with self.open(tmp_path, value) as checkpoint:
            assert list(checkpoint.manifest.tensors) == ["model.w", "loss_fn.weight"]

    def test_the_state_of_an_optimizer_is_no_set_of_weights_even_with_names(self, tmp_path):
        optimizer = {"state": {"w": {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
        with self.open(tmp_path, {"model": {"w": torch.zeros(2)}, "optim": optimizer}) as found:
            assert found.read("w").tolist() == [0, 0]

    def test_values_that_are_no_tensors_are_left_out_with_a_notice(self, tmp_path):
        state = random_state() | {"step": 3, "_packed_params": (1, None)}
        with self.open(tmp_path, state) as checkpoint:
            assert checkpoint.manifest.notices == (
                "Left out, since they are no tensors: 'step' (int), '_packed_params' (tuple).",
            )

    def test_an_extra_state_is_not_a_second_set_of_weights(self, tmp_path):
        state = {"w": torch.ones(2), "layer._extra_state": {"scale": torch.ones(1)}}
        with self.open(tmp_path, state) as checkpoint:
            assert list(checkpoint.manifest.tensors) == ["w"]

    @pytest.mark.parametrize("value", [{"epoch": 3}, [torch.ones(2)], torch.ones(2), 3, {1: {}}])
    def test_no_weights_is_an_error(self, tmp_path, value):
        with pytest.raises(CheckpointError, match=r"cannot read 'a\.pt'"):
            self.open(tmp_path, value)


class TestUnsupported:
    def test_an_object_that_is_no_module_is_refused_by_its_name(self, tmp_path):
        with pytest.raises(UnsupportedFileError) as error:
            open_checkpoint(saved(tmp_path, Path("a")))
        assert str(error.value) == (
            "cannot read 'a.pt': it holds a pickled object, not a state dict\n"
            "  found  'pathlib.PosixPath'\n"
            "  hint   where its code is installed, save model.state_dict() instead"
        )

    @pytest.mark.parametrize(
        ("make", "name"),
        [
            (lambda: torch.eye(3).to_sparse(), "_rebuild_sparse_tensor"),
            (lambda: torch.empty(3, device="meta"), "_rebuild_meta_tensor_no_storage"),
            (torch.nn.parameter.UninitializedParameter, "UninitializedParameter"),
        ],
    )
    def test_a_weight_that_is_not_dense_is_refused_and_named(self, tmp_path, make, name):
        path = saved(tmp_path, {"w": torch.ones(2), "bad.weight": make()})
        with pytest.raises(
            UnsupportedFileError, match=f"'bad.weight' is not a dense tensor.*\n.*{name}"
        ):
            open_checkpoint(path)


class TestNames:
    def test_wrappers_are_taken_off_as_components(self, tmp_path):
        state = {
            "module._orig_mod.enc._orig_mod.weight": torch.ones(2),
            "module.my_module.module.weight": torch.ones(3),
        }
        with open_checkpoint(saved(tmp_path, state)) as checkpoint:
            assert list(checkpoint.manifest.tensors) == ["enc.weight", "my_module.module.weight"]
            assert checkpoint.manifest.notices == (
                "The prefix '_orig_mod.' (torch.compile) was taken off 1 names.",
                "The prefix 'module.' (DataParallel, DDP or SWA) was taken off 2 names.",
            )
            assert checkpoint.read("enc.weight").tolist() == [1, 1]

    def test_a_counter_of_averaging_does_not_hide_the_wrapper(self):
        names, _ = strip_names(["n_averaged", "module.a.w"], None)
        assert names == {"n_averaged": "n_averaged", "module.a.w": "a.w"}

    def test_two_names_that_become_one_are_an_error(self, tmp_path):
        state = {"a.weight": torch.ones(2), "a._orig_mod.weight": torch.ones(3)}
        with pytest.raises(CheckpointError) as error:
            open_checkpoint(saved(tmp_path, state))
        assert str(error.value) == (
            "cannot read 'a.pt': two tensors have one name without their prefixes\n"
            "  tensor  'a.weight'\n"
            "  tensor  'a._orig_mod.weight'\n"
            "  both    'a.weight'"
        )

    @pytest.mark.parametrize("name", ["_orig_mod", "module", "module.module", "", "a..b", "."])
    def test_no_name_becomes_empty_without_being_so(self, name):
        assert bool(strip_wrappers(name)) == bool(name)


class TestOldFormat:
    def test_every_truncation_is_an_error_of_our_own(self, tmp_path):
        path = saved(tmp_path, {"w": torch.randn(3, 5), "b": torch.randn(4)}, **LEGACY)
        data = path.read_bytes()
        for size in range(len(data)):
            path.write_bytes(data[:size])
            with pytest.raises(CheckpointError):
                open_checkpoint(path)

    def test_a_storage_of_another_size_is_refused(self, tmp_path):
        path = saved(tmp_path, {"w": torch.zeros(15)}, **LEGACY)
        data = path.read_bytes()
        assert data[-68:-60] == (15).to_bytes(8, "little")
        path.write_bytes(data[:-68] + (14).to_bytes(8, "little") + data[-60:])
        with pytest.raises(CorruptFileError, match="has a wrong size"):
            open_checkpoint(path)

    def test_it_is_told_from_any_other_pickle(self, tmp_path):
        path = tmp_path / "a.pt"
        path.write_bytes(pickle.dumps({"w": 1}))
        with pytest.raises(CheckpointError, match="its content is of no known format"):
            open_checkpoint(path)
