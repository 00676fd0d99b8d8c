"""Begin a mapping file for two factories: what is certain is paired, the rest is for a person.

A draft proposes everything it can; this does not. Only rows that names, shapes and layer kinds
leave no choice for become rules. What is likely stands below them as a comment, and both lists of
names follow, each name marked with whether a rule has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from converter._version import __version__
from converter.drafting.certainty import Certainty
from converter.drafting.draft import Draft
from converter.drafting.drafter import Drafter, Wishes
from converter.drafting.numbering import Row
from converter.drafting.writing import Heading, compose, spell
from converter.errors import UsageError
from converter.formats.base import Checkpoint
from converter.live.factory import build, is_factory
from converter.live.opening import open_live
from converter.tensors.manifest import Family, Manifest

_FORM = "such as keras.applications:DenseNet121, or network.py:Net"
_LEGEND = (
    "All names. '=' has a rule, '?' is for a person: a rule, or a drop with its reason.",
    "Delete this list when the file is done.",
)


@dataclass(frozen=True, slots=True)
class Beginning:
    """A first mapping file.

    Attributes:
        text: The file.
        rules: Number of rules, all of them certain.
        paired: Number of Keras layers that they take.
        layers: Paths of the Keras layers that are left to a person.
        modules: Names of the PyTorch modules that are left to a person.
    """

    text: str
    rules: int
    paired: int
    layers: tuple[str, ...]
    modules: tuple[str, ...]


def begin(keras: str, torch: str, *, name: str) -> Beginning:
    """Return the first text of a mapping file; no weights are allocated where that can be.

    Args:
        keras: A factory of the Keras model.
        torch: A factory of the PyTorch module.
        name: Name of the mapping.

    Raises:
        UsageError: If one of the two names no factory, it fails, or no layer can be any module.
        MissingDependencyError: If SciPy or a framework is not installed.
    """
    first, second = _opened(keras, "keras"), _opened(torch, "torch")
    draft = Drafter(first, second, Wishes(Heading(name, keras, torch))).draft()
    certain = [rule.certainty <= Certainty.CERTAIN for rule in draft.rules]
    pairs = [
        pair
        for row, is_certain in zip(draft.rows, certain, strict=True)
        if is_certain
        for pair in row.pairs
    ]
    layers = _Names("Keras", _grouped(first.manifest, "/"), {layer for layer, _ in pairs})
    modules = _Names("PyTorch", _grouped(second.manifest, "."), {module for _, module in pairs})
    heading = Heading(
        name,
        keras,
        torch,
        comments=(f"Begun by converter {__version__}: only what is certain has a rule.",),
        leftovers=_likely(draft, certain),
        factories={"keras": keras, "torch": torch},
    )
    text = _composed(draft, certain, heading)
    lines = [*_LEGEND, *layers.lines(), *modules.lines()]
    text = "\n".join([text + _PROOF.format(keras=keras, torch=torch), *(f"# {x}" for x in lines)])
    return Beginning(text + "\n", sum(certain), len(pairs), layers.open(), modules.open())


_PROOF = """
# Both small, as small as they can be while every row is about something: say so by arguments.
[proofs.small]
keras = {{ factory = "{keras}", arguments = {{}} }}
torch = {{ factory = "{torch}", arguments = {{}} }}
"""


@dataclass(frozen=True, slots=True)
class _Names:
    """All names of one side, and those that have a rule."""

    title: str
    shapes: dict[str, list[tuple[int, ...]]]
    paired: set[str]

    def open(self) -> tuple[str, ...]:
        return tuple(name for name in self.shapes if not self._is_paired(name))

    def lines(self) -> Iterator[str]:
        yield f"{self.title}:"
        for name, shapes in self.shapes.items():
            mark = "=" if self._is_paired(name) else "?"
            yield f"  {mark} {name}  {', '.join(map(str, shapes))}"

    def _is_paired(self, name: str) -> bool:
        # A rule about a MultiHeadAttention is about the layers inside of it too.
        places = (name[:end] for end, mark in enumerate(f"{name}/") if mark in "/.")
        return name in self.paired or any(place in self.paired for place in places)


def _opened(factory: str, family: Family) -> Checkpoint:
    if not is_factory(factory):
        raise UsageError(f"cannot begin a mapping: '{factory}' names no factory", hint=_FORM)
    found = open_live(build(factory, family=family, meta=True))
    if found is None:  # build() has refused everything else
        raise UsageError(f"cannot begin a mapping: '{factory}' gives no model")
    return found


def _grouped(manifest: Manifest, separator: str) -> dict[str, list[tuple[int, ...]]]:
    """Return the shapes below each layer or module, in the order of the model."""
    groups: dict[str, list[tuple[int, ...]]] = {}
    for tensor in manifest:
        owner = tensor.name.rpartition(separator)[0] or tensor.name
        groups.setdefault(owner, []).append(tensor.shape)
    return groups


def _composed(draft: Draft, certain: Sequence[bool], heading: Heading) -> str:
    """Return the file with the certain rows only, and the tables that they use."""
    rows, notes = _chosen(draft, certain)
    return compose(rows, spell(rows), heading, notes)


def _chosen(draft: Draft, wanted: Sequence[bool]) -> tuple[list[Row], list[str]]:
    """Return some of the rows, and what speaks for each."""
    found = [
        (row, rule.why)
        for row, rule, one in zip(draft.rows, draft.rules, wanted, strict=True)
        if one
    ]
    return [row for row, _ in found], [why for _, why in found]


def _likely(draft: Draft, certain: Sequence[bool]) -> tuple[str, ...]:
    """Return the other rows as comments; a person makes rules of them, or does not."""
    rows, notes = _chosen(draft, [not one for one in certain])
    if not rows:
        return ()
    text = compose(rows, spell(rows), Heading("", "", ""), notes)
    lines = text.partition("rules = [\n")[2].splitlines()
    return ("Likely, for a person to look at:", *(line for line in lines if line != "]"))
