"""Record what the layers of the installed Keras mean by entries that a configuration lacks.

    python scripts/record_keras_defaults.py > converter/graph/keras_3_defaults.json

Every argument of a constructor that has a default is written under its class; what only starts or
restrains training (initializers, regularizers, constraints) is left out. A test compares the file
with the installed Keras: tests/frameworks/test_graph_defaults.py.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "converter" / "graph" / "keras_3_defaults.json"

_SKIPPED = ("initializer", "regularizer", "constraint")
_NOT_CONFIG = frozenset({"self", "name", "dtype", "kwargs", "args", "weights", "autocast"})


def recorded() -> dict[str, dict[str, Any]]:
    """Return the defaults of every class in ``keras.layers``, by class and argument."""
    import keras

    found: dict[str, dict[str, Any]] = {}
    for name in sorted(dir(keras.layers)):
        one = getattr(keras.layers, name)
        if isinstance(one, type) and issubclass(one, keras.Layer) and one is not keras.Layer:
            parameters = inspect.signature(one).parameters.values()
            entries = {
                parameter.name: plain(parameter.default)
                for parameter in parameters
                if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
                and parameter.name not in _NOT_CONFIG
                and not any(part in parameter.name for part in _SKIPPED)
            }
            found[public_name(one, name)] = entries
    return found


def public_name(one: type, name: str) -> str:
    """Return the class's own name where Keras exports it under several."""
    import keras

    return one.__name__ if hasattr(keras.layers, one.__name__) else name


def plain(value: Any) -> Any:
    """Return a default as JSON has it."""
    if value is inspect.Parameter.empty:
        return "<required>"
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def main() -> None:
    """Write the file to standard output, one class a line."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    lines = [f"  {json.dumps(name)}: {json.dumps(keys)}" for name, keys in recorded().items()]
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
