"""RNN of cells: one module where PyTorch stacks equal cells, a loop over modules elsewhere."""

from __future__ import annotations

from typing import Any

from converter.errors import UnsupportedFileError
from converter.graph.nodes import Layer
from converter.mapping.naming import module_name
from converter.scaffold.activations import activation_name
from converter.scaffold.dense import called_parts
from converter.scaffold.program import Attr, Code, Literal, Part, Use, call
from converter.scaffold.recurrent import STATES, as_one_layer, called, module_of, run
from converter.scaffold.scope import Translation

_CELLS = {"LSTMCell": "nn.LSTMCell", "GRUCell": "nn.GRUCell", "SimpleRNNCell": "nn.RNNCell"}


def of_cells(t: Translation) -> None:
    """RNN of one cell, or of several on top of each other."""
    layer = as_one_layer(t.layer)
    if layer.class_name in STATES:
        run(t, layer, None)
        return
    held = t.layer.parts.get("cell", ())
    cells = held[0].parts.get("cells", ()) if held else ()
    if not cells or any(cell.class_name not in _CELLS for cell in cells):
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': its cell is not one of Keras")
    for what in ("initial_state", "mask"):
        if t.call.keywords.get(what) is not None:
            raise UnsupportedFileError(f"cannot scaffold '{t.path}': its cells take a {what}")
    if t.config.get("return_state") or t.first.mask is not None:
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': its cells give states or skip")
    use = t.use("keras")
    if t.config.get("go_backwards"):
        use = Use(t.write((use, ".flip(1)")))
    number = _alike(t, cells, use) if t.kind else _mixed(t, held[0], cells, use)
    t.give(number, "keras")


def _alike(t: Translation, cells: tuple[Layer, ...], use: Use) -> int:
    """Write a module with several layers."""
    name = cells[0].class_name.removesuffix("Cell")
    first = Layer(t.path, name, {**cells[0].config, **t.config})
    member = t.member(module_of(t, first, layers=len(cells)))
    number, _ = called(t, first, (Attr(member),), use, None)
    return number if t.config["return_sequences"] else t.write((Use(number), "[:, -1]"))


def _mixed(t: Translation, stack: Layer, cells: tuple[Layer, ...], use: Use) -> int:
    """Write a module for each cell and the loop that runs them."""
    made: dict[str, Code] = {}
    inputs = t.first.shape[-1]
    for cell in cells:
        made[module_name(cell.path).rpartition(".")[2]] = _cell(t, cell, inputs)
        inputs = cell.config["units"]
    below = module_name(stack.path).rpartition(".")[2]
    member = t.member(called_parts({below: called_parts(made)}))
    listed = ("list(", Attr(member), f'["{below}"].values())')
    name = t.snippet("run_cells")
    return t.write(call(name, listed, use, Literal(bool(t.config["return_sequences"]))))


def _cell(t: Translation, cell: Layer, inputs: Any) -> Code:
    config = cell.config
    activation = activation_name(config.get("activation"))
    gates = activation_name(config.get("recurrent_activation", "sigmoid"))
    plain = ("tanh", "relu") if cell.class_name == "SimpleRNNCell" else ("tanh",)
    if activation not in plain or gates != "sigmoid" or not config.get("reset_after", True):
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': a cell has its own activations")
    settings: dict[str, Part | Code] = {}
    if not config["use_bias"]:
        settings["bias"] = Literal(value=False)
    if activation == "relu":
        settings["nonlinearity"] = Literal("relu")
    sizes = Literal(inputs, "input_size"), Literal(config["units"], "hidden_size")
    return call(_CELLS[cell.class_name], *sizes, **settings)
