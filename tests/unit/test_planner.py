"""Plans from names, shapes and dtypes alone; every reason why not, as text."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from converter.algebra.base import Law
from converter.errors import OperationError, PlanError
from converter.mapping.document import parse_mapping
from converter.mapping.rules import Mapping
from converter.planning.copy import make_copy_plan
from converter.planning.matching import make_request
from converter.planning.plan import Plan
from converter.planning.planner import make_plan
from converter.planning.sides import Side
from converter.tensors.dtype import get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import LayerSpec, TensorSpec

F32 = get_dtype("float32")
BF16 = get_dtype("bfloat16")
I64 = get_dtype("int64")


def specs(**shapes: tuple[int, ...]) -> list[TensorSpec]:
    return [TensorSpec(name, shape, F32) for name, shape in shapes.items()]


def keras(layers: list[tuple[str, str, dict[str, tuple[int, ...]]]], **config: object) -> Side:
    tensors, made = [], []
    for path, class_name, slots in layers:
        tensors += [TensorSpec(f"{path}/{slot}", shape, F32) for slot, shape in slots.items()]
        owned = {slot: f"{path}/{slot}" for slot in slots}
        made.append(LayerSpec(path, class_name, owned, config))
    return Side("keras", Manifest.of(tensors, family="keras", layers=made), label="model.keras")


def torch(**shapes: tuple[int, ...]) -> Side:
    named = {name.replace("__", "."): shape for name, shape in shapes.items()}
    tensors = [
        TensorSpec(name, shape, I64 if name.endswith("tracked") else F32)
        for name, shape in named.items()
    ]
    return Side("torch", Manifest.of(tensors, family="torch"), label="model.pt")


OPEN_TORCH = Side("torch", None, label="the target")
DENSE = keras([("fc", "Dense", {"kernel": (3, 5), "bias": (5,)})])
NORM = keras(
    [("bn", "BatchNormalization", {"beta": (4,), "moving_mean": (4,), "moving_variance": (4,)})],
    scale=False,
)


def plan(source: Side, target: Side, **options: object) -> Plan:
    return make_plan(make_request(source, target, mapping="by-kind", **options))


def written(made: Plan) -> dict[str, tuple[tuple[int, ...], str]]:
    return {spec.name: (spec.shape, spec.dtype.name) for spec in made.target}


def test_an_open_target_becomes_what_the_source_gives() -> None:
    made = plan(DENSE, OPEN_TORCH)
    assert written(made) == {"fc.weight": ((5, 3), "float32"), "fc.bias": ((5,), "float32")}
    assert made.law is Law.EXACT


def test_an_absent_gamma_becomes_ones_of_its_siblings_shape() -> None:
    made = plan(NORM, OPEN_TORCH)
    assert written(made)["bn.weight"] == ((4,), "float32")
    assert written(made)["bn.num_batches_tracked"] == ((), "int64")
    step = next(step for step in made.steps if step.targets == ("bn.weight",))
    assert step.sources == ()
    assert step.law is Law.CANONICAL
    assert step.operation.apply([])[0].tolist() == [1, 1, 1, 1]


def test_a_gamma_that_keras_lacks_is_checked_to_be_ones_on_the_way_back() -> None:
    source = torch(bn__weight=(4,), bn__bias=(4,), bn__running_mean=(4,), bn__running_var=(4,))
    made = plan(source, NORM)
    check = next(step for step in made.steps if step.sources == ("bn.weight",))
    assert check.targets == ()


def test_a_target_without_a_counter_gets_none() -> None:
    target = torch(bn__weight=(4,), bn__bias=(4,), bn__running_mean=(4,), bn__running_var=(4,))
    assert "bn.num_batches_tracked" not in written(plan(NORM, target))


def test_a_counter_is_left_behind_with_a_reason() -> None:
    source = torch(
        bn__weight=(4,),
        bn__bias=(4,),
        bn__running_mean=(4,),
        bn__running_var=(4,),
        bn__num_batches_tracked=(),
    )
    made = plan(source, NORM)
    assert [drop.name for drop in made.dropped] == ["bn.num_batches_tracked"]
    assert made.dropped[0].why == "Keras does not count batches; inference does not use the count"


def test_floats_get_the_dtype_that_is_asked_for_and_integers_keep_theirs() -> None:
    made = plan(NORM, OPEN_TORCH, dtype=BF16)
    assert written(made)["bn.running_mean"] == ((4,), "bfloat16")
    assert written(made)["bn.num_batches_tracked"] == ((), "int64")
    assert made.law is Law.ROUNDED


PROBLEMS = {
    "missing-and-unexpected": (
        torch(fc__weight=(5, 3), head__weight=(2, 2)),
        DENSE,
        {},
        """cannot plan 'model.pt' with mapping 'by-kind': 1 missing, 1 unexpected
  missing     fc/bias  model.pt has no such tensor  [rules[0] ["dense", "fc", "fc"]]
  unexpected  head.weight  no rule of 'by-kind' takes it
  written     nothing""",
    ),
    "mismatched": (
        torch(fc__weight=(5, 4), fc__bias=(5,)),
        DENSE,
        {},
        r"cannot plan 'model.pt' with mapping 'by-kind': 1 mismatched\n"
        r"  mismatched  'fc/kernel'  from 'fc.weight' \(5, 4\): .*in.*3.*4.*",
    ),
    "law": (
        keras([("bn", "BatchNormalization", {"beta": (4,), "moving_mean": (4,),
                                             "moving_variance": (4,)})], scale=False),
        OPEN_TORCH,
        {"require": Law.EXACT},
        r"cannot plan 'model.keras' with mapping 'by-kind': 1 refused\n"
        r"  refused  bn.weight  is canonical, and exact is required: .*",
    ),
    "no-channels": (
        Side("keras", Manifest.of(
            specs(**{"c/kernel": (3, 3, 2, 4), "d/kernel": (8, 3)}), family="keras",
            layers=[
                LayerSpec("in", "InputLayer", {}, {"batch_shape": [None, 4, 4, 2]}),
                LayerSpec("c", "Conv2D", {"kernel": "c/kernel"}, {}, ("in",)),
                LayerSpec("odd", "Shuffled", {}, {}, ("c",)),
                LayerSpec("flat", "Flatten", {}, {}, ("odd",)),
                LayerSpec("d", "Dense", {"kernel": "d/kernel"}, {}, ("flat",)),
            ]), label="model.keras"),
        OPEN_TORCH,
        {},
        """cannot plan 'model.keras' with mapping 'by-kind': 1 undetermined
  undetermined  d  reads flattened features whose order is not known: layer 'odd' (Shuffled) may reorder features
  hint          give the channels before Flatten: --set 'd:c=64', or --set 'd:c=0' to keep the rows in Keras' order
  written       nothing""",  # noqa: E501  # the message as it is printed
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "target", "options", "text"), PROBLEMS.values(), ids=list(PROBLEMS)
)
def test_problems_are_told_together(source: Side, target: Side, options: dict, text: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan(source, target, **options)
    found = str(caught.value)
    assert found == text or re.match(text, found), found


def test_two_layers_that_become_one_module_are_a_conflict() -> None:
    side = keras([("a b", "Dense", {"kernel": (3, 5)}), ("a_b", "Dense", {"kernel": (2, 7)})])
    with pytest.raises(PlanError, match="would both become the PyTorch module 'a_b'"):
        plan(side, OPEN_TORCH)


def test_a_layer_of_an_unknown_class_is_kept_and_said() -> None:
    made = plan(keras([("odd", "Shuffled", {"0": (3, 2), "table": (4,)})]), OPEN_TORCH)
    assert written(made) == {
        "odd.variable_0": ((3, 2), "float32"),
        "odd.table": ((4,), "float32"),
    }
    assert made.assumptions == (
        "layer 'odd' is a Shuffled: its variables are kept in Keras' layout.",
    )


def test_a_copy_keeps_names_and_says_what_differs() -> None:
    source, target = torch(a=(2, 3), b=(4,)), torch(a=(3, 2), c=(1,))
    assert written(make_copy_plan(source, OPEN_TORCH)) == {
        "a": ((2, 3), "float32"),
        "b": ((4,), "float32"),
    }
    with pytest.raises(PlanError) as caught:
        make_copy_plan(source, target)
    assert str(caught.value) == (
        "cannot plan 'model.pt': its tensors are not those of model.pt\n"
        "  mismatched  a  has shape (2, 3), model.pt needs (3, 2)\n"
        "  missing     c  model.pt has no such tensor\n"
        "  unexpected  b  model.pt has no place for it\n"
        "  written     nothing"
    )


TIED = """
schema = 1
name = "tied"
keras = "a"
torch = "b"
rules = [["embedding", "words", "wte"]]
ties = [{ torch = "lm_head.weight", of = "wte.weight", write = "WRITE" }]
"""
WORDS = keras([("words", "Embedding", {"embeddings": (7, 3)})])


def tied(write: str) -> Mapping:
    return parse_mapping(TIED.replace("WRITE", write), path=Path("tied.toml"))


def tied_plan(source: Side, target: Side, write: str = "omit") -> Plan:
    return make_plan(make_request(source, target, mapping=tied(write)))


def test_a_tied_name_is_written_by_the_convention_of_the_reader() -> None:
    assert list(written(tied_plan(WORDS, OPEN_TORCH))) == ["wte.weight"]
    made = tied_plan(WORDS, OPEN_TORCH, "copy")
    assert list(written(made)) == ["wte.weight", "lm_head.weight"]
    assert made.ties == {"lm_head.weight": "wte.weight"}


def test_a_target_that_has_the_tied_name_gets_it() -> None:
    target = torch(wte__weight=(7, 3), lm_head__weight=(7, 3))
    assert set(written(tied_plan(WORDS, target))) == {"wte.weight", "lm_head.weight"}


def test_a_source_with_both_names_is_checked_to_hold_one_value() -> None:
    made = tied_plan(torch(wte__weight=(7, 3), lm_head__weight=(7, 3)), WORDS)
    check = next(step for step in made.steps if not step.targets)
    assert check.sources == ("lm_head.weight", "wte.weight")
    words = np.arange(21, dtype="float32").reshape(7, 3)
    assert check.operation.apply([words, words.copy()]) == ()
    other = words.copy()
    other[4, 2] = -1
    with pytest.raises(OperationError) as caught:
        check.operation.apply([other, words])
    assert str(caught.value) == "two tied tensors have different values\n  first at  (4, 2)"


def test_tied_tensors_of_different_shapes_are_a_problem() -> None:
    with pytest.raises(PlanError, match="two tied tensors have different shapes"):
        tied_plan(torch(wte__weight=(7, 3), lm_head__weight=(7, 2)), WORDS)


def noted(class_name: str, slots: dict[str, tuple[int, ...]], **config: object) -> tuple[str, ...]:
    return plan(keras([("one", class_name, slots)], **config), OPEN_TORCH).assumptions


def test_what_weights_do_not_guarantee_is_said_of_the_layers_it_concerns() -> None:
    kernel = {"kernel": (3, 3, 2, 4)}
    assert noted("Conv2D", kernel, padding="same", strides=[1, 1]) == ()
    assert noted("Conv2D", kernel, padding="valid", strides=[2, 2]) == ()
    assert noted("Conv2D", kernel, padding="same", strides=[2, 2]) == (
        "Padding 'same' with a stride puts the odd pixel at the bottom right: pad explicitly in "
        "PyTorch ('one').",
    )
    gamma = {"gamma": (4,), "beta": (4,)}
    assert noted("LayerNormalization", gamma, epsilon=1e-5) == ()
    assert noted("LayerNormalization", gamma, epsilon=1e-3) == (
        "LayerNormalization has epsilon 0.001, and PyTorch's default is 1e-05: set eps ('one').",
    )
    assert noted("LayerNormalization", gamma) == (
        "LayerNormalization has epsilon not known, and PyTorch's default is 1e-05: set eps "
        "('one').",
    )


@pytest.mark.parametrize("shared", [None, []])
def test_an_entry_that_is_empty_is_one_that_is_false(shared: object) -> None:
    """Keras writes null where a kind says false: a PReLU without shared axes."""
    side = keras([("act", "PReLU", {"alpha": (5,)})], shared_axes=shared)
    assert written(plan(side, OPEN_TORCH)) == {"act.weight": ((5,), "float32")}


def test_a_tuple_of_a_live_model_is_the_list_of_a_file() -> None:
    side = keras([("act", "PReLU", {"alpha": (1, 1, 3)})], shared_axes=(1, 2))
    assert written(plan(side, OPEN_TORCH)) == {"act.weight": ((3,), "float32")}


def test_a_target_tensor_that_no_rule_gives_is_missing() -> None:
    """Nothing may stay as the target happened to have it."""
    target = torch(fc__weight=(5, 3), fc__bias=(5,), head__weight=(2, 7))
    with pytest.raises(PlanError) as caught:
        plan(DENSE, target)
    assert str(caught.value) == (
        "cannot plan 'model.keras' with mapping 'by-kind': 1 missing\n"
        "  missing  head.weight  model.pt needs it and no rule of 'by-kind' gives it\n"
        "  written  nothing"
    )


def test_a_keras_layer_that_a_mapping_leaves_out_is_missing() -> None:
    target = keras(
        [("words", "Embedding", {"embeddings": (7, 3)}), ("fc", "Dense", {"kernel": (3, 5)})]
    )
    with pytest.raises(PlanError) as caught:
        tied_plan(torch(wte__weight=(7, 3)), target)
    assert [(one.kind, one.where) for one in caught.value.problems] == [("missing", "fc/kernel")]


def test_a_tensor_that_a_mapping_drops_is_left_behind_with_its_reason() -> None:
    text = TIED.replace("ties = ", "drop = [{ torch = 'ids', why = 'made anew' }]\nties = ")
    mapping = parse_mapping(text.replace("WRITE", "omit"), path=Path("tied.toml"))
    source = torch(wte__weight=(7, 3), ids=(4,))
    made = make_plan(make_request(source, WORDS, mapping=mapping))
    assert [(drop.name, drop.why) for drop in made.dropped] == [("ids", "made anew")]
