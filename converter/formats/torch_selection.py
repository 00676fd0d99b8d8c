"""Which dict of a PyTorch checkpoint holds the weights.

A training checkpoint is a dict of dicts: weights under one of a dozen usual keys, an optimizer
whose state looks much like weights, counters, configurations. One dict of tensors is taken, with
a notice that says what was left; several are a question for the user, never a guess: weights and
their moving average have the same names and shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter.errors import CheckpointError, UnsupportedFileError
from converter.formats.pickle_machine import Opaque
from converter.formats.torch_pickle import TensorRef
from converter.formats.wording import cannot_read, quoted

MAX_DEPTH = 16
_OPTIMIZER = frozenset({"state", "param_groups"})
_EXTRA_STATE = "_extra_state"
# Functions and classes that hold weights which cannot be read as dense tensors.
_UNREADABLE = ("torch._utils._rebuild", "torch._tensor._rebuild", "torch.nn.", "torch.Quantized")


@dataclass(frozen=True, slots=True)
class Selection:
    """The weights of a checkpoint.

    Attributes:
        tensors: Name to tensor, in the order of the file.
        notices: What else the checkpoint holds, one sentence each.
    """

    tensors: Mapping[str, TensorRef]
    notices: tuple[str, ...]


def select_tensors(root: Any, path: Path, select: str | None) -> Selection:
    """Find the state dict in what a checkpoint holds.

    Args:
        root: The value of the pickle.
        path: The file, for messages.
        select: Key of the dict to take, inner keys after a dot; ``None`` finds the only one.

    Raises:
        CheckpointError: If there is no dict of tensors, if there are several and ``select`` does
            not say which, or if ``select`` names none.
        UnsupportedFileError: If what should be a dict is a pickled object, or a weight is not a
            dense tensor.
    """
    if not isinstance(root, dict):
        raise _not_a_dict(root, path)
    if not root:
        return Selection({}, ())  # a model without weights
    found = dict(_candidates(root, "", 0, set()))
    if select is not None:
        return _selected(root, found, select, path)
    if len(found) > 1:
        found.pop("", None)  # a counter beside the state dicts
    if not found:
        raise _no_tensors(root, path)
    if len(found) > 1:
        raise CheckpointError(
            cannot_read(path, f"it holds {len(found)} sets of weights"),
            facts=[
                ("select", f"{quoted(key)}  {_count(value)} tensors")
                for key, value in found.items()
            ],
            hint="choose one with select (on the command line: --select)",
        )
    ((key, value),) = found.items()
    return _selection(value, path, _nested_notices(root, key))


def _candidates(
    value: dict[Any, Any], key: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yield every dict that has tensors under names, and is not the state of an optimizer."""
    if id(value) in seen or depth > MAX_DEPTH or value.keys() >= _OPTIMIZER:
        return
    seen.add(id(value))
    if any(isinstance(name, str) and isinstance(one, TensorRef) for name, one in value.items()):
        yield key, value
    for name, one in value.items():
        if isinstance(one, dict) and isinstance(name, str) and not name.endswith(_EXTRA_STATE):
            yield from _candidates(one, f"{key}.{name}" if key else name, depth + 1, seen)


def _selected(
    root: dict[Any, Any], found: Mapping[str, dict[Any, Any]], select: str, path: Path
) -> Selection:
    if select in found:
        return _selection(found[select], path, ())
    below = {key: value for key, value in found.items() if key.startswith(f"{select}.")}
    if not below:
        raise CheckpointError(
            cannot_read(path, f"it has no weights under {quoted(select)}"),
            facts=[
                ("select", f"{quoted(key)}  {_count(value)} tensors")
                for key, value in found.items()
            ]
            or [("found", _keys(root))],
        )
    tensors: dict[str, TensorRef] = {}
    notices: list[str] = []
    for key, value in below.items():
        part = _selection(value, path, ())
        prefix = key[len(select) + 1 :]
        for name, tensor in part.tensors.items():
            if tensors.setdefault(f"{prefix}.{name}", tensor) is not tensor:
                raise CheckpointError(cannot_read(path, f"two tensors are {quoted(name)}"))
        notices += part.notices
    return Selection(tensors, tuple(notices))


def _selection(value: Mapping[Any, Any], path: Path, notices: tuple[str, ...]) -> Selection:
    tensors: dict[str, TensorRef] = {}
    others: list[str] = []
    for name, one in value.items():
        if isinstance(one, TensorRef):
            tensors[str(name)] = one
        elif isinstance(one, Opaque) and one.name.startswith(_UNREADABLE):
            raise UnsupportedFileError(
                cannot_read(path, f"the tensor {quoted(name)} is not a dense tensor"),
                facts=[("found", quoted(one.name))],
            )
        elif not isinstance(one, dict):
            others.append(f"{quoted(name)} ({_kind(one)})")
    if others:
        notices += (f"Left out, since they are no tensors: {_listed(others)}.",)
    return Selection(tensors, notices)


def _nested_notices(root: Mapping[Any, Any], key: str) -> tuple[str, ...]:
    """Say where the weights were found and what lies beside them."""
    if not key:
        return ()
    top = next(name for name in root if isinstance(name, str) and _leads(name, key))
    beside = [quoted(name) for name in root if name != top]
    left = f"; left out: {_listed(beside)}" if beside else ""
    return (f"The weights are under {quoted(key)}{left}.",)


def _leads(name: str, key: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def _listed(texts: list[str]) -> str:
    shown = ", ".join(texts[:8])
    return shown if len(texts) <= 8 else f"{shown} and {len(texts) - 8} more"


def _count(value: Mapping[Any, Any]) -> int:
    return sum(isinstance(one, TensorRef) for one in value.values())


def _kind(value: Any) -> str:
    return quoted(value.name)[1:-1] if isinstance(value, Opaque) else type(value).__name__


def _keys(root: Mapping[Any, Any]) -> str:
    return _listed([f"{quoted(name)} ({_kind(one)})" for name, one in root.items()]) or "nothing"


def _not_a_dict(root: Any, path: Path) -> CheckpointError:
    if isinstance(root, Opaque):
        return UnsupportedFileError(
            cannot_read(path, "it holds a pickled object, not a state dict"),
            facts=[("found", quoted(root.name))],
            hint="where its code is installed, save model.state_dict() instead",
        )
    what = "one tensor without a name" if isinstance(root, TensorRef) else f"a {_kind(root)}"
    return CheckpointError(cannot_read(path, f"it holds {what}, not a state dict"))


def _no_tensors(root: Mapping[Any, Any], path: Path) -> CheckpointError:
    objects = [value.name for value in root.values() if isinstance(value, Opaque)]
    unreadable = [name for name in objects if name.startswith(_UNREADABLE)]
    kind = UnsupportedFileError if objects else CheckpointError
    why = "no weight in it is a dense tensor" if unreadable else "no dict in it holds tensors"
    return kind(cannot_read(path, why), facts=[("found", _keys(root))])
