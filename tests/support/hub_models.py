"""Both sides of a case of keras_hub and transformers, built."""

from __future__ import annotations

from typing import Any

import oracles
from support.hub_cases import CASES, Case
from support.hub_other_cases import OTHER_CASES

ALL = [*CASES, *OTHER_CASES]


def keras_model(case: Case) -> Any:
    """Return the Keras model of a case, with random weights everywhere."""
    models = oracles.keras_hub().models
    model = getattr(models, case.keras)(**case.arguments)
    if case.task:
        model = getattr(models, case.task)(backbone=model, preprocessor=None, **case.task_arguments)
    oracles.randomise_keras(model)
    return model


def torch_module(case: Case) -> Any:
    """Return the PyTorch module of a case, with the weights of its initialisation."""
    transformers = oracles.transformers()
    config = getattr(transformers, case.config)(**case.settings)
    config._attn_implementation = case.attention
    return getattr(transformers, case.torch)(config).eval()
