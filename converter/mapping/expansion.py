"""Apply the rules of a mapping to the names that are there.

A name of either side is matched in full, and the other side is filled in; so one row stands for
every layer of its kind, and a family of any depth needs one file. There is no order among rules:
two that claim one tensor are an error. What is decided here is which layer corresponds to which
module; whether their tensors fit is decided when the plan is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field

from converter.errors import Problem
from converter.mapping.automatic import Automatic
from converter.mapping.canonical import Names, canonical_keras, canonical_torch
from converter.mapping.catalogue import Catalogue
from converter.mapping.circumstances import Circumstances
from converter.mapping.claims import claimed, claimed_names, join
from converter.mapping.extras import expand_drops, expand_ties
from converter.mapping.layer_checks import check_layers
from converter.mapping.measured import Seen, with_measured
from converter.mapping.rule_index import ReadRule, RuleIndex, owners
from converter.mapping.rules import Kind, Mapping, Pairing
from converter.mapping.schema import near
from converter.mapping.spellings import Spellings
from converter.mapping.stacks import counted
from converter.mapping.template import Bindings, Side
from converter.tensors.manifest import Family, Manifest


@dataclass(frozen=True, slots=True)
class Expansion:
    """A mapping applied to what is there.

    Attributes:
        pairings: Layers with their modules, in the order of the model. Module names are canonical:
            without prefixes.
        dropped: Side and tensor name, as in its manifest, to the reason why it has no counterpart.
        ties: Further PyTorch name to the name that is written, as in the manifest where there is
            one.
        torch_names: Canonical PyTorch name to the name in the manifest.
        prefix: What stands before the canonical PyTorch names in the manifest.
        problems: Conflicts, undecided conditions, names that cannot be made.
        assumptions: What was found out from the names, as whole sentences.
        unfilled: What rules recognise in PyTorch names while the Keras name needs a placeholder
            that only Keras names show; their layer is empty.
        unused: Rules that are not optional and about nothing that is there.
    """

    pairings: tuple[Pairing, ...]
    dropped: Dict[tuple[Family, str], str] = field(default_factory=dict)
    ties: Dict[str, str] = field(default_factory=dict)
    torch_names: Dict[str, str] = field(default_factory=dict)
    prefix: str = ""
    problems: tuple[Problem, ...] = ()
    assumptions: tuple[str, ...] = ()
    unfilled: tuple[Pairing, ...] = ()
    unused: tuple[str, ...] = ()


def expand(
    mapping: Mapping,
    catalogue: Catalogue,
    *,
    keras: Manifest | None = None,
    torch: Manifest | None = None,
    sizes: Dict[str, int] | None = None,
) -> Expansion:
    """Apply a mapping to the manifests that are there; at least one is.

    Args:
        mapping: The mapping.
        catalogue: The layer kinds.
        keras: The Keras side, where it is known.
        torch: The PyTorch side, where it is known.
        sizes: Values of the mapping's sizes, by their name or by their key in ``config.json``.
    """
    return _Expander(mapping, catalogue, keras, torch, sizes or {}).expand()


class _Expander:
    def __init__(
        self,
        mapping: Mapping,
        catalogue: Catalogue,
        keras: Manifest | None,
        torch: Manifest | None,
        sizes: Dict[str, int],
    ) -> None:
        self._kinds: Dict[str, Kind] = catalogue.kinds
        self._catalogue = catalogue
        self._keras = keras
        self._torch = torch
        self._problems: list[Problem] = []
        known = [rule for rule in mapping.rules if self._has_kind(rule.kind, str(rule))]
        index = RuleIndex(mapping, known)
        self._automatic = Automatic(keras.tensors if keras is not None else (), mapping.automatic)
        self._mapping = mapping
        self._keras_names = self._canonical(index, "keras")
        self._names = self._canonical(index, "torch")
        mapping = self._measured()
        index = RuleIndex(mapping, known) if mapping is not self._mapping else index
        self._mapping = mapping
        self._facts = Circumstances(
            mapping,
            keras=keras,
            torch=torch,
            keras_names=self._keras_names.names,
            torch_names=self._names.names,
            sizes=sizes,
        )
        self._problems += [*self._names.problems, *self._keras_names.problems]
        self._problems += self._facts.problems
        active = [rule for rule in known if self._facts.allows(rule)]
        self._index = RuleIndex(mapping, active) if len(active) < len(known) else index
        self._paths: dict[str, None] = {}
        self._pairings: dict[tuple[int, str, str], Pairing] = {}
        self._modules: set[tuple[int, str]] = set()
        self._open_values: dict[str, set[int | str]] = {}
        self._unfilled: list[tuple[ReadRule, str]] = []

    def expand(self) -> Expansion:
        self._from_keras()
        self._from_torch()
        pairings = tuple(self._pairings.values())
        dropped = expand_drops(self._mapping, self._keras_names.names, self._names.names)
        self._report_unfilled()
        self._report_conflicts(pairings, dropped)
        self._problems += check_layers(pairings, self._keras, self._catalogue)
        ties = expand_ties(self._mapping, pairings, self._torch, self._names.names)
        unfilled = tuple(self._pair(one, "", module) for one, module in self._unfilled)
        used = {pairing.rule.index for pairing in (*pairings, *unfilled)}
        return Expansion(
            pairings=pairings,
            dropped=dropped,
            ties=ties,
            torch_names=self._names.names,
            prefix=self._names.prefix,
            problems=tuple(self._problems),
            assumptions=self._assumptions(),
            unfilled=unfilled,
            unused=tuple(
                str(one.rule)
                for one in self._index.rules
                if one.rule.index not in used and not one.rule.optional
            ),
        )

    def _has_kind(self, kind: str, rule: str) -> bool:
        if kind in self._kinds:
            return True
        text = f"unknown kind '{kind}'{near(kind, self._kinds)}"
        self._problems.append(Problem("invalid", rule, text))
        return False

    def _measured(self) -> Mapping:
        """Return the mapping with the tables that the shapes show."""
        keras = Seen("keras", self._keras, self._keras_names.names)
        return with_measured(self._mapping, (keras, Seen("torch", self._torch, self._names.names)))

    def _canonical(self, index: RuleIndex, side: Side) -> Names:
        manifest = self._keras if side == "keras" else self._torch
        if manifest is None:
            return Names()

        def score(names: Iterable[str]) -> int:
            return index.count_known(names, side)

        names = [*manifest.tensors, *manifest.ties]
        if side == "keras":
            return canonical_keras(names, self._mapping.keras_prefixes, score, self._automatic)
        mapping = self._mapping
        respelt = Spellings(mapping)
        return canonical_torch(names, mapping.prefixes, mapping.aliases, score, respelt)

    def _assumptions(self) -> tuple[str, ...]:
        prefixes = {"PyTorch": self._names.prefix, "Keras": self._keras_names.prefix}
        return tuple(
            f"{side} names start with '{prefix}', which the rules of '{self._mapping.name}' "
            "do not write."
            for side, prefix in prefixes.items()
            if prefix
        )

    def _from_keras(self) -> None:
        if self._keras is None:
            return
        self._paths = dict.fromkeys(layer.path for layer in self._keras.layers)
        for name in self._keras.tensors:
            self._paths.update(dict.fromkeys(owners(name, "/")))
        for path in self._paths:
            for one, bindings in self._index.find(
                self._automatic(path).removeprefix(self._keras_names.prefix), "keras"
            ):
                module = one.torch.fill(bindings)
                if module is None:
                    text = f"gives a negative number in '{one.rule.torch}'"
                    self._problems.append(Problem("invalid", path, text, str(one.rule)))
                    continue
                if self._add(one, path, module, "keras"):
                    for name in one.open_placeholders:
                        self._open_values.setdefault(name, set()).add(bindings[name])

    def _from_torch(self) -> None:
        if self._torch is None:
            return
        modules: dict[str, None] = {}
        for name in self._names.names:
            modules.update(dict.fromkeys(owners(name, ".")))
        for module in modules:
            for one, bindings in self._index.find(module, "torch"):
                if (one.rule.index, module) in self._modules:
                    continue
                complete = self._complete(one, bindings)
                layer = one.keras.fill(complete) if complete is not None else None
                if layer is not None:
                    path = self._automatic.original(self._keras_names.prefix + layer)
                    self._add(one, path if path in self._paths else layer, module, "torch")
                elif self._takes_something(one, "", module, "torch"):
                    self._unfilled.append((one, module))

    def _complete(self, one: ReadRule, bindings: Bindings) -> Bindings | None:
        """Return bindings with what only Keras names show, where those leave one value."""
        complete = dict(bindings)
        for name in one.open_placeholders:
            values = self._open_values.get(name, set())
            if len(values) != 1:
                return None
            complete[name] = next(iter(values))
        return complete

    def _add(self, one: ReadRule, layer: str, module: str, side: Side) -> bool:
        """Note a pairing found on one side, if it takes a tensor there."""
        key = (one.rule.index, layer, module)
        if key in self._pairings:
            return True
        if not self._takes_something(one, layer, module, side):
            return False
        self._pairings[key] = self._pair(one, layer, module)
        self._modules.add((one.rule.index, module))
        return True

    def _pair(self, one: ReadRule, layer: str, module: str) -> Pairing:
        kind = one.rule.served(self._kinds[one.rule.kind])
        names = self._names.names
        kind = counted(kind, layer, module, keras=self._keras, torch=names)
        beside = self._beside(one, layer)
        return Pairing(one.rule, kind, layer, module, self._facts.sizes_of(one.rule), beside)

    def _beside(self, one: ReadRule, layer: str) -> str:
        """Return the path of the second Keras layer; its placeholders are those of the first."""
        prefix = self._keras_names.prefix
        prefix = prefix if layer.startswith(prefix) else ""
        bindings = one.keras.match(layer.removeprefix(prefix))
        if one.beside is None or bindings is None:
            return ""
        return prefix + (one.beside.fill(bindings) or "")

    def _takes_something(self, one: ReadRule, layer: str, module: str, side: Side) -> bool:
        manifest = self._keras if side == "keras" else self._torch
        pairing = self._pair(one, layer, module)
        return manifest is not None and bool(
            claimed_names(pairing, manifest, side, self._names.names)
        )

    def _report_unfilled(self) -> None:
        first = {one.rule.index: (one, module) for one, module in reversed(self._unfilled)}
        for _, (one, module) in sorted(first.items()):
            missing = ", ".join(f"{{{name}}}" for name in sorted(one.open_placeholders))
            text = f"the Keras name needs {missing}, which PyTorch names do not show"
            hint = None if self._keras is not None else "give the Keras model: --like MODEL"
            self._problems.append(Problem("undetermined", module, text, str(one.rule), hint))

    def _report_conflicts(
        self, pairings: tuple[Pairing, ...], dropped: Dict[tuple[Family, str], str]
    ) -> None:
        taken: dict[tuple[str, str], Pairing] = {}
        reported: set[tuple[int, int]] = set()
        for pairing in pairings:
            for side, name in self._claims(pairing):
                other = taken.setdefault((side, name), pairing)
                rules = (other.rule.index, pairing.rule.index)
                if other is not pairing and rules not in reported:
                    reported.add(rules)
                    text = f"is claimed by two rules: {other.rule} and {pairing.rule}"
                    if rules[0] == rules[1]:
                        text = (
                            f"is claimed twice by {pairing.rule}: "
                            f"for '{other.layer}' and for '{pairing.layer}'"
                        )
                    self._problems.append(Problem("conflict", name, text))
        for side, name in dropped:
            if (side, name) in taken:
                text = f"is dropped, and claimed by {taken[side, name].rule}"
                self._problems.append(Problem("conflict", name, text))

    def _claims(self, pairing: Pairing) -> list[tuple[str, str]]:
        """Return the tensors that a pairing takes, and those it will make where nothing is yet."""
        found: list[tuple[str, str]] = []
        if self._keras is not None:
            found += [("keras", name) for name in claimed_names(pairing, self._keras, "keras")]
        if self._torch is not None:
            names = claimed_names(pairing, self._torch, "torch", self._names.names)
            return found + [("torch", name) for name in names]
        if self._keras is not None:
            slots = claimed(pairing, self._keras, "keras")
            for slot, present in zip(pairing.kind.slots, slots, strict=True):
                if any(present):
                    found += [("torch", join(pairing.module, part, ".")) for part in slot.torch]
        return found
