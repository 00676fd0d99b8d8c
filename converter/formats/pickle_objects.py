"""Objects in a pickle as what they are made of: the name of a class, and attributes by name.

A whole PyTorch module in a file is such an object. No class is looked up and nothing is called:
the state dict is found by walking the dictionaries that every ``torch.nn.Module`` keeps its
tensors in.

Source: PyTorch 2.13 ``torch/nn/modules/module.py``, ``_save_to_state_dict`` and ``state_dict``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from converter.errors import UnsafeFileError
from converter.formats.pickle_machine import Machine, Opaque, Step, name_of
from converter.formats.wording import cannot_read, quoted

MAX_DEPTH = 64
MAX_VISITED = 100_000_000  # characters of names, and a hundred for each name and module

Entries = tuple[Mapping[str, Any], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Instance(Opaque):
    """An object of a class that is only a name.

    Attributes:
        state: Its attributes, as far as they are a dictionary.
    """

    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class TextSet(Opaque):
    """A set; only the texts in it are kept.

    Attributes:
        texts: Those.
    """

    texts: set[str] = field(default_factory=set)

    def add(self, values: list[Any]) -> None:
        """Keep the texts among ``values``."""
        self.texts.update(value for value in values if isinstance(value, str))


class ObjectMachine(Machine):
    """Keeps the attributes of objects, and the texts in sets."""

    steps: ClassVar[Mapping[int, Step]]

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Return a set of texts for ``set(list)``, else an opaque value."""
        name = name_of(function)
        if name not in {"builtins.set", "__builtin__.set"}:
            return Opaque(name)
        found = TextSet("set")
        if arguments and isinstance(arguments[0], list | tuple):
            found.add(list(arguments[0]))
        return found

    def new_object(self, count: int) -> None:
        """Replace a class and its arguments by an object."""
        super().new_object(count)
        self.stack[-1] = Instance(self.stack[-1].name)

    def build(self) -> None:
        """Keep the attributes of an object."""
        state = self.stack[-1]
        super().build()
        if isinstance(state, tuple) and state and len(state) <= 2:  # attributes and slots
            state = state[0]
        if isinstance(self.stack[-1], Instance) and isinstance(state, dict):
            self.stack[-1].state.update(state)

    def discard_items(self) -> None:
        """Keep the texts that a set gets."""
        values = self.pop_to_mark()
        if not isinstance(self.stack[-1], Opaque):
            raise self.corrupt("it adds to what is no set")
        if isinstance(self.stack[-1], TextSet):
            self.stack[-1].add(values)


ObjectMachine.steps = {
    **Machine.steps,
    0x8F: lambda machine: machine.stack.append(TextSet("set")),  # EMPTY_SET
}


def is_module(value: Any) -> bool:
    """Whether a value is a pickled ``torch.nn.Module``."""
    return isinstance(value, Instance) and all(
        isinstance(value.state.get(part), dict) for part in ("_parameters", "_buffers", "_modules")
    )


def module_entries(module: Instance) -> Entries:
    """Return the tensors and the inner modules of a pickled ``torch.nn.Module``, by name."""
    state = module.state
    transient = state.get("_non_persistent_buffers_set")
    left_out = transient.texts if isinstance(transient, TextSet) else set()
    tensors = {name: value for name, value in state["_parameters"].items() if value is not None}
    tensors |= {
        name: value
        for name, value in state["_buffers"].items()
        if value is not None and name not in left_out
    }
    return tensors, {name: one for name, one in state["_modules"].items() if is_module(one)}


def walk_modules(
    root: Instance, entries: Callable[[Instance], Entries], path: Path
) -> dict[str, Any]:
    """Return the state dict of a module: its own tensors, then those of the modules in it.

    Args:
        root: The module.
        entries: Returns the tensors and the inner modules of one module.
        path: The file, for messages.

    Raises:
        UnsafeFileError: If modules contain themselves, or are absurdly many.
    """
    return _Walk(entries, path).state_dict(root)


class _Walk:
    """The way through the modules of one file, which ends however they share their parts."""

    def __init__(self, entries: Callable[[Instance], Entries], path: Path) -> None:
        self._entries = entries
        self._path = path
        self._visited = 0
        self._found: dict[str, Any] = {}

    def state_dict(self, root: Instance) -> dict[str, Any]:
        self._visit(root, "", ())
        return self._found

    def _visit(self, module: Instance, prefix: str, around: tuple[Instance, ...]) -> None:
        if module in around or len(around) >= MAX_DEPTH:
            raise UnsafeFileError(cannot_read(self._path, "its modules contain themselves"))
        tensors, modules = self._entries(module)
        # Modules may share their parts: a few bytes can describe more names than there is memory.
        self._visited += 100 + sum(100 + len(prefix) + len(name) for name in tensors)
        if self._visited > MAX_VISITED:
            raise UnsafeFileError(cannot_read(self._path, "its modules are nested absurdly often"))
        for name, tensor in tensors.items():
            key = f"{prefix}{name}"
            if key in self._found:
                raise UnsafeFileError(
                    cannot_read(self._path, f"two tensors have the name {quoted(key)}")
                )
            self._found[key] = tensor
        for name, inner in modules.items():
            self._visit(inner, f"{prefix}{name}.", (*around, module))


def state_dicts(root: Any, path: Path) -> tuple[Any, tuple[str, ...]]:
    """Return what a checkpoint holds with state dicts in place of pickled modules.

    Args:
        root: The value of the pickle. Modules are looked for in dicts of dicts, not in lists.
        path: The file, for messages.

    Returns:
        The value, and one sentence for each module.
    """
    if is_module(root):
        return walk_modules(root, module_entries, path), (_notice("It", root),)
    notices: list[str] = []
    made: dict[int, dict[str, Any]] = {}
    pending, seen = [(root, 0)], {id(root)}
    while pending:
        value, depth = pending.pop()
        if not isinstance(value, dict) or depth > MAX_DEPTH:
            continue
        for key, one in value.items():
            if is_module(one):
                if id(one) not in made:
                    made[id(one)] = walk_modules(one, module_entries, path)
                value[key] = made[id(one)]
                notices.append(_notice(quoted(key), one))
            elif isinstance(one, dict) and id(one) not in seen:
                seen.add(id(one))
                pending.append((one, depth + 1))
    return root, tuple(notices)


def _notice(what: str, module: Instance) -> str:
    name = quoted(module.name)[1:-1]
    return f"{what} is a pickled module ({name}): its tensors were read, none of its code was run."
