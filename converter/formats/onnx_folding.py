"""BatchNormalization that an exporter multiplied into a convolution: recognised, and said.

The product cannot be taken apart again: the file has one weight and one bias where the model has a
weight and four statistics.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from converter.formats.onnx_graph import REWRITE_RULE, Node
from converter.formats.onnx_names import is_torch, own_name
from converter.formats.onnx_uses import Use

_RULE = re.compile(r"Fuse\w*BatchNorm\w*|BatchNorm\w*Into\w*")
# tf2onnx joins the names of what it folds.
_NAME = re.compile(r"FusedBatchNorm|BatchNormalization", re.IGNORECASE)
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


def is_folded(node: Node, producer: str) -> bool:
    """Whether the parameters of a node are products with those of a BatchNormalization.

    Source: torch 2.13, onnxscript 0.7 (the rewrite rule is noted at the node, the new bias is
    called after the weight) and torch/csrc/jit/passes/onnx/eval_peephole.cpp (``fuseConvBatchNorm``
    gives weight and bias new names, which otherwise only a transposed weight gets).

    Examples:
        >>> is_folded(Node(0, op="Conv", inputs=["x", "onnx::Conv_5", "onnx::Conv_6"]), "pytorch")
        True
        >>> is_folded(Node(0, op="Conv", inputs=["x", "c.weight", "c.bias"]), "pytorch")
        False
    """
    if _RULE.search(node.notes.get(REWRITE_RULE, "")):
        return True
    if node.op not in _CONVOLUTIONS or len(node.inputs) < 3:
        return False
    weight, bias = node.inputs[1:3]
    if any(_NAME.search(name) for name in (weight, bias)) or bias == f"{weight}_bias":
        return True
    return is_torch(producer) and all(
        name.startswith("onnx::") and own_name(name, producer) is None for name in (weight, bias)
    )


def find_folded_weight(name: str, uses: Iterable[Use]) -> str | None:
    """Return the weight after which the bias that folding made is called, or ``None``."""
    for use in uses:
        weight = name.removesuffix("_bias")
        if use.node.op in _CONVOLUTIONS and weight != name and use.node.inputs[1:2] == [weight]:
            return weight
    return None
