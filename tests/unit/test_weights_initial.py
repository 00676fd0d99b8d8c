"""Initializers against Keras' own: fans and limits exactly, distributions by their samples."""

import math

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy import stats

from converter import api, weights
from converter.algebra.initial import BLOCK, NAMES, PLAIN, SCALED, Initial, fans, make_initial
from converter.cli.edit import parse
from converter.errors import OperationError, PlanError, UsageError
from converter.tensors.dtype import get_dtype

FLOAT = get_dtype("float32")
SHAPES = [(), (7,), (5, 3), (4, 6, 2), (3, 5, 4, 2), (2, 3, 5, 4, 6)]


@pytest.mark.frameworks
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fans_are_those_of_keras_and_of_pytorch(shape):
    import torch
    from keras.src.initializers.random_initializers import compute_fans

    assert fans(shape, outermost=False) == compute_fans(shape)
    if len(shape) > 1:
        theirs = torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
        assert fans(shape, outermost=True) == theirs


def made(name, shape, seed=(1,), dtype=FLOAT, **options):
    operation = make_initial(name, options, shape, dtype, outermost=False, seed=seed)
    return operation, operation.apply([])[0]


@pytest.mark.frameworks
@pytest.mark.parametrize("name", [*SCALED, *PLAIN])
def test_samples_are_distributed_as_those_of_keras(name):
    import keras

    classes = "".join(part.capitalize() for part in name.split("_"))
    shape = (3, 5, 70, 60)
    theirs = np.asarray(getattr(keras.initializers, classes)(seed=3)(shape)).reshape(-1)
    ours = made(name, shape)[1].reshape(-1)
    # Two samples of 63,000 of one distribution are further apart than this once in a million times.
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-6
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.2)


@pytest.mark.frameworks
def test_a_sample_of_another_deviation_is_told_apart():
    """The test above would see a fan that is the other one: 1050 and 900."""
    import keras

    shape = (3, 5, 70, 60)
    theirs = np.asarray(keras.initializers.HeUniform(seed=3)(shape)).reshape(-1)
    wrong = make_initial("he_uniform", {}, shape, FLOAT, outermost=True, seed=(1,)).apply([])[0]
    assert stats.ks_2samp(wrong.reshape(-1), theirs).pvalue < 1e-6


def test_limits_are_exact():
    shape = (3, 5, 7, 11)  # fan in 105, out 165
    operation, values = made("glorot_uniform", shape)
    limit = math.sqrt(6 / (105 + 165))
    assert (operation.first, operation.second) == pytest.approx((-limit, limit), rel=1e-15)
    assert np.abs(values).max() <= np.float32(limit)
    operation, values = made("he_normal", shape)
    assert operation.second == pytest.approx(math.sqrt(2 / 105) / 0.87962566103423978, rel=1e-15)
    assert np.abs(values).max() <= np.float32(2 * operation.second)
    operation, values = made("random_normal", shape, mean=3.0, stddev=0.5)
    assert (values.mean(), values.std()) == pytest.approx((3.0, 0.5), rel=0.05)


def test_a_seed_gives_the_same_values_in_every_block_size():
    shape = (BLOCK // 100, 250)
    operation, whole = made("glorot_normal", shape)
    for max_bytes in (4_000, 4 * BLOCK, 1 << 40):
        blocks = list(operation.stream([], max_bytes))
        assert max(block.array.nbytes for block in blocks) == min(max_bytes, 4 * BLOCK)
        assert np.concatenate([one.array for one in blocks]).tobytes() == whole.tobytes()
    assert [block.start for block in blocks] == [0, BLOCK, 2 * BLOCK]
    assert made("glorot_normal", shape)[1].tobytes() == whole.tobytes()
    other = made("glorot_normal", shape, seed=(2,))[1]
    assert not np.isclose(other, whole).mean() > 0.01
    assert not np.isclose(blocks[0].array[:1000], blocks[1].array[:1000]).mean() > 0.01


def test_other_types_and_none():
    assert made("he_normal", (4, 3), dtype=get_dtype("bfloat16"))[1].dtype == ml_dtypes.bfloat16
    assert made("he_normal", (0, 3))[1].shape == (0, 3)
    with pytest.raises(OperationError, match="only floating-point values are drawn"):
        Initial("uniform", 0.0, 1.0, (3,), get_dtype("int32"))


@pytest.fixture
def source(tmp_path):
    random = np.random.default_rng(0)
    state = {
        "body.weight": random.normal(size=(6, 5)).astype(np.float32),
        "head.weight": random.normal(size=(40, 30)).astype(np.float32),
        "head.other": random.normal(size=(40, 30)).astype(np.float32),
        "head.steps": np.array(4, np.int64),
    }
    save_file(state, tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def edited(source, *arguments):
    with api.open(source) as checkpoint:
        conversion = weights.edited(checkpoint, parse(list(arguments)))
        return conversion.arrays(), conversion.plan


def test_what_is_chosen_is_drawn_and_all_else_keeps_its_bits(source):
    before = load_file(source)
    found, plan = edited(source, "--init", "head.weight=he_uniform,seed=5")
    limit = math.sqrt(6 / 30)  # PyTorch: (out, in)
    assert limit * 0.98 < np.abs(found["head.weight"]).max() <= np.float32(limit)
    for name in ("body.weight", "head.other", "head.steps"):
        assert found[name].tobytes() == before[name].tobytes()
    assert [(one.name, one.why) for one in plan.dropped] == [
        ("head.weight", "replaced by random values")
    ]
    again, _ = edited(source, "--init", "head.weight=he_uniform,seed=5")
    assert again["head.weight"].tobytes() == found["head.weight"].tobytes()
    other, _ = edited(source, "--init", "head.weight=he_uniform,seed=6")
    assert other["head.weight"].tobytes() != found["head.weight"].tobytes()


def test_two_tensors_of_one_seed_differ_and_edits_go_on(source):
    found, _ = edited(source, "--drop", "head.steps", "--init", "head.*=glorot_uniform",
                      "--set", "head.other=0", "--init=body=ones")  # fmt: skip
    assert (found["head.other"] == 0).all()
    assert (found["body.weight"] == 1).all()
    found, _ = edited(source, "--drop", "head.steps", "--init", "head.*=glorot_uniform")
    assert found["head.other"].tobytes() != found["head.weight"].tobytes()


def test_what_is_no_initializer_is_refused(source):
    with pytest.raises(UsageError) as caught:
        parse(["--init", "head=orthogonal"])
    assert str(caught.value) == (
        "cannot use --init 'head=orthogonal'\n"
        "  expected  NAMES=INITIALIZER,seed=N\n"
        f"  one of    {', '.join(NAMES)}"
    )
    for text in ("head", "=ones", "head=he_normal,stddev=1", "head=he_normal,seed=-1",
                 "head=random_normal,mean=x", "head=random_normal,3"):  # fmt: skip
        with pytest.raises(UsageError, match="cannot use --init"):
            parse(["--init", text])
    with pytest.raises(PlanError, match="only floating-point values are drawn"):
        edited(source, "--init", "head.steps=he_normal")
