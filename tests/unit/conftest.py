"""What every unit test begins with."""

from __future__ import annotations

import pytest
from support import threads


@pytest.fixture(autouse=True)
def _threads_before() -> None:
    threads.remember()
