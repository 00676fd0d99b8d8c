"""The groups of a Keras 3 weights file: layers and containers, and the numbered variables in each.

The file knows attributes and classes, not names: ``layers/conv2d_1/vars/0`` is the first variable
of the second Conv2D. Since Keras 3.6 the layer's name is an attribute of its ``vars`` group. What a
group is (a layer, a list of layers) is decided here; what it is called, in ``keras_tree``.

Source: keras 3.15.1 ``saving_lib._save_state`` and ``_save_container_state``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

VARS = "vars"

# Properties of every compiled model, visited by the saving code like any attribute. The optimizer's
# variables are momenta, those of metrics are counts; neither is a weight.
# Source: keras 3.15.1 trainers/trainer.py; tf_keras 2.21 engine/training.py (``metrics``).
_STATE_GROUPS = frozenset({"optimizer", "metrics", "_metrics", "_loss_tracker", "_compile_metrics"})
_SEED_GROUPS = frozenset({"seed_generator", "_seed_generator", "random_generator"})


@dataclass(slots=True)
class Group:
    """One group of a weights file.

    Attributes:
        key: Its own name in the file.
        path: Names from the root down, joined by ``/``; empty for the root.
        name: The layer's name where the file has it.
        is_layer: Whether it has a ``vars`` group, which layers have and lists of layers have not.
        variables: Key below ``vars`` and path of the dataset, in numeric order.
        children: Its groups by key, in natural order, private attributes last.
    """

    key: str
    path: str
    name: str | None = None
    is_layer: bool = False
    variables: list[tuple[str, str]] = field(default_factory=list)
    children: dict[str, Group] = field(default_factory=dict)

    def stores(self) -> dict[str, str]:
        """Return the datasets here and below: path relative to this group, and full path."""
        found = {f"{VARS}/{key}": path for key, path in self.variables}
        for child in self.children.values():
            for relative, path in child.stores().items():
                found[f"{child.key}/{relative}"] = path
        return found

    def below(self) -> Iterator[Group]:
        """Yield this group and every group below it."""
        yield self
        for child in self.children.values():
            yield from child.below()


def build_groups(datasets: Iterable[str], names: Mapping[str, str | None]) -> Group:
    """Return the root group of a weights file.

    Args:
        datasets: Path of every dataset. Keras 2.15 on Windows writes back-slashes between some
            parts; they are read as separators.
        names: Path of every ``vars`` group, also of empty ones, to its ``name`` attribute.
    """
    root = Group("", "")
    for path, name in names.items():
        group = _reach(root, _parts(path)[:-1])
        group.is_layer = True
        group.name = group.name if name is None else name
    for path in datasets:
        parts = _parts(path)
        if VARS not in parts[:-1]:
            continue
        cut = parts.index(VARS)
        group = _reach(root, parts[:cut])
        group.is_layer = True
        group.variables.append(("/".join(parts[cut + 1 :]), path))
    for group in root.below():
        group.variables.sort(key=lambda variable: natural_key(variable[0]))
        group.children = dict(sorted(group.children.items(), key=lambda item: _walk_key(item[0])))
    return root


def split_state(root: Group) -> int:
    """Take the state of optimizers, metrics and random generators out, at every level.

    Returns:
        How many variables were taken out.
    """
    removed = 0
    for group in list(root.below()):
        for key in list(group.children):
            child = group.children[key]
            is_state = key in _STATE_GROUPS and (group.is_layer or group is root)
            if is_state or (key in _SEED_GROUPS and len(child.stores()) == len(child.variables)):
                removed += len(child.stores())
                del group.children[key]
    return removed


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """Return a key that sorts numbers in texts as numbers.

    Examples:
        >>> sorted(["10", "2", "dense_10", "dense_2", "dense"], key=natural_key)
        ['2', '10', 'dense', 'dense_2', 'dense_10']
    """
    parts = re.split(r"(\d+)", text)
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts if part)


def _walk_key(key: str) -> tuple[bool, bool, tuple[tuple[int, int | str], ...]]:
    return key != "layers", key.startswith("_"), natural_key(key)


def _parts(path: str) -> list[str]:
    return path.replace("\\", "/").split("/")


def _reach(root: Group, parts: list[str]) -> Group:
    group = root
    for part in parts:
        child = group.children.get(part)
        if child is None:
            child = Group(part, f"{group.path}/{part}" if group.path else part)
            group.children[part] = child
        group = child
    return group
