"""weight_norm and spectral_norm against what torch computes with, for every kind of layer."""

import numpy as np
import pytest

import converter
from converter.errors import CheckpointError, PlanError, UsageError
from converter.formats.torch_norms import MaterialisedNorms, find_norms, spectral_norm, weight_norm
from converter.tensors.dtype import get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`torch.nn.utils.spectral_norm` is deprecated:FutureWarning"),
]
nn = torch.nn
old, new = nn.utils, nn.utils.parametrizations

# Layers, square ones among them, and an input that runs them.
LAYERS = {
    "linear": (lambda: nn.Linear(5, 7), torch.ones(1, 5)),
    "square": (lambda: nn.Linear(5, 5), torch.ones(1, 5)),
    "conv": (lambda: nn.Conv2d(3, 4, (2, 5)), torch.ones(1, 3, 7, 7)),
    "square conv": (lambda: nn.Conv1d(4, 4, 4), torch.ones(1, 4, 7)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 2), torch.ones(1, 3, 7, 7)),
    "square transposed": (lambda: nn.ConvTranspose1d(4, 4, 3), torch.ones(1, 4, 7)),
    "one channel": (lambda: nn.Conv1d(1, 1, 3), torch.ones(1, 1, 7)),
    "embedding": (lambda: nn.Embedding(6, 3), torch.ones(1, dtype=torch.long)),
    "volume": (lambda: nn.Conv3d(2, 3, 2), torch.ones(1, 2, 5, 5, 5)),
}
NORMS = {
    "old weight_norm": old.weight_norm,
    "weight_norm": new.weight_norm,
    "weight_norm of axis 1": lambda layer: new.weight_norm(layer, dim=1),
    "weight_norm of all": lambda layer: new.weight_norm(layer, dim=None),
    "old weight_norm of all": lambda layer: old.weight_norm(layer, dim=None),
    "old spectral_norm": old.spectral_norm,
    "spectral_norm": new.spectral_norm,
}


def trained(norm, layer):
    """Return a layer with random parts, whose vectors some power iterations have seen."""
    torch.manual_seed(3)
    make, x = LAYERS[layer]
    module = NORMS[norm](make()).train()
    for parameter in module.parameters():
        parameter.data.normal_()
    for _ in range(3):
        module(x)
    return module.eval(), x


def weight_of(module, x):
    module(x)  # the old ones set the weight when they run
    return module.weight.detach()


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("norm", NORMS)
class TestAgainstTorch:
    def test_the_weight_of_a_file_is_the_weight_that_torch_uses(self, tmp_path, norm, layer):
        module, x = trained(norm, layer)
        state = {f"a.b.{name}": value for name, value in module.state_dict().items()}
        torch.save(state, tmp_path / "a.pt")
        expected = weight_of(module.double(), x.double() if x.is_floating_point() else x).numpy()
        with converter.open(tmp_path / "a.pt", norms="materialise") as checkpoint:
            found = checkpoint.read("a.b.weight")
            names = set(checkpoint.manifest.tensors)
            assert names == {"a.b.weight", *(["a.b.bias"] if hasattr(module, "bias") else [])}
        assert found.dtype == np.float32
        # Computed in float64 and rounded once: as torch does in float64, then cast.
        difference = np.abs(found.astype("f8") - expected)
        assert (difference <= np.spacing(np.abs(found)) * 0.5000001).all()

    def test_the_live_module_gives_the_same(self, norm, layer):
        module, x = trained(norm, layer)
        with converter.open(module, norms="materialise") as checkpoint:
            found = checkpoint.read("weight")
        expected = weight_of(module, x).numpy()
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 4e-7 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64"])
def test_other_types_are_rounded_once(name):
    dtype = get_dtype(name).numpy
    random = np.random.default_rng(2)
    g, v = (random.normal(size=shape).astype(dtype) for shape in ((6, 1, 1), (6, 3, 4)))
    wide = v.astype("f8")
    exact = g.astype("f8") * wide / np.sqrt((wide**2).sum((1, 2), keepdims=True))
    found = weight_norm(g, v)
    assert found.dtype == dtype
    step = {"float16": 2**-11, "bfloat16": 2**-8, "float64": 2**-51}[name]
    assert (np.abs(found.astype("f8") - exact) <= np.abs(exact) * step).all()


