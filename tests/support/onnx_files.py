"""ONNX files made by the onnx package, to be read and filled by what does not use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from converter.tensors.dtype import Array, get_dtype
from converter.tensors.spec import TensorSpec

_RANDOM = np.random.default_rng(11)
TYPES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
    "float8_e5m2": TensorProto.FLOAT8E5M2,
    "float8_e4m3fn": TensorProto.FLOAT8E4M3FN,
    "float8_e8m0fnu": TensorProto.FLOAT8E8M0,
    "float8_e4m3fnuz": TensorProto.FLOAT8E4M3FNUZ,
    "float8_e5m2fnuz": TensorProto.FLOAT8E5M2FNUZ,
    "int16": TensorProto.INT16,
    "uint16": TensorProto.UINT16,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "int32": TensorProto.INT32,
    "uint32": TensorProto.UINT32,
    "float32": TensorProto.FLOAT,
    "complex64": TensorProto.COMPLEX64,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "uint64": TensorProto.UINT64,
    "complex128": TensorProto.COMPLEX128,
}


def tensor(name: str, array: Array, type_name: str | None = None) -> TensorProto:
    """Return an initializer with its values as bytes."""
    made = TensorProto(name=name, dims=array.shape)
    made.data_type = TYPES[type_name or array.dtype.name]
    made.raw_data = np.ascontiguousarray(array).tobytes()
    return made


def model(
    nodes: Sequence[Any] = (), initializers: Iterable[TensorProto] = (), *, producer: str = "test"
) -> onnx.ModelProto:
    """Return a model with one input ``x`` and one output ``y``."""
    vector = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"])
    graph = helper.make_graph(
        list(nodes) or [helper.make_node("Relu", ["x"], ["y"])],
        "graph",
        [helper.make_value_info("x", vector)],
        [helper.make_value_info("y", vector)],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, producer_name=producer, opset_imports=opsets, ir_version=10)


def save(path: Path, made: onnx.ModelProto) -> Path:
    """Write a model as it is."""
    path.write_bytes(made.SerializeToString())
    return path


def floats(*shape: int) -> Array:
    """Return random values."""
    return _RANDOM.normal(size=shape).astype(np.float32)


def one_node(folder: Path, op: str, arrays: Mapping[str, Array], **options: Any) -> Path:
    """Write a model of one node that takes ``x`` and these arrays."""
    name = options.pop("name", "")
    producer = options.pop("producer", "test")
    node = helper.make_node(op, ["x", *arrays], ["y"], name=name, **options)
    initializers = [tensor(key, value) for key, value in arrays.items()]
    return save(folder / "a.onnx", model([node], initializers, producer=producer))


def template(path: Path, specs: Iterable[TensorSpec]) -> Path:
    """Write a model whose initializers are these tensors, all zero; float32 for foreign types."""
    initializers = []
    for spec in specs:
        known = spec.dtype.name if spec.dtype.name in TYPES else "float32"
        made = TensorProto(name=spec.name, dims=spec.shape, data_type=TYPES[known])
        made.raw_data = bytes(get_dtype(known).nbytes(spec.shape))
        initializers.append(made)
    return save(path, model(initializers=initializers))


def values_of(path: Path) -> Mapping[str, Array]:
    """Return the initializers of a file as the onnx package reads them."""
    return {
        one.name: onnx.numpy_helper.to_array(one, str(path.parent))
        for one in onnx.load(path).graph.initializer
    }
