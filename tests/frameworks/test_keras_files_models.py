"""One model, one manifest: from memory, ``.keras``, ``.weights.h5``, shards and legacy ``.h5``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:.*legacy:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*np.object.*:FutureWarning"),
]

keras = pytest.importorskip("keras")

from support.keras_models import CUSTOM, FUNCTIONAL, randomised  # noqa: E402  # after the skip

from converter.formats.keras_archive import KerasArchive  # noqa: E402  # after the skip
from converter.formats.keras_legacy import KerasLegacy  # noqa: E402  # after the skip
from converter.formats.keras_sharded import KerasSharded  # noqa: E402  # after the skip
from converter.formats.keras_weights import KerasWeights  # noqa: E402  # after the skip
from converter.live.keras_model import KerasModelCheckpoint  # noqa: E402  # after the skip


def saved(model: Any, folder: Path, name: str) -> Path:
    path = folder / name
    model.save(path) if name.endswith((".keras", "model.h5")) else model.save_weights(path)
    return path


def architecture(model: Any, folder: Path) -> Path:
    path = folder / "architecture.json"
    path.write_text(model.to_json())
    return path


def check_values(checkpoint: Any, model: Any, *, in_order: bool = True) -> None:
    """Every weight is there once, bit by bit, and in the order of get_weights()."""
    found = [checkpoint.read(name) for name in checkpoint.manifest.tensors]
    expected = model.get_weights()
    if not in_order:
        found.sort(key=lambda array: (array.shape, array.tobytes()))
        expected.sort(key=lambda array: (array.shape, array.tobytes()))
    assert [array.shape for array in found] == [array.shape for array in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == np.ascontiguousarray(theirs).tobytes()
    names = {spec.name: spec for spec in checkpoint.manifest}
    for layer in checkpoint.manifest.layers:
        assert set(layer.tensors.values()) <= names.keys()


def described(checkpoint: Any) -> dict[str, Any]:
    """Layers with tensors: what mappings look at."""
    return {
        layer.path: (layer.class_name, dict(layer.tensors))
        for layer in checkpoint.manifest.layers
        if layer.tensors
    }


@pytest.fixture(params=FUNCTIONAL)
def model(request: pytest.FixtureRequest) -> Any:
    # An earlier model of the process moves Keras' counters, which must not show.
    for _ in range(2):
        keras.layers.Dense(2)
    return randomised(FUNCTIONAL[request.param]())


def test_archive_is_the_live_model(model: Any, tmp_path: Path) -> None:
    live = KerasModelCheckpoint(model)
    with KerasArchive(saved(model, tmp_path, "a.keras")) as found:
        check_values(found, model)
        assert list(found.manifest.tensors) == list(live.manifest.tensors)
        assert described(found) == described(live)
        assert found.manifest.notices == ()


def test_archive_says_what_feeds_what_as_the_live_model(model: Any, tmp_path: Path) -> None:
    live = {layer.path: layer.inbound for layer in KerasModelCheckpoint(model).manifest.layers}
    with KerasArchive(saved(model, tmp_path, "a.keras")) as found:
        for layer in found.manifest.layers:
            if layer.inbound and layer.path in live:
                # A layer that feeds itself (shared) is no news to whoever follows the graph.
                expected = [path for path in live[layer.path] if path != layer.path]
                assert list(layer.inbound) == expected, layer.path


def test_weights_with_architecture_are_the_live_model(model: Any, tmp_path: Path) -> None:
    live = KerasModelCheckpoint(model)
    path = saved(model, tmp_path, "a.weights.h5")
    with KerasWeights(path, architecture=architecture(model, tmp_path)) as found:
        check_values(found, model)
        assert list(found.manifest.tensors) == list(live.manifest.tensors)
        assert described(found) == described(live)


def test_bare_weights_have_every_value(model: Any, tmp_path: Path) -> None:
    with KerasWeights(saved(model, tmp_path, "a.weights.h5")) as found:
        check_values(found, model, in_order=False)


def test_legacy_is_the_live_model(model: Any, tmp_path: Path) -> None:
    live = KerasModelCheckpoint(model)
    with KerasLegacy(saved(model, tmp_path, "model.h5")) as found:
        check_values(found, model)
        assert list(found.manifest.tensors) == list(live.manifest.tensors)
        assert described(found) == described(live)


def test_shards_are_the_live_model(model: Any, tmp_path: Path) -> None:
    live = KerasModelCheckpoint(model)
    largest = max(array.nbytes for array in model.get_weights())
    path = tmp_path / "a.weights.json"
    model.save_weights(path, max_shard_size=(largest + 8) / 2**30)
    with KerasSharded(path, architecture=architecture(model, tmp_path)) as found:
        assert len(found.files) > 2
        check_values(found, model)
        assert list(found.manifest.tensors) == list(live.manifest.tensors)


@pytest.mark.parametrize("name", CUSTOM)
def test_custom_classes_keep_every_value(name: str, tmp_path: Path) -> None:
    model = randomised(CUSTOM[name]())
    live = KerasModelCheckpoint(model)
    with KerasArchive(saved(model, tmp_path, "a.keras")) as found:
        check_values(found, model, in_order=False)
        ours, theirs = set(found.manifest.tensors), set(live.manifest.tensors)
        # The file has no names for variables of a custom class, and positions instead.
        assert {name for name in ours if "vars/" not in name} <= theirs
        for tensor in ours & theirs:
            assert np.array_equal(found.read(tensor), live.read(tensor))
        assert len(ours) == len(theirs)


@pytest.mark.parametrize(("name", "reader"), [("m.keras", KerasArchive), ("model.h5", KerasLegacy)])
def test_a_wrapper_of_a_layer_without_weights_keeps_the_architecture(tmp_path, name, reader):
    layers = [keras.layers.TimeDistributed(keras.layers.Flatten()), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((3, 4, 5)), *layers])
    checkpoint = reader(saved(model, tmp_path, name))
    assert checkpoint.manifest.notices == ()
    assert "TimeDistributed" in [layer.class_name for layer in checkpoint.manifest.layers]
    checkpoint.close()
