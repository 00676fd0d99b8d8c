"""Build a model from a text that names its factory: ``keras.applications:DenseNet121``.

The factory is code that the user named; it is run, and nothing else is: no name in a checkpoint
ever gets here. Only the architecture is wanted, so pretrained weights are not fetched unless the
user asks for them, and with ``meta`` no memory is allocated for values.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from converter._optional import is_installed, require
from converter.errors import ConverterError, UsageError
from converter.live.kinds import is_keras_layer, is_torch_module
from converter.tensors.manifest import Family

_FORMS = "package.module:function or path/to/file.py:function"


def is_factory(text: str) -> bool:
    r"""Whether a text has the form of a factory, not of a path.

    Examples:
        >>> is_factory("keras.applications:VGG16"), is_factory("my models/net.py:build")
        (True, True)
        >>> is_factory("model.keras"), is_factory("C:\\model.keras")
        (False, False)
    """
    place, colon, name = text.rpartition(":")
    if not colon or not all(part.isidentifier() for part in name.split(".")):
        return False
    return place.endswith(".py") or all(part.isidentifier() for part in place.split("."))


def build(
    text: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    family: Family | None = None,
    meta: bool = False,
    or_plainly: bool = True,
    any_kind: bool = False,
) -> Any:
    """Build a Keras model or a PyTorch module.

    Args:
        text: ``package.module:function`` or ``path/to/file.py:function``. What is named may also
            be a class, or a model that is there already.
        arguments: Keyword arguments. Where the factory would fetch pretrained weights by default,
            ``weights=None`` is added unless it is among them.
        family: What the result must be; ``None`` allows both.
        meta: Whether values are not needed: the model is built on the ``meta`` device. Keras on
            another backend than torch, and models that cannot be built there, are built plainly.
        or_plainly: Whether what cannot be built there is built plainly, which takes the memory of
            every value. Not where a foreign file says how large the model is.
        any_kind: Whether the result may be anything: a part of a model, or a configuration.

    Raises:
        UsageError: If the text names nothing, the factory raises, or gives something else.
        MissingDependencyError: If the package is not installed.
    """
    if not is_factory(text):
        raise UsageError(f"cannot build '{text}': it does not name a factory", hint=_FORMS)
    place = text.rpartition(":")[0]
    if family == "keras" or place.split(".")[0] in {"keras", "keras_hub"}:
        # Before any import of keras, which fixes the backend.
        require("keras", why=f"cannot build '{text}'", extra="keras")
    with _importable(place):
        model = _call(text, find(text), dict(arguments or {}), meta=meta, plain=or_plainly)
    if not any_kind:
        _check_family(model, text, family)
    return model


def find(text: str) -> Any:
    """Return what ``package.module:name`` names, without calling it.

    Raises:
        UsageError: If the text names nothing.
        MissingDependencyError: If the package is not installed.
    """
    place, _, name = text.rpartition(":")
    return _find(_module(text, place), text, name)


def _module(text: str, place: str) -> ModuleType:
    try:
        if place.endswith(".py"):
            return _load_file(text, Path(place))
        top = place.split(".", maxsplit=1)[0]
        if top in {"torch", "torchvision"}:
            require(top, why=f"cannot build '{text}'", extra="torch")
        return importlib.import_module(place)
    except ConverterError:
        raise
    except ModuleNotFoundError as error:
        raise UsageError(
            f"cannot build '{text}': no module is named '{error.name}'", hint=_FORMS
        ) from error
    except Exception as error:
        raise _raised(text, "importing it", error) from error


def _load_file(text: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"cannot build '{text}': there is no file '{path}'")
    name = f"_factory_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"cannot build '{text}': '{path}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickling look a class's module up by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _importable(place: str) -> Iterator[None]:
    """Let a file import its neighbours, as ``python file.py`` does."""
    if not place.endswith(".py"):
        yield
        return
    folder = str(Path(place).resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _find(module: ModuleType, text: str, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise UsageError(f"cannot build '{text}': there is no '{name}' in it") from error
    return found


def _call(text: str, found: Any, arguments: dict[str, Any], *, meta: bool, plain: bool) -> Any:
    if is_keras_layer(found) or (is_torch_module(found) and not arguments):
        return found
    if not callable(found):
        raise UsageError(f"cannot build '{text}': it is a {type(found).__name__}, not a function")
    arguments = _without_pretrained(found, arguments)
    if meta and plain:
        # Reading a value is what a build on the meta device cannot do; a plain build can.
        with contextlib.suppress(Exception), _on_meta():
            return found(**arguments)
    try:
        with contextlib.nullcontext() if plain else _on_meta():
            return found(**arguments)
    except ConverterError:
        raise
    except Exception as error:
        raise _raised(text, "building it", error) from error


def _without_pretrained(found: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Add ``weights=None`` where the default would fetch weights (keras.applications)."""
    try:
        parameter = inspect.signature(found).parameters.get("weights")
    except (TypeError, ValueError):
        return arguments
    if parameter is None or not isinstance(parameter.default, str) or "weights" in arguments:
        return arguments
    return {**arguments, "weights": None}


@contextlib.contextmanager
def _on_meta() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if "keras" in sys.modules:
            keras = sys.modules["keras"]
            if keras.backend.backend() == "torch":
                stack.enter_context(keras.device("meta"))
        if "torch" in sys.modules or is_installed("torch"):
            stack.enter_context(importlib.import_module("torch").device("meta"))
        yield


def _check_family(model: Any, text: str, family: Family | None) -> None:
    is_keras = is_keras_layer(model)
    if not is_keras and not is_torch_module(model):
        raise UsageError(
            f"cannot build '{text}': it gave a {type(model).__name__}, "
            "which is neither a Keras model nor a PyTorch module"
        )
    if family is not None and is_keras != (family == "keras"):
        wanted, found = ("a Keras model", "a PyTorch module")
        if family == "torch":
            wanted, found = found, wanted
        raise UsageError(f"cannot use '{text}': it gave {found}, and {wanted} is needed")


def _raised(text: str, doing: str, error: Exception) -> UsageError:
    return UsageError(
        f"cannot build '{text}': {doing} raised {type(error).__name__}",
        facts=[("message", str(error).splitlines()[0] if str(error) else "none")],
    )
