"""Translate a configuration by a table, in either direction.

A Keras config decides what its model computes, entry by entry, so every entry of it must have a
place in the table. A ``config.json`` also holds what has nothing to do with that (token ids, how
to sample), under names that change with the version: entries that a table does not know are
named in a note, and those that change the outputs must be in the table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from typing import Any

from converter.errors import Problem
from converter.mapping.config_tables import ConfigRow, ConfigTable
from converter.mapping.rules import Mapping
from converter.mapping.template import Template
from converter.tensors.manifest import Manifest

# What every Keras model has, and what is said of the file itself in every config.json.
_KERAS_GENERAL = frozenset({"name", "trainable", "dtype"})
_TORCH_GENERAL = frozenset(
    {"architectures", "model_type", "transformers_version", "torch_dtype", "dtype"}
    | {"_name_or_path", "auto_map"}
)
_SHOWN = 200


@dataclass(slots=True)
class Translation:
    """A translated configuration.

    Attributes:
        entries: The entries of the other side; those inside others are inside of them here too.
        problems: What the other side cannot say.
        notes: What was left out or accepted, as whole sentences.
    """

    entries: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class TorchTensors:
    """What the PyTorch tensors of a checkpoint show."""

    def __init__(self, mapping: Mapping, manifest: Manifest) -> None:
        self._mapping = mapping
        self._specs = {_without_prefix(mapping, spec.name): spec for spec in manifest}
        self._places: set[str] = set()
        for name in self._specs:
            place = name
            while place and place not in self._places:
                self._places.add(place)
                place = place.rpartition(".")[0]

    def holds(self, text: str) -> bool | None:
        """Whether a condition, or ``not`` one, holds; ``None`` where PyTorch does not show it."""
        wanted = self._mapping.conditions[text.removeprefix("not ")].torch
        if wanted is None:
            return None
        template = Template.parse(wanted, self._mapping.tables, "torch")
        is_there = any(template.match(place) is not None for place in self._places)
        return is_there is not text.startswith("not ")

    def size(self, axis: tuple[str, int]) -> int | None:
        """Return the size of an axis of a tensor that is there."""
        spec = self._specs.get(axis[0])
        return spec.shape[axis[1]] if spec is not None and axis[1] < len(spec.shape) else None


def to_torch(table: ConfigTable, config: Dict[str, Any], tensors: TorchTensors) -> Translation:
    """Translate a Keras config.

    Args:
        table: The table.
        config: What the Keras class was built from.
        tensors: The PyTorch tensors that are written beside it.

    Returns:
        The entries of ``config.json`` that the table is about.
    """
    found = Translation()
    for row in table.rows:
        value = _get(config, row.keras)
        shown = tensors.holds(row.holds) if row.holds else None
        if shown is not None and value is not None and value is not shown:
            text = f"is {_shown(value)} in the Keras config, and its tensors show {_shown(shown)}"
            found.problems.append(Problem("mismatched", row.keras, text))
        value = shown if value is None else value
        if value is None and not row.null:
            found.problems.append(Problem("missing", row.keras, "is not in the Keras config"))
        elif value is not None and not row.is_counted_alike:
            value = _counted_in_torch(row, value, found)
        for key in (row.torch, *row.copies, *row.equal):
            _put(found.entries, key, value)
    found.problems += _unsaid(table, config)
    for key, value in table.torch_only.items():
        _put(found.entries, key, value)
    for name, why in table.unfilled.items():
        text = f"the folder is without the '{name}' of {table.architecture}, which begins at random"
        found.notes.append(f"{text}: {why}")
    return found


def _unsaid(table: ConfigTable, config: Dict[str, Any]) -> Iterator[Problem]:
    """Yield what a Keras config says and ``config.json`` cannot."""
    for key, only in table.keras_only.items():
        value = _get(config, key)
        if value is not None and not _is_equal(value, only):
            text = f"is {_shown(value)}, and {table.architecture} computes with {_shown(only)}"
            yield Problem("refused", key, text)
    for key in table.keras_unset:
        if _get(config, key) is not None:
            text = f"is {_shown(_get(config, key))}, which {table.architecture} is not told of here"
            yield Problem("refused", key, text)
    for key in config:
        if key not in _known_to_keras(table):
            text = f"is {_shown(config[key])}, and the table of {table.keras_class} has no such row"
            yield Problem("unexpected", key, text)


def to_keras(table: ConfigTable, config: Dict[str, Any], tensors: TorchTensors) -> Translation:
    """Translate a ``config.json``.

    Args:
        table: The table.
        config: The content of ``config.json``.
        tensors: The PyTorch tensors beside it.

    Returns:
        What builds the Keras model, by argument.
    """
    found = Translation()
    for row in table.rows:
        value = _torch_value(row, config, tensors)
        if value is None and not row.null:
            found.problems.append(Problem("missing", row.torch, "is not in config.json"))
        _put(found.entries, row.keras, _counted_in_keras(row, value, found))
        found.problems += _unequal(table, row, config, value)
        for key in row.copies:
            other = _get(config, key)
            if other is not None and not _is_equal(other, value):
                found.notes.append(
                    f"config.json has {key} = {_shown(other)}; Keras has one value for that and "
                    f"{row.torch}: {row.keras} = {_shown(value)}"
                )
    for key, only in {**table.torch_only, **table.expected}.items():
        _check_only(table, key, only, _get(config, key), found)
    found.problems += _uneven(table, config)
    for key in table.torch_unset:
        if _get(config, key) is not None:
            text = f"is {_shown(_get(config, key))}, which {table.keras_class} is not told of here"
            found.problems.append(Problem("refused", key, text))
    found.entries |= {**table.keras_only, **dict.fromkeys(table.keras_unset)}
    known = _known_to_torch(table)
    others = sorted(key for key in config if key not in known)
    if others:
        found.notes.append(f"config.json says more, which is not taken: {', '.join(others)}")
    return found


def _counted_in_torch(row: ConfigRow, value: Any, found: Translation) -> Any:
    """Return what transformers counts where Keras counts ``value``."""
    number = value - row.plus if isinstance(value, int) else None
    if number is None or number % row.times:
        text = f"is {_shown(value)}, which is no {row.torch} {_difference(row)}"
        found.problems.append(Problem("refused", row.keras, text))
        return None
    return number // row.times


def _counted_in_keras(row: ConfigRow, value: Any, found: Translation) -> Any:
    """Return what Keras counts where transformers counts ``value``."""
    if value is None or row.is_counted_alike:
        return value
    number = value * row.times + row.plus if isinstance(value, int) else 0
    if number <= 0:
        text = f"is {_shown(value)}, and {_difference(row)} it is no {row.keras}"
        found.problems.append(Problem("refused", row.torch, text))
    return number


def _difference(row: ConfigRow) -> str:
    """Return how Keras counts, as a person writes it behind a number.

    Examples:
        >>> _difference(ConfigRow("a", "b", times=2)), _difference(ConfigRow("a", "b", plus=-2))
        ('* 2', '- 2')
    """
    times = [f"* {row.times}"] if row.times != 1 else []
    plus = [f"{'+-'[row.plus < 0]} {abs(row.plus)}"] if row.plus else []
    return " ".join([*times, *plus])


def _unequal(
    table: ConfigTable, row: ConfigRow, config: Dict[str, Any], value: Any
) -> Iterator[Problem]:
    """Yield the entries that must have the value of a row and have another one."""
    for key in row.equal:
        other = _get(config, key)
        if other is not None and not _is_equal(other, value):
            text = (
                f"is {_shown(other)}, and {table.keras_class} has one value for that and "
                f"{row.torch}, which is {_shown(value)}"
            )
            yield Problem("refused", key, text)


def _uneven(table: ConfigTable, config: Dict[str, Any]) -> Iterator[Problem]:
    """Yield the lists with something for each layer that do not repeat what Keras repeats."""
    for key, cycle in table.cycles.items():
        value = _get(config, key)
        if value is None:
            continue
        count = len(value) if isinstance(value, list) else 0
        if value != [cycle[at % len(cycle)] for at in range(count)]:
            text = f"is {_shown(value)}, and {table.keras_class} repeats {_shown(list(cycle))}"
            yield Problem("refused", key, text)


def _check_only(table: ConfigTable, key: str, only: Any, value: Any, found: Translation) -> None:
    """Compare an entry that Keras has not with what Keras computes with."""
    if value is None or _is_equal(value, only):
        return
    accepted = table.accepted.get(key)
    if accepted is not None and any(_is_equal(value, one) for one in accepted.values):
        found.notes.append(
            f"config.json has {key} = {_shown(value)}, and {table.keras_class} computes with "
            f"{_shown(only)}: {accepted.why}"
        )
        return
    text = f"is {_shown(value)}, and {table.keras_class} computes with {_shown(only)}"
    found.problems.append(Problem("refused", key, text))


def _torch_value(row: ConfigRow, config: Dict[str, Any], tensors: TorchTensors) -> Any:
    if row.null and row.torch in config:
        return config[row.torch]
    for key in (row.torch, *row.other, *([row.like] if row.like else [])):
        value = _get(config, key)
        if value is not None:
            return value
    if row.axis is not None:
        return tensors.size(row.axis)
    return tensors.holds(row.holds) if row.holds else row.absent


def _known_to_keras(table: ConfigTable) -> set[str]:
    keys = [*_KERAS_GENERAL, *table.keras_only, *table.keras_unset, *table.ignored]
    return {key.partition(".")[0] for key in (*keys, *(row.keras for row in table.rows))}


def _known_to_torch(table: ConfigTable) -> set[str]:
    keys = [*_TORCH_GENERAL, *table.torch_only, *table.expected, *table.torch_unset]
    keys += table.cycles
    for row in table.rows:
        keys += [row.torch, *row.other, *row.copies, *row.equal]
    return {key.partition(".")[0] for key in keys}


def _get(config: Dict[str, Any], key: str) -> Any:
    """Return an entry, by the names of those around it; ``None`` where it is null or not there."""
    found: Any = config
    for part in key.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(part)
    return found


def _put(entries: dict[str, Any], key: str, value: Any) -> None:
    *outer, last = key.split(".")
    for part in outer:
        entries = entries.setdefault(part, {})
    entries[last] = value


def _is_equal(one: Any, other: Any) -> bool:
    """Whether two values are the same; 1 and 1.0 are, 1 and true are not."""
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _shown(value: Any) -> str:
    """Return a foreign value as a message may show it."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _without_prefix(mapping: Mapping, name: str) -> str:
    prefix = next((one for one in mapping.prefixes if name.startswith(one)), "")
    return name.removeprefix(prefix)
