"""The bench of planted faults with Keras in another process: the same places and causes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import pytest
from support.bench import FAULTS
from support.fault_pairs import build
from support.fault_table import fault_row
from support.faults import Fault

from converter.validation.causes.table import CAUSES
from converter.validation.causes_of import Explained, find_causes
from converter.validation.keras_process import ChildKeras, Opening, Process
from converter.validation.keras_side import KerasSide, LiveKeras

TENSORFLOW = os.environ.get(
    "WEIGHTFERRY_TENSORFLOW_PYTHON"
)  # What makes up for it is told by Keras' own function, which is in the other process.
ASKING = [one for one in FAULTS if one[0] == "Keras 2's hard sigmoid"]

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
]


@dataclass(frozen=True)
class Children:
    """One child for each model of the bench: faults are planted in the PyTorch side alone."""

    where: Process
    folder: Any
    opened: dict[str, KerasSide]

    def of(self, name: str, model: Any) -> KerasSide:
        if name not in self.opened:
            path = self.folder / f"{len(self.opened)}.keras"
            model.save(path)
            self.opened[name] = ChildKeras(self.where, Opening(name, path))
        return self.opened[name]


def opened(where: Process, folder: Any) -> Iterator[Children]:
    children = Children(where, folder, {})
    yield children
    for one in children.opened.values():
        one.close()


@pytest.fixture(scope="module")
def on_torch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    yield from opened(Process("torch"), tmp_path_factory.mktemp("torch"))


@pytest.fixture(scope="module")
def on_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    yield from opened(Process("tensorflow", TENSORFLOW), tmp_path_factory.mktemp("tensorflow"))


def explained(fault: Fault, side: Callable[[str, Any], KerasSide]) -> Explained:
    _, name, plant, _, _ = fault
    keras.backend.clear_session()
    pair = build(name)
    plant(pair.module)
    keras_side = side(name, pair.model)
    return find_causes(keras_side, pair.module, pair.plan, pair.arrays, ([pair.moved], {}))


def check(fault: Fault, children: Children) -> None:
    there = explained(fault, children.of)
    row = fault_row(fault, there.findings)
    assert row.named == "right", row
    assert [told for one in there.findings for told in one.untried] == []
    if not (fault in ASKING or any(CAUSES[one.cause].by_weights for one in there.findings)):
        return  # nothing that weights could make up for
    here = explained(fault, lambda _, model: LiveKeras(model))
    assert [one.is_compensated for one in there.findings] == [
        one.is_compensated for one in here.findings
    ]
    assert sorted(there.changes) == sorted(here.changes)
    assert [one.layer for one in there.trace] == [one.layer for one in here.trace]


@pytest.mark.parametrize("fault", ASKING, ids=[fault[0] for fault in ASKING])
def test_what_is_asked_of_the_other_process(fault: Fault, on_torch: Children) -> None:
    check(fault, on_torch)


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_fault_is_named_with_keras_in_another_process(fault: Fault, on_torch: Children) -> None:
    check(fault, on_torch)


@pytest.mark.long
@pytest.mark.skipif(TENSORFLOW is None, reason="WEIGHTFERRY_TENSORFLOW_PYTHON names no interpreter")
@pytest.mark.parametrize("fault", FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_fault_is_named_with_keras_on_tensorflow(fault: Fault, on_tensorflow: Children) -> None:
    check(fault, on_tensorflow)
