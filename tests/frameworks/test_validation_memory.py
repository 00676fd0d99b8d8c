"""Looking for the layers that differ: what every layer made does not stay in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it is read from /proc"),
]
# 24 convolutions of 9 MiB each: 226 MiB of activations in one run of one side.
PROGRAM = """
import json, sys, threading, time
from pathlib import Path

import keras
import torch
from torch import nn

import converter
from converter.validation import shelf
from support.validation_pair import randomise

shelf.BUDGET = int(sys.argv[1])
layers = keras.layers
convs = [layers.Conv2D(48, 3, padding="same", activation="relu", name=f"c{i}") for i in range(24)]
stack = [keras.Input((128, 128, 3)), *convs, layers.GlobalAveragePooling2D()]
model = randomise(keras.Sequential([*stack, layers.Dense(5, name="head")]))
for conv in convs[1:]:
    conv.kernel.assign(conv.kernel * 0.17)


class Twin(nn.Module):
    def __init__(self):
        super().__init__()
        for i in range(24):
            setattr(self, f"c{i}", nn.Conv2d(3 if i == 0 else 48, 48, 3, padding=1))
        self.head = nn.Linear(48, 5)

    def forward(self, x):
        for i in range(24):
            x = torch.relu(getattr(self, f"c{i}")(x))
        return self.head(x.mean((2, 3)))


def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(one for one in lines if one.startswith("RssAnon")).split()[1]) >> 10


def sample():
    while True:
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.005)


module = Twin()
module.load_state_dict(converter.plan(model, to="torch").state_dict())
module.c11.weight.data = module.c11.weight.data.flip(2, 3)
peak = [0]
threading.Thread(target=sample, daemon=True).start()
peaks = []
for explain in (False, True):
    peak[0] = 0
    report = converter.validate(model, module, control_seconds=0, explain=explain)
    peaks.append(peak[0])
found = [[one.layer, one.cause] for one in report.findings]
print(json.dumps({"peaks": peaks, "found": found}))
"""
_LIMIT = 1000  # MiB


def grown(budget: int) -> int:
    """Return how much more memory explaining takes than comparing alone, in MiB."""
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(budget)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"},
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["found"] == [["c11", "theano_flip"]]
    before, after = told["peaks"]
    return after - before


def test_activations_beyond_the_budget_lie_in_files() -> None:
    assert grown(1 << 28) < _LIMIT


def test_without_a_budget_they_would_not() -> None:
    assert grown(1 << 40) > _LIMIT
