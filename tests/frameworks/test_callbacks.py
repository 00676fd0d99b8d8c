"""The callbacks in real trainings of both frameworks: what they record, warn of, save and cost."""

import subprocess
import sys

import numpy as np
import pytest
from support.keras_files import small_network

import converter
from converter.callbacks import SafetensorsCheckpoint, WeightWarning, WeightWatcher
from converter.errors import UsageError
from converter.inspection.series import read_record
from converter.inspection.watching import Watch

pytestmark = pytest.mark.frameworks


def compiled(rate=0.01):
    import keras

    model = small_network()
    model.compile(keras.optimizers.SGD(rate), "mse", metrics=["mae"])
    random = np.random.default_rng(2)
    x = random.normal(size=(12, 6, 5, 3)).astype(np.float32)
    return model, x, random.normal(size=(12, 11)).astype(np.float32)


def test_a_keras_training_is_recorded_with_the_numbers_of_numpy(tmp_path):
    import keras

    model, x, y = compiled(1e-4)
    watcher = WeightWatcher(tmp_path / "a.jsonl")
    assert isinstance(watcher, WeightWatcher)
    assert isinstance(watcher, keras.callbacks.Callback)
    start = model.get_weights()[0].astype(float)
    model.fit(x, y, epochs=2, batch_size=4, verbose=0, callbacks=[watcher])
    end = model.get_weights()[0].astype(float)
    moments = read_record(tmp_path / "a.jsonl")
    assert [moment.label for moment in moments] == ["start", "epoch 1", "epoch 2"]
    first, last = (next(p for p in moments[n].points if p.name == "stem/kernel") for n in (0, -1))
    assert first.norm == pytest.approx(np.linalg.norm(start))
    assert first.update is None
    assert last.norm == pytest.approx(np.linalg.norm(end))
    expected = np.linalg.norm(end - start) / np.linalg.norm(start)
    assert last.distance == pytest.approx(expected)
    assert "norm/moving_mean" not in {point.name for point in moments[0].points}


def test_a_look_every_so_many_steps(tmp_path):
    model, x, y = compiled(1e-4)
    watcher = WeightWatcher(every=2)
    model.fit(x, y, epochs=2, batch_size=4, verbose=0, callbacks=[watcher])
    assert [moment.label for moment in watcher.moments] == ["start", "step 2", "step 4", "step 6"]


def test_a_training_that_explodes_is_warned_of_at_once():
    model, x, y = compiled(1e6)
    with pytest.warns(WeightWarning) as caught:
        model.fit(x, y, batch_size=4, verbose=0, callbacks=[WeightWatcher(every=1)])
    texts = [str(one.message) for one in caught if one.category is WeightWarning]
    assert texts[0].startswith("step 1: exploding: 'stem/kernel' has values up to ")


def test_a_frozen_layer_is_no_mistake_and_a_forgotten_one_is():
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Linear(3, 2))
    module[0].requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD([module[1].weight], 0.1)  # the bias was forgotten
    watcher = WeightWatcher()
    watcher.step(module, 0)
    module(torch.ones(4, 5)).square().sum().backward()
    optimizer.step()
    with pytest.warns(WeightWarning) as caught:
        watcher.step(module, 1)
    assert [str(one.message) for one in caught] == [
        "1: frozen: '1.bias' is trainable and has not changed since the last look"
    ]


LOOKS = [
    ("nan", [1, 2], [np.nan, 2], True, "not finite: 'a' has 1 of 2 values NaN or infinite"),
    ("dead", [1, 2], [0, 0], True, "dead: every value of 'a' has become zero"),
    ("exploding", [1, 2], [2e4, 2], True, "exploding: 'a' has values up to 2e+04"),
    ("grown", [1e-3, 0], [1, 0], True, "exploding: 'a' has values up to 1"),
    ("frozen", [1, 2], [1, 2], True,
     "frozen: 'a' is trainable and has not changed since the last look"),
    ("moved", [1, 2], [1, 3], False, "moved: 'a' is not trainable and has changed"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "now", "meant", "text"), [one[1:] for one in LOOKS],
                         ids=[one[0] for one in LOOKS])  # fmt: skip
def test_each_trouble_is_said_once(before, now, meant, text):
    watch = Watch()
    trained = {"a": meant}
    assert watch.look("0", {"a": np.array(before, float)}, trained).warnings == ()
    assert watch.look("1", {"a": np.array(now, float)}, trained).warnings == (text,)
    assert watch.look("2", {"a": np.array(now, float)}, trained).warnings == () or meant is False


def test_healthy_weights_give_no_warning():
    watch = Watch()
    for step in range(4):
        moment = watch.look(str(step), {"a": np.array([1.0, 2 + step])}, {"a": True})
        assert moment.warnings == ()


def test_a_training_leaves_files_that_torch_opens_and_that_load_restores(tmp_path):
    from safetensors.torch import load_file

    model, x, y = compiled(1e-4)
    saver = SafetensorsCheckpoint(tmp_path / "e{epoch:02}.safetensors", every=2)
    model.fit(x, y, epochs=5, batch_size=4, verbose=0, callbacks=[saver])
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "e02.safetensors",
        "e04.safetensors",
    ]
    assert load_file(tmp_path / "e04.safetensors")["stem.weight"].shape == (7, 3, 2, 4)
    saver.on_epoch_end(5)
    fresh = small_network()
    converter.load(fresh, tmp_path / "e06.safetensors")
    pairs = zip(fresh.get_weights(), model.get_weights(), strict=True)
    assert all(one.tobytes() == other.tobytes() for one, other in pairs)


def test_only_the_best_is_saved(tmp_path):
    model, *_ = compiled()
    saver = SafetensorsCheckpoint(tmp_path / "best.safetensors", monitor="val_loss")
    saver.set_model(model)
    written = []
    for epoch, loss in enumerate([3.0, 2.0, 2.5, 1.0]):
        before = saver.written
        saver.on_epoch_end(epoch, {"val_loss": loss})
        written.append(saver.written is not before)
    assert written == [True, True, False, True]
    assert saver.best == 1.0
    with pytest.raises(UsageError) as caught:
        saver.on_epoch_end(4, {"loss": 1.0})
    assert (
        str(caught.value) == "cannot save the best: the training has no 'val_loss'\n  found  loss"
    )


def test_the_module_imports_no_framework_and_serves_without_one():
    code = (
        "import sys\n"
        "from converter.callbacks import WeightWatcher\n"
        "watcher = WeightWatcher()\n"
        "assert not {'keras', 'torch', 'tensorflow'} & set(sys.modules)\n"
        "try:\n    watcher.on_train_begin()\n"
        "except ValueError as error:\n    print(error)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout == (
        "cannot look: the callback was made before Keras was imported\n"
        "  hint  import keras first, or call watcher.step(model, epoch)\n"
    )
