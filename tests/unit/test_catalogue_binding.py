"""Binding a slot to shapes: one operation, whose inverse needs no shapes."""

from __future__ import annotations

import numpy as np
import pytest

from converter.algebra.base import Law
from converter.algebra.values import Constant, Derive, Discard, Expect
from converter.errors import OperationError
from converter.mapping.slots import Slot
from converter.planning.binding import bind_slot
from converter.tensors.dtype import get_dtype
from converter.tensors.spec import TensorSpec

F32, I64 = get_dtype("float32"), get_dtype("int64")


def spec(*shape: int, dtype: str = "float32") -> list[TensorSpec]:
    return [TensorSpec("x", shape, get_dtype(dtype))]


def test_sizes_known_on_one_side_only_are_in_the_inverse_too():
    slot = Slot(("kernel",), ("weight",), "e h d -> (h d) e")
    forward = bind_slot(slot, keras=spec(12, 3, 4), torch=None, sizes={})
    assert forward.infer([(12, 3, 4)]) == ((12, 12),)
    assert forward.inverse().infer([(12, 12)]) == ((12, 3, 4),)
    given = bind_slot(slot, keras=None, torch=spec(12, 12), sizes={"h": 3, "other": 9})
    assert given == forward


def test_an_open_axis_is_named():
    slot = Slot(("kernel",), ("weight",), "e h d -> (h d) e")
    with pytest.raises(OperationError, match="nothing determines the size of 'h', 'd'"):
        bind_slot(slot, keras=None, torch=spec(12, 12), sizes={})


def test_shapes_that_contradict_each_other_are_refused():
    slot = Slot(("bias",), ("bias",))
    with pytest.raises(OperationError) as caught:
        bind_slot(slot, keras=spec(3), torch=spec(4), sizes={})
    assert str(caught.value) == (
        "the shapes must be equal, and are not\n  Keras    (3,)\n  PyTorch  (4,)"
    )
    with pytest.raises(OperationError):
        bind_slot(
            Slot(("k",), ("w",), "in out -> out in"), keras=spec(3, 5), torch=spec(3, 5), sizes={}
        )


def test_two_biases_are_one():
    slot = Slot(("bias",), ("bias_ih", "bias_hh"), operation="sum", optional=True)
    operation = bind_slot(slot, keras=spec(8), torch=spec(8) * 2, sizes={})
    assert operation.law is Law.CANONICAL
    bias = np.array([1.5, -0.0, np.nan, np.inf, 0, 1, 2, 3], "float32")
    first, second = operation.apply([bias])
    assert first.tobytes() == bias.tobytes()
    assert second.tobytes() == np.zeros(8, "float32").tobytes()
    assert operation.inverse().apply([first, second])[0].tobytes() == bias.tobytes()


def test_rows_in_front_are_put_and_taken():
    slot = Slot(("table",), ("weight",), "v d -> v d", "rows", 2)
    operation = bind_slot(slot, keras=None, torch=spec(7, 3), sizes={})
    (table,) = operation.inverse().apply([np.arange(21, dtype="float32").reshape(7, 3)])
    np.testing.assert_array_equal(table, np.arange(6, 21).reshape(5, 3))
    (back,) = operation.apply([table])
    np.testing.assert_array_equal(back[:2], 0)
    with pytest.raises(OperationError, match="lacks 2 rows in front"):
        bind_slot(slot, keras=None, torch=spec(1, 3), sizes={})


def test_a_scale_is_divided_out_again():
    slot = Slot(("w",), ("w",), "a b -> b a", "scale", 4)
    operation = bind_slot(slot, keras=spec(2, 3), torch=None, sizes={})
    values = np.arange(6, dtype="float32").reshape(2, 3)
    (scaled,) = operation.apply([values])
    np.testing.assert_array_equal(scaled, values.T * 4)
    np.testing.assert_array_equal(operation.inverse().apply([scaled])[0], values)


def test_an_absent_constant_is_made_and_checked():
    slot = Slot(("gamma",), ("weight",), operation="constant", value=1, optional=True)
    assert bind_slot(slot, keras=(), torch=spec(3), sizes={}) == Constant(1, (3,), F32)
    assert bind_slot(slot, keras=spec(3), torch=[], sizes={}) == Expect(1, (3,), F32)
    both = bind_slot(slot, keras=spec(3), torch=spec(3), sizes={})
    assert both.law is Law.EXACT
    with pytest.raises(OperationError, match="nothing determines the shape"):
        bind_slot(slot, keras=(), torch=None, sizes={})


def test_counters_are_made_anew():
    slot = Slot((), ("num_batches_tracked",), operation="derived", value=0, why="because")
    operation = bind_slot(slot, keras=(), torch=None, sizes={})
    assert operation == Derive(0, (), I64, "because")
    assert operation.inverse().law is Law.DERIVED
    dropped = Slot(("vector_u",), (), operation="derived", value=1.0, why="training only")
    operation = bind_slot(dropped, keras=spec(1, 3), torch=(), sizes={})
    assert operation == Discard("training only", 1.0, (1, 3), F32)
    np.testing.assert_array_equal(operation.inverse().apply([])[0], np.ones((1, 3)))


def test_a_slot_that_means_nothing_is_refused():
    with pytest.raises(OperationError, match="no operation is called 'twist'"):
        bind_slot(Slot(("a",), ("b",), operation="twist", value=1), keras=spec(1), torch=None,
                  sizes={})  # fmt: skip
    with pytest.raises(OperationError, match="needs a number: None"):
        bind_slot(Slot(("a",), ("b",), operation="offset"), keras=spec(1), torch=None, sizes={})
    with pytest.raises(OperationError, match="cannot be joined without an axis pattern"):
        bind_slot(Slot(("a", "b"), ("c",)), keras=spec(1) * 2, torch=None, sizes={})


def test_the_kernel_of_a_quantised_layer_is_refused():
    """Two arrays and no config: kernel and scale look like kernel and bias."""
    slot = Slot(("kernel",), ("weight",), "in out -> out in")
    with pytest.raises(OperationError) as caught:
        bind_slot(slot, keras=spec(5, 3, dtype="int8"), torch=None, sizes={})
    assert str(caught.value) == (
        "'x' holds int8 values, so its layer is quantised: without the scale beside them they are "
        "no weights"
    )
    assert bind_slot(slot, keras=spec(5, 3, dtype="int64"), torch=None, sizes={})