def test_large_weights_are_computed_in_blocks(monkeypatch):
    random = np.random.default_rng(2)
    v = random.normal(size=(50, 30, 3)).astype("f4")
    for shape in ((50, 1, 1), (1, 30, 1), (1, 1, 1), ()):
        g = random.normal(size=shape).astype("f4")
        whole = weight_norm(g, v)
        monkeypatch.setattr("converter.formats.torch_norms.BLOCK", 200)
        assert np.allclose(weight_norm(g, v), whole, rtol=2e-7, atol=0)
        monkeypatch.undo()


def test_a_square_kernel_with_vectors_of_no_axis_is_not_guessed():
    random = np.random.default_rng(2)
    kernel, u, v = (random.normal(size=shape) for shape in ((4, 4, 3), (4,), (12,)))
    with pytest.raises(CheckpointError, match="nothing tells which axis of the weight"):
        spectral_norm(kernel, u, v)


class TestNames:
    def manifest(self, family="torch", **shapes):
        specs = (TensorSpec(name, shape, get_dtype("float32")) for name, shape in shapes.items())
        return Manifest.of(specs, family=family)

    @pytest.mark.parametrize(
        ("shapes", "expected"),
        [
            ({"a.weight_g": (4, 1), "a.weight_v": (4, 3)}, ["a.weight"]),
            ({"weight_g": (4, 1), "weight_v": (4, 3)}, ["weight"]),
            ({"r.weight_hh_l0_g": (4, 1), "r.weight_hh_l0_v": (4, 3)}, ["r.weight_hh_l0"]),
            (
                {
                    "parametrizations.weight.original0": (4, 1),
                    "parametrizations.weight.original1": (4, 3),
                },
                ["weight"],
            ),
            ({"a.weight_g": (4, 1), "a.weight_v": (4, 3), "a.weight": (4, 3)}, []),
            ({"a.weight_g": (4,), "a.weight_v": (4, 3)}, []),
            ({"a.weight_g": (4, 3), "a.weight_v": (4, 3)}, []),
            ({"a.weight_g": (3, 1), "a.weight_v": (4, 3)}, []),
            ({"a.weight_g": (4, 1)}, []),
            ({"_g": (4, 1), "_v": (4, 3)}, []),
            ({"a.weight_orig": (4, 3), "a.weight_u": (4,), "a.weight_v": (3,)}, ["a.weight"]),
            ({"a.weight_orig": (4, 3), "a.weight_u": (4,), "a.weight_v": (4,)}, []),
            ({"a.weight_orig": (4, 3), "a.weight_u": (4,)}, []),
            ({"x.original0": (4, 1), "x.original1": (4, 3)}, []),
            ({f"x.parametrizations.a.b.original{i}": (4, (1, 3)[i]) for i in (0, 1)}, []),
        ],
        ids=str,
    )
    def test_names_and_shapes_together_tell(self, shapes, expected):
        assert [norm.name for norm in find_norms(self.manifest(**shapes))] == expected

    def test_keras_has_none(self):
        shapes = {"a.weight_g": (4, 1), "a.weight_v": (4, 3)}
        assert find_norms(self.manifest(family="keras", **shapes)) == ()


