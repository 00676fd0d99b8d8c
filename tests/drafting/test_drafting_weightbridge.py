"""Side by side with weightbridge, on the pairs that it can express: one tensor to one tensor.

What was measured stands in ``report/drafting_weightbridge.md``.

Source: weightbridge 0.0.4, ``matcher.py``, ``adapt``; its formats "tensorflow" and "pytorch" hold
one order of axes each, for all tensors of two and more axes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.drafting_bench import measure
from support.drafting_pairs import PAIRS, Pair
from support.drafting_sequences import SEQUENCES
from support.drafting_various import VARIOUS
from support.drafting_vision import VISION

import converter

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles, pytest.mark.long]

REPORT = Path(__file__).parents[2] / "report" / "drafting_weightbridge.md"
# Its vocabulary of leaves is PyTorch's, and "kernel".
_LEAVES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "embeddings": "weight",
}
_COUNTER = "num_batches_tracked"


def _layer_of(name: str) -> str:
    return name.rpartition("/")[0]


def _module_of(name: str) -> str:
    return name.rpartition(".")[0]


def _sides(pair: Pair) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return Keras tensors, each filled with its own number, and PyTorch tensors of any values."""
    import keras

    keras.backend.clear_session()
    manifest = converter.open(pair.keras()).manifest
    first = {
        spec.name: np.full(spec.shape, place, "float32")
        for place, spec in enumerate(manifest.tensors.values())
    }
    state = pair.torch().state_dict()
    return first, {
        name: value.numpy() for name, value in state.items() if not name.endswith(_COUNTER)
    }


def _is_expressible(pair: Pair, keras: dict[str, Any], torch: dict[str, Any]) -> bool:
    """Whether every layer has a module of its own, with as many tensors."""
    return len({*pair.truth.values()}) == len(pair.truth) and all(
        sum(_layer_of(name) == layer for name in keras)
        == sum(_module_of(name) == module for name in torch)
        for layer, module in pair.truth.items()
    )


def _paired(keras: dict[str, Any], torch: dict[str, Any]) -> dict[str, set[str]]:
    """Return PyTorch module to the layers that weightbridge takes its tensors from."""
    weightbridge = pytest.importorskip("weightbridge")
    renamed = {}
    for name, value in keras.items():
        layer, _, leaf = name.rpartition("/")
        renamed[f"{layer}/{_LEAVES.get(leaf, leaf)}"] = value
    adapted = weightbridge.adapt(
        renamed, torch, in_format="tensorflow", out_format="pytorch",
        in_separator="/", out_separator=".",
    )  # fmt: skip
    names = list(keras)
    found: dict[str, set[str]] = {}
    for name, value in adapted.items():
        layer = _layer_of(names[int(np.asarray(value).flat[0])])
        found.setdefault(_module_of(name), set()).add(layer)
    return found


def _other(pair: Pair, keras: dict[str, Any], torch: dict[str, Any]) -> tuple[int, str]:
    """Return how many layers weightbridge pairs right, and how it ended."""
    began = time.perf_counter()
    try:
        found = _paired(keras, torch)
    except Exception as error:  # its own refusals are plain exceptions and assertions
        return 0, f"refused ({type(error).__name__}), {time.perf_counter() - began:.1f} s"
    right = sum(found.get(module) == {layer} for layer, module in pair.truth.items())
    return right, f"{time.perf_counter() - began:.1f} s"


def test_side_by_side_with_weightbridge():
    pytest.importorskip("weightbridge")
    lines = [
        "| pair | weightbridge 0.0.4 | converter draft, by names | |",
        "| --- | ---: | ---: | --- |",
    ]
    ours, theirs, layers, models = 0, 0, 0, [0, 0, 0]
    for pair in [*PAIRS, *VISION, *SEQUENCES, *VARIOUS]:
        keras, torch = _sides(pair)
        if not _is_expressible(pair, keras, torch):
            continue
        count = len(pair.truth)
        right, how = _other(pair, keras, torch)
        own = measure(pair, named=True, run=False).right
        lines.append(f"| {pair.name} | {right}/{count} | {own}/{count} | {how} |")
        ours, theirs, layers = ours + own, theirs + right, layers + count
        models = [models[0] + 1, models[1] + (right == count), models[2] + (own == count)]
    lines.append(f"| layers of all {models[0]} | {theirs}/{layers} | {ours}/{layers} | |")
    lines.append(f"| models entirely right | {models[1]} | {models[2]} | |")
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert models[0] >= 15
    assert ours >= theirs
