"""Factories of models whose own constructors take more than plain arguments."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from converter._optional import is_installed, require
from converter.errors import MissingDependencyError, UsageError
from converter.live.factory import build


def transformers_model(model: str, **config: Any) -> Any:
    """Build a model of transformers from its class and the entries of its configuration.

    Args:
        model: Name of the class, such as ``BertModel``.
        config: Entries of the configuration; the others keep their defaults.

    Raises:
        UsageError: If transformers has no such model.
        MissingDependencyError: If transformers is not installed.

    Source:
        transformers 5.23.0 ``modeling_utils.py``, ``PreTrainedModel.config_class``.
    """
    if not is_installed("transformers"):
        raise MissingDependencyError(
            f"cannot build '{model}': transformers is not installed",
            facts=[("install", "pip install transformers")],
        )
    found: Any = getattr(importlib.import_module("transformers"), model, None)
    if getattr(found, "config_class", None) is None:
        raise UsageError(f"cannot build '{model}': transformers has no such model")
    return found(found.config_class(**config))


def narrowed(factory: str, sizes: Mapping[str, int], **arguments: Any) -> Any:
    """Build a Keras model of an architecture with other widths, its graph and its names unchanged.

    keras.applications fixes the widths of most families; a proof wants small ones, pairwise
    different.

    Args:
        factory: What builds the wide model; it is built without its values.
        sizes: Number of filters or units to what takes its place, for a layer by its name or for
            all layers by the number.
        arguments: Of the factory.
    """
    keras = require("keras", why=f"cannot build '{factory}'", extra="keras")
    config = build(factory, arguments, family="keras", meta=True).get_config()
    for layer in config["layers"]:
        inner = layer["config"]
        layer.pop("build_config", None)  # the shapes of the wide one
        for key in ("filters", "units"):
            if key in inner:
                width = sizes.get(str(inner[key]), inner[key])
                inner[key] = sizes.get(inner["name"], width)
    return keras.Model.from_config(config)


def keras_hub_of_timm(
    architecture: str,
    *,
    tag: str = "",
    task: str = "",
    backbone: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Any:
    """Build the model of keras_hub that keras_hub itself takes for an architecture of timm.

    Args:
        architecture: Its name in timm, such as ``efficientnet_b5``.
        tag: That of its weights in timm, where the model depends on it.
        task: The class around the backbone, such as ``keras_hub.models:ResNetImageClassifier``;
            empty for the backbone alone.
        backbone: Further arguments of the backbone.
        arguments: Of the task.

    Source:
        keras_hub 0.32.0 ``utils/timm/preset_loader.py``, ``TimmPresetLoader``.
    """
    require("keras", why=f"cannot build '{architecture}'", extra="keras")
    module = importlib.import_module("keras_hub.src.utils.timm.preset_loader")
    config = {"architecture": architecture, "pretrained_cfg": {"tag": tag}}
    loader = module.TimmPresetLoader(architecture, config)
    found = loader.load_backbone(
        loader.check_backbone_class(), load_weights=False, **(backbone or {})
    )
    return build(task, {"backbone": found, **arguments}, family="keras") if task else found


def masked_lm_everywhere(factory: str, **arguments: Any) -> Any:
    """Build a MaskedLM of keras_hub that predicts the word at every position, as PyTorch's do.

    Keras asks for the positions that are masked, and gives predictions for those alone.

    Args:
        factory: What builds the task, such as ``keras_hub.models:BertMaskedLM``.
        arguments: Of the factory.

    Source:
        keras_hub 0.32.0 ``layers/modeling/masked_lm_head.py``, ``MaskedLMHead.call``.
    """
    keras = require("keras", why=f"cannot build '{factory}'", extra="keras")
    task = build(factory, arguments, family="keras")
    inputs = task.backbone.input
    hidden = task.backbone(inputs)
    if isinstance(hidden, dict):  # others than RoBERTa give the pooled output too
        hidden = hidden["sequence_output"]
    positions = keras.ops.cumsum(keras.ops.ones_like(inputs["token_ids"]), axis=1) - 1
    return keras.Model(inputs, task.masked_lm_head(hidden, positions))


def in_turn(parts: Sequence[Any]) -> Any:
    """Build what runs these PyTorch modules one after the other, such as a padding and a pooling.

    Args:
        parts: The modules.
    """
    torch = require("torch", why="cannot run modules in turn", extra="torch")
    return torch.nn.Sequential(*parts)


def with_biases(factory: str, names: Sequence[str], **arguments: Any) -> Any:
    """Build a PyTorch module some of whose layers add a bias that they usually lack.

    Args:
        factory: What builds the module.
        names: How the names of those layers end, such as ``downsample.conv``.
        arguments: Of the factory.

    Raises:
        UsageError: If no layer has such a name, or if it has no weight.
    """
    torch = require("torch", why=f"cannot build '{factory}'", extra="torch")
    module = build(factory, arguments, family="torch")
    for name in names:
        found = [part for path, part in module.named_modules() if f".{path}".endswith(f".{name}")]
        if not found or any(getattr(part, "weight", None) is None for part in found):
            raise UsageError(f"cannot build '{factory}': it has no layer '{name}' to add a bias to")
        for part in found:
            part.bias = torch.nn.Parameter(torch.zeros(part.weight.shape[0]))
    return module


def without_last(factory: str, **arguments: Any) -> Any:
    """Build a Keras model without its last layer: Segformer's of keras_hub resizes the result.

    Args:
        factory: What builds the model.
        arguments: Of the factory.

    Raises:
        UsageError: If the last layer has weights.
    """
    keras = require("keras", why=f"cannot build '{factory}'", extra="keras")
    model = build(factory, arguments, family="keras")
    last = model.layers[-1]
    if last.weights:
        raise UsageError(f"cannot leave out the last layer of '{factory}': it has weights")
    return keras.Model(model.inputs, last.input)


def with_arguments(factory: str, calls: Mapping[str, Mapping[str, Any]], **arguments: Any) -> Any:
    """Build a PyTorch module whose calls of some functions get other arguments.

    What a module does by calling a function (torchvision's InceptionV3 averages so) no attribute
    can change. The module is traced; its parts and its names stay.

    Args:
        factory: What builds the module.
        calls: Name of a function to the keyword arguments that its calls get.
        arguments: Of the factory.

    Returns:
        The module, with what was changed as its attribute ``changed_calls``.

    Raises:
        UsageError: If the module calls no such function.
    """
    module = build(factory, arguments, family="torch").eval()
    traced = _traced(module)
    found = set()
    for node in traced.graph.nodes:
        name = getattr(node.target, "__name__", "") if node.op == "call_function" else ""
        if name in calls:
            node.kwargs = {**node.kwargs, **calls[name]}
            found.add(name)
    for name in calls.keys() - found:
        raise UsageError(f"cannot change '{factory}': it calls no function '{name}'")
    traced.recompile()
    traced.changed_calls = SimpleNamespace(
        **{name: SimpleNamespace(**changed) for name, changed in calls.items()}
    )
    return traced


def _traced(module: Any) -> Any:
    """Return a module as a graph of calls; what holds tensors itself stays as it is."""
    fx = importlib.import_module("torch.fx")
    tracer = fx.Tracer()
    usual = tracer.is_leaf_module

    def is_leaf(part: Any, name: str) -> bool:
        return any(True for _ in part.parameters(recurse=False)) or bool(usual(part, name))

    tracer.is_leaf_module = is_leaf
    return fx.GraphModule(module, tracer.trace(module))
