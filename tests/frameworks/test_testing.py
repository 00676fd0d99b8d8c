"""``converter.testing`` in the test suite of a user."""

from __future__ import annotations

import pytest
import torch
from support.validation_pair import keras_network, twin

from converter.testing import assert_equivalent

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
]


def test_equal_models_give_their_report() -> None:
    model = keras_network()
    report = assert_equivalent(model, twin(model))
    assert report.verdict == "pass"
    assert report.controls


def test_a_difference_is_told_as_the_command_tells_it() -> None:
    model = keras_network()
    module = twin(model)
    with torch.no_grad():
        module.square.weight.copy_(module.square.weight.T.clone())
    with pytest.raises(AssertionError) as raised:
        assert_equivalent(model, module)
    first, *others = str(raised.value).splitlines()
    assert first == "fail: 1 output compared, 1 fail"
    assert any(text.startswith("  fail  output  3x4  relative L2 ") for text in others)


def test_what_proves_too_little_fails_unless_it_is_allowed() -> None:
    model = keras_network(fresh=True)
    module = twin(model)
    with pytest.raises(AssertionError, match="too weak to prove anything"):
        assert_equivalent(model, module)
    assert assert_equivalent(model, module, allow_weak=True).verdict == "warn"
    assert assert_equivalent(model, module, control_seconds=0).verdict == "pass"
