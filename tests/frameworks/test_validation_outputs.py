"""Both models run: right weights pass, and each classic mistake is seen.

The weights are carried over by hand here, so that nothing of the conversion is trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

from converter.errors import CheckpointError, ProblemsError, UsageError
from converter.mapping.rules import ModelValue
from converter.validation.inputs import inputs_of, make_inputs
from converter.validation.validate import Options, validate

pytestmark = [
    pytest.mark.frameworks,
    # Keras 3.15 on the torch backend asks NumPy for arrays in a way that NumPy 2 warns about.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
]

Arrays = dict[str, np.ndarray]


def randomise(model: Any, seed: int = 7) -> None:
    """Give every variable random values; variances are positive, gains are not 1."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        value = generator.standard_normal(variable.shape) * 0.2
        if "variance" in variable.path:
            value = np.abs(value) + 0.5
        elif "gamma" in variable.path or "moving_mean" in variable.path:
            value = value + 1.3
        variable.assign(value.astype("float32"))


def keras_cnn() -> Any:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 15, 3), name="image"),
            layers.Conv2D(6, (3, 5), name="conv", activation="relu"),
            layers.BatchNormalization(name="bn", epsilon=1e-3),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(9, name="hidden", activation="tanh"),
            layers.Dense(9, name="square"),
            layers.Dense(4, name="head"),
        ]
    )
    randomise(model)
    return model


class TorchCNN(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, (3, 5))
        self.bn = torch.nn.BatchNorm2d(6, eps=1e-3)
        self.hidden = torch.nn.Linear(6 * 5 * 5, 9)
        self.square = torch.nn.Linear(9, 9)
        self.head = torch.nn.Linear(9, 4)

    def forward(self, x: Any) -> Any:
        x = torch.nn.functional.max_pool2d(self.bn(torch.relu(self.conv(x))), 2)
        x = torch.tanh(self.hidden(x.flatten(1)))
        return self.head(self.square(x))


def right_state(model: Any) -> Arrays:
    w = {}
    for variable in model.weights:
        name = "/".join(variable.path.split("/")[-2:])
        w[name] = np.array(keras.ops.convert_to_numpy(variable))
    rows = w["hidden/kernel"].reshape(5, 5, 6, 9)  # (h, w, c, out) -> (out, c, h, w)
    return {
        "conv.weight": w["conv/kernel"].transpose(3, 2, 0, 1),
        "conv.bias": w["conv/bias"],
        "bn.weight": w["bn/gamma"],
        "bn.bias": w["bn/beta"],
        "bn.running_mean": w["bn/moving_mean"],
        "bn.running_var": w["bn/moving_variance"],
        "bn.num_batches_tracked": np.array(0),
        "hidden.weight": rows.transpose(3, 2, 0, 1).reshape(9, -1),
        "hidden.bias": w["hidden/bias"],
        "square.weight": w["square/kernel"].T,
        "square.bias": w["square/bias"],
        "head.weight": w["head/kernel"].T,
        "head.bias": w["head/bias"],
    }


def torch_cnn(state: Arrays) -> Any:
    module = TorchCNN()
    module.load_state_dict({k: torch.tensor(np.ascontiguousarray(v)) for k, v in state.items()})
    return module


def swapped(one: str, two: str) -> Callable[[Arrays], None]:
    def change(state: Arrays) -> None:
        state[one], state[two] = state[two], state[one]

    return change


def untransposed(state: Arrays) -> None:
    state["square.weight"] = state["square.weight"].T


def rows_of_keras(state: Arrays) -> None:
    rows = state["hidden.weight"].reshape(9, 6, 5, 5)
    state["hidden.weight"] = rows.transpose(0, 2, 3, 1).reshape(9, -1)


def test_right_weights_pass() -> None:
    model = keras_cnn()
    module = torch_cnn(right_state(model))
    module.train()  # whatever mode it comes in, it is run as at inference and put back
    report = validate(model, module)
    assert report.verdict == "pass", report.lines()
    row = report.rows[0]
    assert row.error is not None
    assert row.floor is not None
    assert row.floor > 0
    assert row.error < 1e-6
    assert module.training
    assert module.bn.training
    assert report.notices == ()
    assert report.to_json()["settings"]["seed"] == 0


@pytest.mark.parametrize(
    "mistake",
    [
        swapped("hidden.bias", "square.bias"),
        untransposed,
        swapped("bn.running_mean", "bn.running_var"),
        swapped("bn.weight", "bn.bias"),
        rows_of_keras,
    ],
    ids=["two biases", "square kernel", "mean and variance", "gamma and beta", "flatten order"],
)
def test_a_mistake_with_equal_shapes_fails(mistake: Callable[[Arrays], None]) -> None:
    model = keras_cnn()
    state = right_state(model)
    mistake(state)
    report = validate(model, torch_cnn(state))
    assert report.verdict == "fail", report.lines()
    assert report.rows[0].error is not None
    assert report.rows[0].error > 1e-2


