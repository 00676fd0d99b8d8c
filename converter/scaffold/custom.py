"""Translations of a user's own classes: a Python file with functions, registered by a decorator.

    from converter.scaffold.custom import translates
    from converter.scaffold.program import Literal, applied, call

    @translates("Scale")
    def scale(t):
        member = t.member(call("nn.Linear", Literal(t.config["units"]), Literal(3)))
        t.give(t.write(applied(member, t.use("keras"))), "keras")

The file is the user's own code and is run because the user names it; nothing of a checkpoint is.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

from converter.errors import UsageError
from converter.scaffold.scope import Translation

Translator = Callable[[Translation], None]

_registered: dict[str, Translator] = {}


def translates(*class_names: str) -> Callable[[Translator], Translator]:
    """Register a function as the translation of Keras classes, in a file given by ``--custom``.

    Args:
        class_names: Names of the classes as the Keras file has them.
    """

    def register(function: Translator) -> Translator:
        for name in class_names:
            _registered[name] = function
        return function

    return register


def load_custom(path: Path) -> Mapping[str, Translator]:
    """Run a user's file and return what it registers.

    Raises:
        UsageError: If there is no such file, it raises, or it registers nothing.
    """
    if not path.is_file():
        raise UsageError(f"cannot use the translations of '{path}': there is no such file")
    spec = importlib.util.spec_from_file_location(f"_custom_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"cannot use the translations of '{path}': it is no Python file")
    _registered.clear()
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except Exception as error:  # whatever the user's file raises
        raise UsageError(
            f"cannot use the translations of '{path}': it raises {type(error).__name__}",
            facts=[("message", str(error).partition("\n")[0] or "none")],
        ) from error
    if not _registered:
        raise UsageError(
            f"cannot use the translations of '{path}': it registers none",
            hint="decorate a function with @translates('MyLayer') of converter.scaffold.custom",
        )
    return dict(_registered)