class TestPlans:
    def save(self, folder):
        torch.manual_seed(1)
        net = nn.Sequential()
        net.add_module("conv", new.weight_norm(nn.Conv1d(3, 4, 2)))
        net.add_module("up", old.weight_norm(nn.ConvTranspose1d(4, 5, 3)))
        net.add_module("head", new.spectral_norm(nn.Linear(5, 6)))
        torch.save(net.eval().state_dict(), folder / "net.pt")
        return net

    def like(self, folder):
        keras = pytest.importorskip("keras")
        layers = [
            keras.Input((9, 3)),
            keras.layers.Conv1D(4, 2, name="conv"),
            keras.layers.Conv1DTranspose(5, 3, name="up"),
            keras.layers.Dense(6, name="head"),
        ]
        keras.Sequential(layers).save(folder / "like.keras")
        return folder / "like.keras"

    def test_parts_are_kept_with_a_notice(self, tmp_path):
        net = self.save(tmp_path)
        with converter.open(tmp_path / "net.pt") as checkpoint:
            assert list(checkpoint.manifest.tensors) == list(net.state_dict())
            assert checkpoint.manifest.notices == (
                "weight_norm and spectral_norm: 'conv.weight', 'up.weight', 'head.weight' are in "
                "parts, as in the file; the weight is computed on the way to Keras, or with "
                "norms='materialise' (on the command line: --norms materialise).",
            )
        with converter.open(tmp_path / "net.pt", norms="keep") as checkpoint:
            assert checkpoint.manifest.notices == ()

    def test_on_the_way_to_keras_they_are_computed_and_the_plan_says_so(self, tmp_path):
        net = self.save(tmp_path)
        plan = converter.plan(tmp_path / "net.pt", like=self.like(tmp_path))
        steps = {step.targets[0]: step for step in plan.steps}
        for kind, names in (("weight", ("conv", "up")), ("spectral", ("head",))):
            for name in names:
                step = steps[f"{name}/kernel"]
                assert step.sources == (f"{name}.weight",)
                assert step.operation.describe().startswith(f"{kind}_norm materialised, then ")
                assert str(step.law) == "canonical"
        assert str(steps["conv/bias"].law) == "exact"
        found = dict(zip(steps, plan.get_weights(), strict=True))
        expected = net.conv.weight.detach().numpy().transpose(2, 1, 0)
        assert np.allclose(found["conv/kernel"], expected, rtol=3e-7, atol=1e-8)
        with pytest.raises(PlanError, match="is canonical, and exact is required"):
            converter.plan(tmp_path / "net.pt", like=self.like(tmp_path), require="exact")
        with pytest.raises(PlanError, match="missing"):
            converter.plan(tmp_path / "net.pt", like=self.like(tmp_path), norms="keep")

    def test_a_copy_may_have_them_computed(self, tmp_path):
        net = self.save(tmp_path)
        target = tmp_path / "net.safetensors"
        converter.convert(tmp_path / "net.pt", target, to="torch", norms="materialise")
        with converter.open(target) as checkpoint:
            assert checkpoint.manifest.notices == ()
            expected = net.conv.weight.detach().numpy()
            assert np.allclose(checkpoint.read("conv.weight"), expected, rtol=3e-7, atol=1e-8)
        back = converter.plan(tmp_path / "net.pt", to="torch", norms="keep")
        assert str(back.law) == "exact"

    def test_tied_parts_are_tied_weights(self, tmp_path):
        shared = new.weight_norm(nn.Linear(3, 4))
        torch.save(nn.Sequential(shared, shared).state_dict(), tmp_path / "a.pt")
        with converter.open(tmp_path / "a.pt", norms="materialise") as checkpoint:
            assert isinstance(checkpoint, MaterialisedNorms)
            assert checkpoint.manifest.ties == {"1.weight": "0.weight", "1.bias": "0.bias"}
            assert set(checkpoint.manifest.tensors) == {"0.weight", "0.bias"}

    def test_there_are_two_choices(self, tmp_path):
        self.save(tmp_path)
        with pytest.raises(UsageError) as error:
            converter.open(tmp_path / "net.pt", norms="drop")
        assert str(error.value) == "norms cannot be 'drop': it is 'keep' or 'materialise'"