def test_another_epsilon_is_no_noise() -> None:
    model = keras_cnn()
    module = torch_cnn(right_state(model))
    module.bn.eps = 1e-5
    report = validate(model, module)
    assert report.verdict == "fail"


def two_headed() -> tuple[Any, Any]:
    """Ids and features in; a map, a vector and integers out, in other orders in PyTorch."""
    layers = keras.layers
    ids = keras.Input((7,), name="ids", dtype="int32")
    image = keras.Input((None, None, 2), name="image")
    table = layers.Embedding(11, 5, name="table")
    conv = layers.Conv2D(4, 3, padding="same", name="conv")
    vector = layers.GlobalAveragePooling1D()(table(ids))
    model = keras.Model({"image": image, "ids": ids}, {"vector": vector, "map": conv(image)})
    randomise(model)

    class Twin(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(11, 5)
            self.conv = torch.nn.Conv2d(2, 4, 3, padding=1)

        def forward(self, ids: Any, image: Any) -> Any:
            return {"map": self.conv(image), "vector": self.table(ids).mean(1)}

    twin = Twin()
    kernel, bias = (np.array(one) for one in conv.get_weights())
    with torch.no_grad():
        twin.table.weight.copy_(torch.tensor(table.get_weights()[0]))
        twin.conv.weight.copy_(torch.tensor(kernel.transpose(3, 2, 0, 1).copy()))
        twin.conv.bias.copy_(torch.tensor(bias))
    return model, twin


def test_several_inputs_and_outputs_are_paired_by_name() -> None:
    model, twin = two_headed()
    report = validate(model, twin)
    assert report.verdict == "pass"
    assert {row.name: row.shape for row in report.rows} == {
        "vector": (3, 5),
        "map": (3, 70, 93, 4),
    }


def test_a_mapping_can_say_names_and_axes() -> None:
    model, twin = two_headed()
    options = Options(
        inputs=(
            ModelValue("image", "image", "b h w c -> b c h w", (9, 14, 2), -1.0, 1.0),
            ModelValue("ids", "ids", None, (), 0, 10, "int32"),
        ),
        outputs=(ModelValue("map", "map", "b h w c -> b c h w"),),
    )
    report = validate(model, twin, options=options)
    assert [(row.name, row.shape, row.verdict) for row in report.rows] == [
        ("map", (3, 9, 14, 4), "pass")
    ]


def test_a_wrong_layout_is_seen() -> None:
    model, twin = two_headed()
    same = Options(layouts={"map": "channels_last"})
    report = validate(model, twin, options=same)
    row = next(row for row in report.rows if row.name == "map")
    assert row.note == "shapes differ: (3, 70, 93, 4) and (3, 4, 70, 93)"
    with pytest.raises(UsageError, match="cannot use layout 'nchw' for 'map'"):
        validate(model, twin, options=Options(layouts={"map": "nchw"}))


def test_inputs_of_a_file(tmp_path: Path) -> None:
    model, twin = two_headed()
    image = np.random.default_rng(1).random((4, 6, 9, 2), dtype=np.float32)
    ids = np.arange(28).reshape(4, 7) % 11
    path = tmp_path / "in puts.npz"
    np.savez(path, image=image, ids=ids)
    report = validate(model, twin, inputs=path)
    assert report.verdict == "pass"
    assert report.rows[0].shape[0] == 4
    with pytest.raises(ProblemsError) as raised:
        validate(model, twin, inputs={"image": image[..., :1], "idz": ids})
    assert str(raised.value) == (
        "cannot run on the inputs of 'the arguments'\n"
        "  missing     ids  an array of shape (batch, 7)\n"
        "  mismatched  image  expected (batch, any, any, 2), found (4, 6, 9, 1)\n"
        "  unexpected  idz  the model has no such input"
    )
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(CheckpointError, match=r"cannot read inputs from 'in puts\.npz'"):
        validate(model, twin, inputs=path)
    np.savez(path, image=image, ids=np.array([object()]))
    with pytest.raises(CheckpointError, match=r"not an \.npz file of plain arrays"):
        validate(model, twin, inputs=path)


def test_random_inputs_are_repeatable_and_reach_both_ends() -> None:
    model, _ = two_headed()
    specs = inputs_of(model)
    one, two = make_inputs(specs, seed=3), make_inputs(specs, seed=3)
    other = make_inputs(specs, seed=4)
    for name, array in one.items():
        assert np.array_equal(array, two[name])
        assert not np.array_equal(array, other[name])
    assert (one["ids"].min(), one["ids"].max(), one["ids"].dtype) == (0, 10, np.int32)
    assert one["image"].shape == (3, 70, 93, 2)
    assert abs(float(one["image"].mean())) < 0.8
    assert len({sample.tobytes() for sample in one["image"]}) == 3


def test_conv1d_inputs_are_channels_first_and_sequences_are_not() -> None:
    layers = keras.layers
    conv = keras.Sequential([keras.Input((10, 3)), layers.Conv1D(4, 3)])
    randomise(conv)
    module = torch.nn.Conv1d(3, 4, 3)
    kernel, bias = conv.get_weights()
    with torch.no_grad():
        module.weight.copy_(torch.tensor(kernel.transpose(2, 1, 0).copy()))
        module.bias.copy_(torch.tensor(bias))
    assert validate(conv, module).verdict == "pass"
    dense = keras.Sequential([keras.Input((10, 3)), layers.Dense(4)])
    randomise(dense)
    linear = torch.nn.Linear(3, 4)
    kernel, bias = dense.get_weights()
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(kernel.T.copy()))
        linear.bias.copy_(torch.tensor(bias))
    assert validate(dense, linear).verdict == "pass"


