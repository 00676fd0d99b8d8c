"""What the names in an ONNX graph say: the module that a node belongs to, the owner of a tensor.

Exporters rename what they change. A folded or transposed weight is ``onnx::MatMul_26`` or
``val_38``, and only the node that consumes it still knows its module; a weight that kept its name
kept its values and its layout as well.
"""

from __future__ import annotations

import re

from converter.formats.onnx_graph import NAME_SCOPES, Node

_SCOPES = re.compile(r"\[(?:'[^']*'(?:, '[^']*')*)?\]")
_PART = re.compile(r"'([^']*)'")
# Numbered by PyTorch's exporters: values of the graph, not parameters of the model.
_TORCH_GENERATED = re.compile(r"onnx::\w+|_?val_\d+|\d+|/.*|.*[/:].*")
_GENERATED = re.compile(
    r"onnx::\w+|_?val_\d+|\d+|/.*|.*__\d+|.*[/:].*"
    r"|(?:[wb]|const|constant|initializer|tensor|value|param|variable)_?\d*",
    re.IGNORECASE,
)
_DOTTED = re.compile(r"[^\W\d][\w-]*(?:\.[\w-]+)+")
# Parts of TensorFlow's paths that name operations and variables, not layers.
_TENSORFLOW_PARTS = frozenset(
    {
        *(
            "ReadVariableOp",
            "BiasAdd",
            "MatMul",
            "Conv1D",
            "Conv2D",
            "Conv3D",
            "convolution",
            "add",
        ),
        *("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "embeddings"),
        *("Add", "Mul", "mul", "Tensordot", "FusedBatchNormV3", "FusedBatchNorm", "ExpandDims"),
        *("StatefulPartitionedCall", "Cast", "resource", "depthwise", "separable_conv2d", "Gemm"),
        *("recurrent_kernel", "alpha", "depthwise_kernel", "pointwise_kernel", "Conv2D_weights"),
        *("embedding_lookup", "batchnorm"),
    }
)
_MAX_PARTS = 64  # of a path; each is compared with those before it
_ROOT_CALLS = frozenset({"", "StatefulPartitionedCall"})


def is_torch(producer: str) -> bool:
    """Whether PyTorch wrote a file."""
    return producer == "pytorch"


def own_name(name: str, producer: str) -> str | None:
    """Return the name of a tensor where it says which parameter it is, else ``None``.

    Examples:
        >>> own_name("conv1.weight", "pytorch"), own_name("onnx::MatMul_26", "pytorch")
        ('conv1.weight', None)
        >>> own_name("W1", "OnnxMLTools") is None
        True
    """
    generated = _TORCH_GENERATED if is_torch(producer) else _GENERATED
    return None if generated.fullmatch(name) else name


def is_dotted(name: str) -> bool:
    """Whether a name is that of a parameter inside a module, as state dicts have it.

    Examples:
        >>> is_dotted("layer1.0.weight"), is_dotted("scale"), is_dotted("a/b:0")
        (True, False, False)
    """
    return _DOTTED.fullmatch(name) is not None


def owner(name: str) -> str:
    """Return the module of a parameter; empty for one of the model itself.

    Examples:
        >>> owner("layer1.0.weight"), owner("scale")
        ('layer1.0', '')
    """
    return name.rpartition(".")[0]


def weight_after(bias: str) -> str | None:
    """Return the name of the weight that a bias belongs to, or ``None`` where it is no bias.

    Examples:
        >>> weight_after("fc3.bias"), weight_after("attn.in_proj_bias")
        ('fc3.weight', 'attn.in_proj_weight')
        >>> weight_after("rnn.bias_hh_l0"), weight_after("scale") is None
        ('rnn.weight_hh_l0', True)
    """
    module, dot, leaf = bias.rpartition(".")
    parts = leaf.split("_")
    if not dot or "bias" not in parts:
        return None
    return module + dot + "_".join("weight" if part == "bias" else part for part in parts)


def find_module(node: Node, tensor_name: str) -> str:
    """Return the path of the module that a node belongs to; empty where nothing says it.

    The notes of PyTorch's newer exporter, then the path in the node's name, then that in the name
    of the tensor it takes.

    Examples:
        >>> find_module(Node(0, name="/fc3/MatMul"), "onnx::MatMul_26")
        'fc3'
        >>> find_module(Node(0, name="/layer1/layer1.0/conv1/Conv"), "onnx::Conv_24")
        'layer1.0.conv1'
        >>> find_module(Node(0, name="model/c1_1/convolution"), "const_fold_opt__53")
        'model.c1_1'
    """
    scopes = node.notes.get(NAME_SCOPES)
    if scopes is not None and _SCOPES.fullmatch(scopes):
        parts = _PART.findall(scopes)
        return parts[-2] if len(parts) > 1 else ""
    if node.name.startswith("/"):
        return _joined(node.name.split("/")[1:-1])
    if "/" in node.name:
        return _tensorflow(node.name)
    return _tensorflow(tensor_name) if "/" in tensor_name[1:] else ""


def _joined(parts: list[str]) -> str:
    """Join the parts of a node's path, of which those in containers repeat the container."""
    path: list[str] = []
    if len(parts) > _MAX_PARTS:
        return ""
    for part in parts:
        if path and part.startswith(f"{path[-1]}."):
            path.extend(part[len(path[-1]) + 1 :].split("."))
            continue
        joined = ".".join(path)
        if joined and part.startswith(f"{joined}."):
            path = part.split(".")
            continue
        for size in range(len(path) - 1, 0, -1):
            tail = ".".join(path[-size:])
            if part.startswith(f"{tail}."):
                path.extend(part[len(tail) + 1 :].split("."))
                break
        else:
            path.append(part)
    return ".".join(path)


def _tensorflow(name: str) -> str:
    parts = name.partition(";")[0].partition(":")[0].split("/")
    if "/" in name and parts[-1] not in _TENSORFLOW_PARTS:
        parts = parts[:-1]
    kept = [part for part in parts if part not in _TENSORFLOW_PARTS | _ROOT_CALLS]
    return ".".join(part.replace(".", "_") for part in kept)


def plain(name: str) -> str:
    """Return the name of a tensor that nothing names better, without what files cannot have.

    Examples:
        >>> plain("onnx::MatMul_26"), plain("model/dense/kernel:0")
        ('onnx__MatMul_26', 'model.dense.kernel')
    """
    text = name.removesuffix(":0").strip("/").replace("/", ".")
    return text.replace(":", "_") or "tensor"
