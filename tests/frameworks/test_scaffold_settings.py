"""Settings that weights do not hold are those of the source: one small model for each kind."""

from __future__ import annotations

import pytest
from support.scaffold_settings import SETTINGS
from support.scaffolding import scaffold_and_compare

pytestmark = pytest.mark.frameworks


@pytest.fixture(autouse=True)
def _fresh_names():
    import keras

    keras.backend.clear_session()


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_the_outputs_are_those_of_keras(name):
    compared = scaffold_and_compare(SETTINGS[name]())
    assert compared.source.stubs == {}
    assert compared.report.verdict == "pass", "\n".join(compared.report.lines())
