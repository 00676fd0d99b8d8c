"""Recurrent nodes of ONNX taken apart into the parameters of PyTorch's modules.

ONNX has one tensor for both directions, the gates in an order of its own, and both biases in one
tensor: ``W (directions, gates * hidden, input)``, ``R (directions, gates * hidden, hidden)``,
``B (directions, 2 * gates * hidden)``.

Source: onnx 1.23.2, docs/Operators.md, LSTM (gates i, o, f, c), GRU (z, r, h), RNN;
torch 2.13 torch/nn/modules/rnn.py (gates i, f, g, o and r, z, n).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from converter.errors import CorruptFileError, shape_text
from converter.formats.onnx_graph import Node
from converter.formats.onnx_placement import Parameter, Placement
from converter.formats.onnx_storage import Stored
from converter.formats.wording import cannot_read, quoted
from converter.tensors.dtype import Shape

# PyTorch's gates by their places in ONNX.
_GATES: Mapping[str, tuple[int, ...]] = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_SUFFIXES = ("", "_reverse")
INPUTS = {1: "weight_ih", 2: "weight_hh", 3: "bias"}


@dataclass(frozen=True, slots=True)
class Recurrent:
    """One recurrent layer: a node, its tensors, and the place among the layers of its module.

    Attributes:
        node: The node.
        module: The module's path; empty for the model itself.
        layer: Number of the layer within the module.
        tensors: ``weight_ih``, ``weight_hh`` and ``bias``, as far as they are tensors of the file.
    """

    node: Node
    module: str
    layer: int
    tensors: Mapping[str, Stored]

    def parameters(self, path: Path) -> Iterator[Parameter]:
        """Yield the parameters of the layer under their names in PyTorch.

        Args:
            path: The file, for messages.

        Raises:
            CorruptFileError: If the sizes do not fit the operation.
        """
        gates = _GATES[self.node.op]
        hidden = self._hidden(path)
        for part, stored in self.tensors.items():
            shape = stored.spec.shape
            rows = len(gates) * hidden
            per_direction = 2 * rows if part == "bias" else rows
            if len(shape) != (2 if part == "bias" else 3) or shape[1] != per_direction:
                raise self._misfit(path, stored)
            width = 1 if part == "bias" else shape[2]
            if shape[0] > len(_SUFFIXES):
                raise self._misfit(path, stored)
            for direction in range(shape[0]):
                begin = direction * per_direction * width
                for name, skipped in _halves(part, rows):
                    blocks = tuple(
                        (
                            begin + (skipped + gate * hidden) * width,
                            begin + (skipped + (gate + 1) * hidden) * width,
                        )
                        for gate in gates
                    )
                    size: Shape = (rows,) if part == "bias" else (rows, width)
                    full = f"{name}_l{self.layer}{_SUFFIXES[direction]}"
                    full = f"{self.module}.{full}" if self.module else full
                    yield Parameter(full, stored, Placement(size, rows=blocks))

    def _hidden(self, path: Path) -> int:
        given = self.node.attributes.get("hidden_size")
        if isinstance(given, int) and given > 0:
            return given
        for part in ("weight_hh", "weight_ih", "bias"):
            stored = self.tensors.get(part)
            if stored is not None:
                divisor = len(_GATES[self.node.op]) * (2 if part == "bias" else 1)
                if len(stored.spec.shape) < 2 or stored.spec.shape[1] % divisor:
                    raise self._misfit(path, stored)
                return stored.spec.shape[1] // divisor
        return 0

    def _misfit(self, path: Path, stored: Stored) -> CorruptFileError:
        return CorruptFileError(
            cannot_read(path, f"a tensor does not fit the {self.node.op} node that takes it"),
            facts=[
                ("node", quoted(self.node.name)),
                ("tensor", f"{quoted(stored.spec.name)}  {shape_text(stored.spec.shape)}"),
            ],
        )

    def notices(self) -> Iterator[str]:
        """Yield what is unlike PyTorch's modules."""
        name = quoted(self.module or self.node.name)
        if self.node.op == "GRU" and self.node.attributes.get("linear_before_reset", 0) != 1:
            yield (
                f"The GRU {name} resets before the matrix product (linear_before_reset=0), "
                "which torch.nn.GRU does not."
            )
        if self.node.attributes.get("direction") == b"reverse":
            yield f"The {self.node.op} {name} runs backwards only."
        if len(self.node.inputs) > 7 and self.node.inputs[7]:
            yield f"The LSTM {name} has peepholes, which torch.nn.LSTM does not have."


def _halves(part: str, rows: int) -> tuple[tuple[str, int], ...]:
    """Return the names of PyTorch in one tensor, with the rows before each."""
    return (("bias_ih", 0), ("bias_hh", rows)) if part == "bias" else ((part, 0),)
