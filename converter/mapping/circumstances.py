"""What a checkpoint's circumstances decide in a mapping: its conditions and its sizes."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping as Dict

from converter.errors import Problem
from converter.mapping.rules import Condition, Mapping, Rule
from converter.mapping.slots import Scalar
from converter.mapping.template import Side, Template
from converter.tensors.manifest import Manifest


class Circumstances:
    """Conditions and sizes of one mapping, seen from the checkpoints that are there.

    Attributes:
        problems: Conditions that cannot be decided, and sides that contradict each other.
    """

    def __init__(
        self,
        mapping: Mapping,
        *,
        keras: Manifest | None,
        torch: Manifest | None,
        keras_names: Dict[str, str],
        torch_names: Dict[str, str],
        sizes: Dict[str, int],
    ) -> None:
        self._mapping = mapping
        self._keras = keras
        self._torch = torch
        self._keras_names = keras_names
        self._torch_names = torch_names
        self._sizes = sizes
        self._keras_places = _places(keras_names, "/") if keras is not None else None
        # A further name for one tensor (a tied head) does not make its module be there.
        self._torch_places = (
            _places([one for one, name in torch_names.items() if name not in torch.ties], ".")
            if torch is not None
            else None
        )
        self.problems: list[Problem] = []
        self._truth = {name: self._holds(name, one) for name, one in mapping.conditions.items()}
        self._known = self._resolve()

    def allows(self, rule: Rule) -> bool:
        """Whether a rule's condition holds; an undecided one does not, and is a problem."""
        if rule.when is None:
            return True
        holds = self._truth[rule.when.removeprefix("not ")]
        if holds is None:
            return False
        return holds is not rule.when.startswith("not ")

    def sizes_of(self, rule: Rule) -> dict[str, int]:
        """Return the sizes of a rule's axes, as far as they are known."""
        sizes = {}
        for axis, value in rule.sizes.items():
            size = self._known.get(value) if isinstance(value, str) else value
            if size is not None:
                sizes[axis] = size
        return sizes

    def lacks_sizes(self, rule: Rule) -> tuple[str, ...]:
        """Return the names of a rule's sizes that are not known."""
        return tuple(
            value
            for value in rule.sizes.values()
            if isinstance(value, str) and value not in self._known
        )

    def _holds(self, name: str, condition: Condition) -> bool | None:
        if condition.size is not None:
            return self._holds_size(name, condition)
        found: list[bool] = []
        if condition.keras is not None and self._keras_places is not None:
            found.append(self._is_there(condition.keras, "keras", self._keras_places))
        if condition.torch is not None and self._torch_places is not None:
            found.append(self._is_there(condition.torch, "torch", self._torch_places))
        if not found and condition.otherwise is not None:
            return condition.otherwise
        if not found:
            text = "cannot be decided: the checkpoint of the other side would show it"
            self.problems.append(Problem("undetermined", f"conditions.{name}", text))
            return None
        if len(set(found)) > 1:
            have, lack = ("Keras", "PyTorch") if found[0] else ("PyTorch", "Keras")
            text = f"holds in {have} and not in {lack}: the two are different variants"
            self.problems.append(Problem("mismatched", f"conditions.{name}", text))
        return found[0]

    def _is_there(self, name: str, side: Side, places: set[str]) -> bool:
        if "{" not in name:
            return name in places
        template = Template.parse(name, self._mapping.tables, side)
        return any(template.match(place) is not None for place in places)

    def _holds_size(self, name: str, condition: Condition) -> bool | None:
        size = condition.size or ""
        value: Scalar | None = self._sizes.get(size)
        declared = self._mapping.sizes.get(size)
        if value is None and declared is not None:
            value = self._declared(declared)
        if value is None:
            self.problems.append(
                Problem(
                    "undetermined",
                    f"conditions.{name}",
                    f"depends on '{size}', which is not known",
                    hint=f"give it: --set {size}=VALUE",
                )
            )
            return None
        return value == condition.equals

    def _resolve(self) -> dict[str, int]:
        known: dict[str, int] = {}
        for name, declared in self._mapping.sizes.items():
            if name in self._sizes:
                known[name] = self._sizes[name]
            elif (size := self._declared(declared)) is not None:
                known[name] = size
        for name in self._mapping.measures:
            size = self._sizes.get(name, self._measured(name))
            if size is not None:
                known[name] = size
        return known

    def _declared(self, declared: int | str | tuple[str, ...]) -> int | None:
        """Return the number that a size is, or the first entry of ``config.json`` that has it."""
        if isinstance(declared, int):
            return declared
        keys = (declared,) if isinstance(declared, str) else declared
        found = (self._configured(key) for key in keys)
        return next((size for size in found if size is not None), None)

    def _configured(self, key: str) -> int | None:
        """Return an entry of ``config.json``, or what transformers takes where it is absent."""
        if key in self._sizes:
            return self._sizes[key]
        rows = (row for table in self._mapping.configs for row in table.rows)
        like = next((row.like for row in rows if row.torch == key and row.like), "")
        return self._sizes.get(like)

    def _measured(self, name: str) -> int | None:
        measure = self._mapping.measures[name]
        found: list[int] = []
        if measure.keras is not None and self._keras is not None:
            tensor, axis = measure.keras
            found += _axis(self._keras, self._keras_names.get(tensor, tensor), axis)
        if measure.torch is not None and self._torch is not None:
            tensor, axis = measure.torch
            found += _axis(self._torch, self._torch_names.get(tensor, tensor), axis)
        if len(set(found)) > 1:
            text = f"is {found[0]} in Keras and {found[1]} in PyTorch"
            self.problems.append(Problem("mismatched", f"sizes.{name}", text))
        return found[0] if found else None


def _axis(manifest: Manifest, name: str, axis: int) -> list[int]:
    spec = manifest.tensors.get(name)
    return [spec.shape[axis]] if spec is not None and axis < len(spec.shape) else []


def _places(names: Collection[str], separator: str) -> set[str]:
    """Return all names and everything that contains them."""
    places: set[str] = set()
    for name in names:
        place = name
        while place and place not in places:
            places.add(place)
            place = place.rpartition(separator)[0]
    return places
