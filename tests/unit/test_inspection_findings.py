"""What looks broken is said, in these words; what is sound is not."""

import numpy as np
import pytest

from converter import api
from converter.cli.inspect import describe
from converter.inspection.inventory import count_parameters, take_inventory
from converter.tensors.selection import is_chosen


def random(*shape, seed=3):
    return np.random.default_rng(seed).normal(0, 0.2, shape).astype(np.float32)


def sound():
    """Return the state dict of a small network that was trained, as far as numbers can say."""
    return {
        "conv.weight": random(7, 3, 2, 4),
        "conv.bias": random(7, seed=4),
        "norm.weight": random(7, seed=5),
        "norm.bias": random(7, seed=6),
        "norm.running_mean": random(7, seed=7),
        "norm.running_var": np.abs(random(7, seed=8)) + 0.1,
        "norm.num_batches_tracked": np.array(40_000, np.int64),
        "head.weight": random(5, 7, seed=9),
        "head.bias": random(5, seed=10),
    }


def changed(**values):
    state = sound()
    state.update({name.replace("__", "."): value for name, value in values.items()})
    return state


def warnings(state):
    with api.open(state) as checkpoint:
        return describe("x", checkpoint, stats=True).warnings


def test_a_sound_network_has_no_warning():
    assert warnings(sound()) == []


DEAD = random(5, 7, seed=9)
DEAD[[1, 3]] = 0
NAN = random(5, 7, seed=9)
NAN[2, 2:5] = np.nan
NAN[0, 0] = np.inf
VARIANCE = sound()["norm.running_var"]
BROKEN = [
    ("dead", changed(head__weight=DEAD), "dead: 2 rows of 5 of 'head.weight' are all zero (1, 3)"),
    ("nan", changed(head__weight=NAN),
     "not finite: 'head.weight' has 3 NaN and 1 infinite of 35 values"),
    ("exploded", changed(head__weight=sound()["head.weight"] * 1e6 + 1e6),
     "exploded: 'head.weight' has values up to 1.5e+06"),
    ("constant", changed(head__weight=np.full((5, 7), 0.5, np.float32)),
     "never trained: every value of 'head.weight' is 0.5"),
    ("negative", changed(norm__running_var=VARIANCE - 0.2),
     f"broken: variances below zero in 'norm.running_var', down to {VARIANCE.min() - 0.2:.3g}"),
    ("collapsed", changed(norm__running_var=VARIANCE * 1e-16),
     "collapsed: variances of almost zero in 'norm.running_var', "
     f"down to {VARIANCE.min() * 1e-16:.3g}"),
    ("fresh norm", changed(norm__running_var=np.ones(7, np.float32),
                           norm__running_mean=np.zeros(7, np.float32)),
     "never trained: the moving mean of 'norm' is 0 and its variance 1"),
    ("fresh biases", changed(conv__bias=np.zeros(7, np.float32),
                             head__bias=np.zeros(5, np.float32)),
     "never trained: each of the 2 biases is zero"),
    ("duplicate", changed(other__weight=sound()["head.weight"]),
     "duplicate: 'head.weight', 'other.weight' have the same values, and are not tied"),
    ("quantised", changed(head__qweight=np.ones((4, 3), np.int32)),
     "quantised: 'head.qweight' belong to weights in codes, which are not numbers yet"),
    ("lora", changed(head__lora_A__weight=random(2, 7), head__lora_B__weight=random(5, 2)),
     "LoRA: 'head.lora_A.weight', 'head.lora_B.weight' are not merged into the weights they "
     "change"),
]  # fmt: skip


@pytest.mark.parametrize(("state", "message"), [case[1:] for case in BROKEN],
                         ids=[case[0] for case in BROKEN])  # fmt: skip
def test_what_looks_broken_is_said_once(state, message):
    assert warnings(state) == [message]


def test_a_file_that_was_cast_up_says_so():
    state = {
        name: (value.view(np.uint32) & 0xFFFF0000).view(np.float32) if value.ndim else value
        for name, value in sound().items()
    }
    assert warnings(state) == ["wider than needed: every float32 value is a bfloat16 value"]


@pytest.mark.frameworks
def test_keras_tensors_have_roles_named_axes_and_trainability():
    from support.keras_files import small_network

    model = small_network()
    with api.open(model) as checkpoint:
        entries = take_inventory(checkpoint.manifest)
    shown = [(one.spec.name, one.role, one.axes, one.trainable, one.unit_axis) for one in entries]
    assert shown == [
        ("stem/kernel", "kernel", ("kh", "kw", "in", "out"), True, 3),
        ("stem/bias", "bias", (), True, None),
        ("norm/gamma", "gamma", (), True, None),
        ("norm/beta", "beta", (), True, None),
        ("norm/moving_mean", "moving_mean", (), False, None),
        ("norm/moving_variance", "moving_variance", (), False, None),
        ("head/kernel", "kernel", ("in", "out"), True, 1),
        ("head/bias", "bias", (), True, None),
    ]
    totals = count_parameters(entries)
    trained, others = model.trainable_weights, model.non_trainable_weights
    assert totals.trainable == sum(int(np.prod(one.shape)) for one in trained)
    assert totals.not_trainable == sum(int(np.prod(one.shape)) for one in others)
    assert totals.unknown == 0


def test_torch_tensors_have_roles_by_their_neighbours_and_no_axes():
    with api.open(sound()) as checkpoint:
        entries = take_inventory(checkpoint.manifest)
    roles = {one.spec.name: one.role for one in entries}
    assert roles["norm.weight"] == "gamma"
    assert roles["norm.running_var"] == "moving_variance"
    assert roles["head.weight"] == "weight"
    assert {one.axes for one in entries} == {()}
    assert {one.spec.name for one in entries if one.trainable is False} == {
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    }


PATTERNS = [
    ("encoder/a/kernel", "encoder/**", True),
    ("encoder/a/kernel", "encoder/*", False),
    ("encoder/a/kernel", "*/*/kernel", True),
    ("encoder.a.weight", "encoder.*.weight", True),
    ("encoder.a.weight", "*.weight", False),
    ("encoder.a.weight", "**.weight", True),
    ("head.bias", "head", True),
    ("head.bias", "hea?.bias", True),
    ("headless.bias", "head", False),
    ("a+b.bias", "a+b.*", True),
]


@pytest.mark.parametrize(("name", "pattern", "chosen"), PATTERNS)
def test_patterns_choose_as_a_shell_does(name, pattern, chosen):
    assert is_chosen(name, pattern) is chosen
