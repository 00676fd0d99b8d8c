"""The data model of the mapping language: kinds, rules, mappings. No parsing, no files."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from converter.mapping.config_tables import ConfigTable
from converter.mapping.notes import Note
from converter.mapping.slots import BESIDE, Scalar, Slot


@dataclass(frozen=True, slots=True)
class Kind:
    """An entry of the layer-kind catalogue.

    Attributes:
        name: As written in rules, such as ``conv2d``.
        keras: Keras classes that it serves; composites as ``Bidirectional(LSTM)``.
        torch: The PyTorch module, such as ``torch.nn.Conv2d``; empty where there is none.
        slots: The correspondence of tensors.
        source: Where the facts come from.
        automatic: Whether conversion by kind may choose it for its Keras classes.
        when: Entries of the Keras layer's config that must be equal for conversion by kind.
        refuse: A sentence that says why no module of ``torch.nn`` can be equal, or ``None``. The
            slots, where there are some, are then for a module of one's own.
        otherwise: Why a layer whose config contradicts ``when`` is not of this kind, or ``None``.
        notes: What equal weights do not guarantee (epsilon, padding).
    """

    name: str
    keras: tuple[str, ...]
    torch: str
    slots: tuple[Slot, ...]
    source: str
    automatic: bool = True
    when: Dict[str, Any] = field(default_factory=dict)
    refuse: str | None = None
    otherwise: str | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of a mapping: layer kind, Keras layer, PyTorch module.

    Attributes:
        kind: Name of a kind.
        keras: Path of a Keras layer, with placeholders.
        torch: Name of a PyTorch module, with placeholders; empty for the module itself.
        sizes: Sizes of pattern axes that shapes do not determine: a number, or the name of a size
            of the mapping. Sizes that shapes do determine are compared with them.
        when: Name of a condition, ``not NAME`` for its negation, or ``None``.
        optional: Whether a checkpoint of this architecture may lack everything that the rule is
            about (the head of a classifier); for finding the mapping of a checkpoint.
        index: Position in the file, from 0, for messages.
        beside: Path of a second Keras layer, of which the kind takes ``beside/...``, or empty.
        without: Keras slots of the kind that another rule takes.
    """

    kind: str
    keras: str
    torch: str
    sizes: Dict[str, int | str] = field(default_factory=dict)
    when: str | None = None
    index: int = 0
    optional: bool = False
    beside: str = ""
    without: tuple[str, ...] = ()

    def served(self, kind: Kind) -> Kind:
        """Return the kind without what another rule takes."""
        left = tuple(slot for slot in kind.slots if not set(slot.keras) & set(self.without))
        return replace(kind, slots=left) if self.without else kind

    def __str__(self) -> str:
        return f'rules[{self.index}] ["{self.kind}", "{self.keras}", "{self.torch}"]'


@dataclass(frozen=True, slots=True)
class Condition:
    """A named condition: true when a name is there, or when a size has a value.

    Attributes:
        keras: A Keras layer path or tensor name, or ``None``.
        torch: A PyTorch tensor or module name, or ``None``.
        size: The name of a size of the mapping, or ``None``.
        equals: What the size must equal.
        otherwise: What counts where the side that would show it is not there.
    """

    keras: str | None = None
    torch: str | None = None
    size: str | None = None
    equals: Scalar | None = None
    otherwise: bool | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """A size read off a shape: one axis of a tensor that a checkpoint surely has.

    Attributes:
        keras: Keras tensor name and axis, or ``None``.
        torch: PyTorch tensor name and axis, or ``None``.
    """

    keras: tuple[str, int] | None = None
    torch: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """A tensor of one side that has no counterpart, with the reason.

    Attributes:
        side: Which side has it.
        name: Tensor name with placeholders.
        why: The reason, one sentence.
    """

    side: Literal["keras", "torch"]
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Tie:
    """A PyTorch tensor that is the same as another one.

    Attributes:
        torch: The further name.
        of: The name that the rules write.
        write: Whether a PyTorch target gets the further name too (``copy``) or not (``omit``).
    """

    torch: str
    of: str
    write: Literal["copy", "omit"] = "omit"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A hyperparameter without which equal weights give different outputs.

    Attributes:
        side: The side whose object has the attribute.
        name: Keras layer path or PyTorch module name, with placeholders; empty for the whole model.
        attribute: Attribute of that object, such as ``epsilon``.
        equals: What it must be (lists for tuples).
        why: What goes wrong otherwise, one sentence.
        is_absent: Whether instead there must be no object of that name.
        kind: Instead of a name: every object that a rule of this kind is about; or ``None``.
    """

    side: Literal["keras", "torch"]
    name: str
    attribute: str
    equals: Any
    why: str
    is_absent: bool = False
    kind: str | None = None

    def __str__(self) -> str:
        side = "Keras" if self.side == "keras" else "PyTorch"
        what = f"{side} has no '{self.name}'"
        if not self.is_absent:
            where = f" '{self.name}'" if self.name else ""
            where = where if self.kind is None else f" every {self.kind}"
            what = f"{side}{where} has {self.attribute} = {self.equals}"
        return f"{what}: {self.why}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where to build one side for validation.

    Attributes:
        factory: Dotted path and callable, ``keras.applications:DenseNet121``.
        arguments: Keyword arguments; a table with ``factory`` among them is built first.
        replace: Name of a PyTorch module to what is put into its place.
    """

    factory: str
    arguments: Dict[str, Any] = field(default_factory=dict)
    replace: Dict[str, Source] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelValue:
    """One input or one output of both models, for comparing what they compute.

    Attributes:
        keras: Name of it in the Keras model, or empty for the only one.
        torch: Name of the argument, attribute or key in PyTorch, or empty for the only one.
        axes: How to permute the axes from Keras to PyTorch, batch included, as an axis pattern; or
            ``None`` where both order them alike.
        shape: Size of each axis in Keras without the batch, as far as a default makes sense; empty
            for outputs.
        low: Smallest value of a random input; ``None`` for what the Keras model says itself.
        high: Largest value of a random input, likewise.
        dtype: Element type of an input.
        before: For an input: the Keras layer whose input PyTorch takes, where Keras prepares images
            inside the model; or empty.
        where: For an output: the Keras input that is not zero at the positions that are compared,
            such as a padding mask; or empty for all positions.
    """

    keras: str = ""
    torch: str = ""
    axes: str | None = None
    shape: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    dtype: str = "float32"
    before: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class ProofCase:
    """Two small models whose outputs prove the mapping.

    Attributes:
        keras: What builds the Keras model.
        torch: What builds the PyTorch module.
        inputs: What both take, where it is not what the mapping says.
        outputs: What both give, likewise.
        own: The module of keras_hub with its own ``convert_weights`` to compare with, or empty.
        own_dtype: What that converter rounds values to, or empty.
        deviates: Why the outputs of this twin differ, or empty where they must agree.
    """

    keras: Source
    torch: Source
    inputs: tuple[ModelValue, ...] = ()
    outputs: tuple[ModelValue, ...] = ()
    own: str = ""
    own_dtype: str = ""
    deviates: str = ""


