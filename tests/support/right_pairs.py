"""Pairs of models in which nothing is wrong, and what the search for causes says of them.

Hand-written Keras models with the module that ``scaffold`` writes for them, the bench's own pairs
before anything is planted, and keras.applications with scaffolded modules or torchvision's. All
weights are random; BatchNorm statistics are near those of the signal, so that it reaches the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import oracles
from support import fault_pairs
from support.scaffold_models import MODELS
from support.scaffolding import run_source

import converter
from converter.mapping.rules import ModelValue
from converter.scaffold.writing import write_source
from converter.validation.causes_of import find_causes
from converter.validation.comparison import Comparison, Options
from converter.validation.inputs import inputs_of, make_inputs
from converter.validation.keras_side import LiveKeras
from converter.validation.randomised import random_arrays
from converter.validation.report import Report

# One of each family of keras.applications, and its siblings that have a different graph.
APPLICATIONS = """
    ConvNeXtTiny DenseNet121 EfficientNetB0 EfficientNetV2B0 InceptionResNetV2
    InceptionV3 MobileNet MobileNetV2 MobileNetV3Large MobileNetV3Small ResNet50
    ResNet101 ResNet50V2 VGG16 VGG19 Xception
"""
TWINS = {
    "DenseNet121": ("densenet121", "densenet"),
    "ConvNeXtTiny": ("convnext_tiny", "convnext"),
}
SIZES = {"InceptionResNetV2": (75, 97, 3), "InceptionV3": (75, 97, 3), "Xception": (75, 97, 3)}


@dataclass(frozen=True)
class Judged:
    """What is said of a right pair, the search for causes forced to run."""

    report: Report
    floors: float
    layers: int
    causes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Right:
    """A right pair: what builds it, where it is from, and whether PyTorch takes Keras' layout."""

    name: str
    origin: str
    build: Callable[[], tuple[Any, Any, Any]]
    is_as_in_keras: bool = False


def judge(pair: Right) -> Judged:
    """Compare a pair, and look for causes although nothing differs."""
    import keras

    keras.backend.clear_session()
    started = time.monotonic()
    model, module, plan = pair.build()
    layouts = {one.name: "same" for one in model.inputs if pair.is_as_in_keras}
    options = Options(inputs=_said(model), layouts=layouts)
    keras_side = LiveKeras(model)
    comparison = Comparison(keras_side, module, options, plan)
    found = comparison.run(None)
    arrays = comparison.arrays
    explained = find_causes(keras_side, module, plan, arrays, comparison.torch_inputs(arrays))
    report = Report("outputs", found.rows, len(found.rows), found.notices, controls=found.controls)
    return Judged(
        report,
        max(row.floors or 0.0 for row in found.rows),
        len(explained.trace),
        tuple(f"{one.layer}: {one.cause or 'unknown'}" for one in explained.findings),
        time.monotonic() - started,
    )


def _bench(name: str) -> tuple[Any, Any, Any]:
    pair = fault_pairs.build(name)
    return pair.model, pair.module, pair.plan.plan


def _scaffolded(make: Callable[[], Any]) -> tuple[Any, Any, Any]:
    model = make()
    checkpoint = converter.open(model)
    module = run_source(write_source(checkpoint)).eval()
    conversion = converter.plan(checkpoint, mapping="by-kind", to="torch")
    return _filled(model, module, conversion)


def _twin(name: str) -> tuple[Any, Any, Any]:
    factory, mapping = TWINS[name]
    module = getattr(oracles.torchvision().models, factory)(weights=None, num_classes=7).eval()
    model = _application(name)
    return _filled(model, module, converter.plan(model, to="torch", mapping=mapping))


def _filled(model: Any, module: Any, conversion: Any) -> tuple[Any, Any, Any]:
    LiveKeras(model).load(random_arrays(conversion.plan, conversion.source, seed=3))
    _near_the_signal(model)
    module.load_state_dict(conversion.state_dict(), strict=True)
    return model, module, conversion.plan


def _application(name: str) -> Any:
    import keras

    shape = SIZES.get(name, (65, 43, 3))
    make = getattr(keras.applications, name)
    return make(weights=None, input_shape=shape, classes=7, classifier_activation=None)


def _near_the_signal(model: Any) -> None:
    """Give every BatchNorm the statistics of a random batch, each off by its own part."""
    import keras
    import torch

    norms = [one for one in _layers(model) if isinstance(one, keras.layers.BatchNormalization)]
    if not norms:
        return
    random = np.random.default_rng(5)
    for one in norms:
        one.momentum = 0.0
    batch = list(make_inputs(inputs_of(model, _said(model)), seed=5, batch=16).values())
    with torch.no_grad():
        model(batch if len(batch) > 1 else batch[0], training=True)
    for one in norms:
        one.momentum = 0.99
        statistics = one.moving_mean.value, one.moving_variance.value
        mean, variance = (np.array(value.detach()) for value in statistics)
        mean = mean + 0.2 * np.sqrt(variance) * random.standard_normal(mean.shape)
        one.moving_mean.assign(mean.astype("float32"))
        one.moving_variance.assign(
            (variance * random.uniform(0.7, 1.4, mean.shape)).astype("float32")
        )


def _said(model: Any) -> tuple[ModelValue, ...]:
    """Return that a model takes pixels, where it scales them itself."""
    kinds = {type(one).__name__ for one in model.layers}
    return (ModelValue(low=0.0, high=255.0),) if "Rescaling" in kinds else ()


def _layers(layer: Any) -> Iterator[Any]:
    for child in getattr(layer, "layers", ()):
        yield child
        yield from _layers(child)


BENCH = [
    Right(name, "the bench", lambda n=name: _bench(n), is_as_in_keras=name == "sequence")
    for name in fault_pairs.PAIRS
]
WRITTEN = [
    Right(name, "hand-written", lambda m=make: _scaffolded(m)) for name, make in MODELS.items()
]
KNOWN = [
    Right(name, "keras.applications", lambda n=name: _scaffolded(lambda: _application(n)))
    for name in APPLICATIONS.split()
]
KNOWN.append(Right("DenseNet121, torchvision", "keras.applications", lambda: _twin("DenseNet121")))
# Keras' ConvNeXt normalises its input inside; torchvision's takes it normalised.
UNLIKE = Right("ConvNeXtTiny, torchvision", "keras.applications", lambda: _twin("ConvNeXtTiny"))
RIGHT = [*BENCH, *WRITTEN, *KNOWN]
