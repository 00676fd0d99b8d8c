"""Record the words in which the installed Keras writes a model, for the writer of new files.

    python scripts/record_keras_words.py > converter/upgrading/keras_3_words.json

Layers: the arguments that only start or restrain training, by class, and ``trainable`` where the
class takes it. Operations: module, settings
with their defaults, and names of what a call takes. Then activations, and the arguments of
initializers, regularizers and constraints. A test compares the file with the installed Keras.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from record_keras_defaults import plain, public_name

_TRAINING = ("_initializer", "_regularizer", "_constraint")
_MODULES = ("core", "image", "linalg", "math", "nn", "numpy")


def recorded() -> dict[str, Any]:
    """Return all words, by kind."""
    import keras

    return {
        "version": keras.__version__,
        "layers": dict(_layers(keras)),
        "operations": dict(_operations(keras)),
        "activations": sorted(_activations(keras)),
        **{
            kind: dict(_objects(getattr(keras, kind), base))
            for kind, base in (
                ("initializers", keras.initializers.Initializer),
                ("regularizers", keras.regularizers.Regularizer),
                ("constraints", keras.constraints.Constraint),
            )
        },
    }


def _parameters(one: Any) -> dict[str, Any]:
    """Return the named parameters of a function or class and their defaults."""
    return {
        parameter.name: plain(parameter.default)
        for parameter in inspect.signature(one).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and parameter.name not in ("self", "name")
    }


def _layers(keras: Any) -> Iterator[tuple[str, list[str]]]:
    for name in sorted(dir(keras.layers)):
        one = getattr(keras.layers, name)
        if isinstance(one, type) and issubclass(one, keras.Layer) and one is not keras.Layer:
            named = inspect.signature(one).parameters
            found = [key for key in named if key.endswith(_TRAINING) or key == "trainable"]
            takes_all = any(one.kind is one.VAR_KEYWORD for one in named.values())
            if takes_all and "trainable" not in found:
                found.append("trainable")
            yield public_name(one, name), found


def _operations(keras: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in _MODULES:
        module = importlib.import_module(f"keras.src.ops.{name}")
        for class_name, one in sorted(vars(module).items()):
            if not isinstance(one, type) or not issubclass(one, keras.Operation):
                continue
            if one.__module__ != module.__name__ or class_name == "Operation":
                continue
            yield class_name, {"module": module.__name__, "settings": _parameters(one)}


def _activations(keras: Any) -> Iterator[str]:
    for name in dir(keras.activations):
        one = getattr(keras.activations, name)
        if inspect.isfunction(one) and name not in ("deserialize", "get", "serialize"):
            yield name


def _objects(module: Any, base: type) -> Iterator[tuple[str, list[str]]]:
    for name in sorted(dir(module)):
        one = getattr(module, name)
        if isinstance(one, type) and issubclass(one, base) and one is not base:
            yield one.__name__, list(_parameters(one))


def main() -> None:
    """Write the file to standard output, one word a line."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    parts = []
    for kind, words in recorded().items():
        if isinstance(words, dict):
            lines = [f"  {json.dumps(name)}: {json.dumps(word)}" for name, word in words.items()]
            text = "{\n" + ",\n".join(lines) + "\n }"
        else:
            text = json.dumps(words)
        parts.append(f" {json.dumps(kind)}: {text}")
    sys.stdout.write("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