class Stubborn(TorchCNN):
    def eval(self) -> Any:
        return self


class Dropping(TorchCNN):
    def forward(self, x: Any) -> Any:
        return torch.nn.functional.dropout(super().forward(x), 0.5)


def test_training_mode_and_randomness_are_noticed() -> None:
    model = keras_cnn()
    with pytest.raises(UsageError, match="the module itself stays in training mode"):
        validate(model, Stubborn())
    report = validate(model, Dropping())
    assert report.verdict == "fail"
    assert any("another answer each time" in notice for notice in report.notices)


class Unstable(TorchCNN):
    """Loses its result in rounding: large values are added and taken away again."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) + 1e5 - 1e5


def test_a_floor_that_would_excuse_anything_is_not_used() -> None:
    model = keras_cnn()
    module = Unstable()
    module.load_state_dict(torch_cnn(right_state(model)).state_dict())
    module.bn.eps = 0.1
    report = validate(model, module)
    assert report.verdict == "fail"
    assert any("too high to tell a mistake from noise" in notice for notice in report.notices)


def test_outputs_that_ignore_the_input_prove_little() -> None:
    model = keras_cnn()
    model.get_layer("head").kernel.assign(np.zeros((9, 4)))
    report = validate(model, torch_cnn(right_state(model)))
    assert report.notices == ("Output 'output' is the same for every sample: it proves little.",)


def test_models_of_the_wrong_kind_and_unpaired_outputs() -> None:
    model, twin = two_headed()
    with pytest.raises(UsageError, match="the second model is a Functional, not a PyTorch module"):
        validate(model, model)
    with pytest.raises(UsageError, match="the first model is a Twin, not a Keras model"):
        validate(twin, model)
    cnn = keras_cnn()
    many = torch.nn.Module()
    many.forward = lambda x: (x, x)
    with pytest.raises(UsageError, match="cannot pair 1 Keras outputs with 2 PyTorch outputs"):
        validate(cnn, many)
    with pytest.raises(UsageError, match="cannot run the PyTorch module TorchCNN: it raised Runt"):
        validate(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), TorchCNN())


def test_a_floor_that_cannot_be_measured_is_said() -> None:
    class SingleOnly(TorchCNN):
        def forward(self, x: Any) -> Any:
            if x.dtype == torch.float64:
                raise TypeError("only float32 here")
            return super().forward(x)

    model = keras_cnn()
    module = SingleOnly()
    module.load_state_dict(torch_cnn(right_state(model)).state_dict())
    report = validate(model, module)
    assert report.verdict == "pass"
    assert "could not be measured" in report.notices[0]


def test_average_pooling_that_keras_gets_wrong_is_told() -> None:
    if keras.backend.backend() != "torch":
        pytest.skip("a mistake of the torch backend")
    layers = keras.layers

    def pool(size: int) -> Any:
        image = keras.Input((size, size, 2))
        return keras.Model(image, layers.AveragePooling2D(3, 2, padding="same", name="pool")(image))

    module = torch.nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)
    assert validate(pool(7), module).notices == ()
    report = validate(pool(8), module)
    assert report.verdict == "fail"
    assert any("'pool' is an AveragePooling2D that pads more" in one for one in report.notices)


def test_reduced_precision_is_off_while_running_and_put_back() -> None:
    seen = []

    class Watching(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            backends = torch.backends
            seen.append((backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision))
            return x * 1.0

    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    try:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Identity()])
        assert validate(model, Watching()).verdict == "pass"
        assert set(seen) == {("ieee", "ieee")}
        assert torch.backends.cudnn.conv.fp32_precision == "tf32"
    finally:
        torch.backends.cudnn.conv.fp32_precision = before