@dataclass(frozen=True, slots=True)
class Mapping:
    """A pairing of one Keras architecture with one PyTorch implementation.

    Attributes:
        name: The architecture, also the file's stem; ``by kind`` for a generated mapping.
        keras: What the left column names.
        torch: What the right column names.
        rules: The rows.
        tables: Placeholder to Keras name to PyTorch name.
        conditions: Named conditions.
        sizes: Size name to a number, to a key of ``config.json``, or to several, of which the first
            that is there counts.
        measures: Size name to the axis that shows it.
        measured: Table to the axis of tensors that shows its members: Keras spells the size, and
            PyTorch the number in the tensor's name.
        drops: Tensors without counterpart.
        ties: PyTorch tensors with two names.
        prefixes: Prefixes that some PyTorch checkpoints put before every name, longest first.
        keras_prefixes: Prefixes of Keras layer paths: the model as a layer of a larger one.
        aliases: How older PyTorch checkpoints end a name, to how the rules end it, by component
            (``LayerNorm.gamma`` to ``LayerNorm.weight``).
        automatic: Names that Keras gives to layers by itself; in the rules they are numbered afresh
            within the layer around them.
        spellings: Another template of PyTorch names to the one that the rules write.
        requirements: Hyperparameters that outputs depend on.
        sources: Variant of the architecture to its ``keras`` and ``torch`` factory.
        presets: The same for variants that are too large to be tried: their names and shapes are
            paired, and nothing else is done with them.
        inputs: What both models take, for validation.
        outputs: What both models give, for validation; empty for a single output.
        proofs: Name of a small model to how both of its sides are built.
        unproved: What this mapping does not cover, to the reason.
        second_to: The mapping that is meant where it and this one both cover a PyTorch checkpoint
            and no Keras side is there: another Keras implementation of the same; or empty.
        configs: Which entries of both sides' configurations mean the same.
        path: The file, or ``None``.
    """

    name: str
    keras: str
    torch: str
    rules: tuple[Rule, ...]
    tables: Dict[str, Dict[str, str]] = field(default_factory=dict)
    conditions: Dict[str, Condition] = field(default_factory=dict)
    sizes: Dict[str, int | str | tuple[str, ...]] = field(default_factory=dict)
    measures: Dict[str, Measure] = field(default_factory=dict)
    measured: Dict[str, Measure] = field(default_factory=dict)
    drops: tuple[Drop, ...] = ()
    ties: tuple[Tie, ...] = ()
    prefixes: tuple[str, ...] = ()
    keras_prefixes: tuple[str, ...] = ()
    aliases: Dict[str, str] = field(default_factory=dict)
    spellings: Dict[str, str] = field(default_factory=dict)
    automatic: tuple[str, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    sources: Dict[str, Dict[str, Source]] = field(default_factory=dict)
    presets: Dict[str, Dict[str, Source]] = field(default_factory=dict)
    inputs: tuple[ModelValue, ...] = ()
    outputs: tuple[ModelValue, ...] = ()
    proofs: Dict[str, ProofCase] = field(default_factory=dict)
    unproved: Dict[str, str] = field(default_factory=dict)
    second_to: str = ""
    configs: tuple[ConfigTable, ...] = ()
    path: Path | None = None

    @property
    def variants(self) -> Dict[str, Dict[str, Source]]:
        """Every full-size variant, those too large to be tried included."""
        return {**self.sources, **self.presets}

    def is_for(self, model_type: str) -> bool:
        """Whether it is called what ``config.json`` calls a family, or has a table for it."""
        return self.name == model_type or any(
            table.model_type == model_type for table in self.configs
        )


@dataclass(frozen=True, slots=True)
class Pairing:
    """One rule applied: this layer corresponds to this module.

    Attributes:
        rule: The rule.
        kind: Its kind.
        layer: Path of the Keras layer.
        module: Name of the PyTorch module, without prefix.
        sizes: Sizes of pattern axes, all numbers.
        beside: Path of the second Keras layer, or empty.
    """

    rule: Rule
    kind: Kind
    layer: str
    module: str
    sizes: Dict[str, int] = field(default_factory=dict)
    beside: str = ""

    def place(self, slot: str) -> tuple[str, str]:
        """Return the path of the Keras layer that a slot of the kind is of, and the slot there."""
        if slot.startswith(BESIDE):
            return self.beside, slot.removeprefix(BESIDE)
        return self.layer, slot
