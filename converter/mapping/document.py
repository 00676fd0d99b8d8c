"""Read a mapping file: TOML, schema 1, strictly, with every problem at once.

A mapping file is data. Unknown keys, undeclared names, templates that can be read in two ways and
values of the wrong type are all problems, each with its place and, where a known name is close, a
suggestion. Whether the mapping fits a checkpoint is not asked here.

Where the two columns may differ: a placeholder of the PyTorch column must be in the Keras column
too, or the PyTorch name could not be made from the Keras one. The reverse is allowed (the variant's
name in every ConvNeXt layer): Keras names are nearly always known, from the source or from
``--like``, as a Keras file cannot be written without its model.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from converter.errors import MappingFileError, Problem
from converter.mapping.document_axes import read_axis, read_measured
from converter.mapping.document_configs import read_configs
from converter.mapping.document_extras import ExtrasReader
from converter.mapping.document_models import read_models
from converter.mapping.measured import UNKNOWN
from converter.mapping.rules import Condition, Mapping, Measure, Rule
from converter.mapping.schema import Schema, near, type_name
from converter.mapping.template import Side, Tables, Template, TemplateError

SCHEMA = 1
MAX_BYTES = 1 << 18
# tomllib takes quadratic time for a key of very many parts, and a key is on one line.
MAX_LINE = 1000

_KEYS = (
    "schema",
    "name",
    "keras",
    "torch",
    "rules",
    "tables",
    "measured",
    "conditions",
    "sizes",
    "drop",
    "ties",
    "prefixes",
    "keras_prefixes",
    "aliases",
    "spellings",
    "automatic",
    "second_to",
    "requires",
    "sources",
    "presets",
    "inputs",
    "outputs",
    "proofs",
    "unproved",
    "configs",
)
_SIDES: tuple[Side, Side] = ("keras", "torch")


def read_mapping(path: Path, kinds: Collection[str] | None = None) -> Mapping:
    """Read a mapping file.

    Args:
        path: A TOML file of at most 256 KiB.
        kinds: Names of the layer kinds; ``None`` leaves the first column unchecked.

    Raises:
        MappingFileError: If it cannot be read, is no TOML, or says what no mapping can say.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _failure(path, f"cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise _failure(path, f"is larger than {MAX_BYTES:,} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _failure(path, f"is not UTF-8: {error.reason} at byte {error.start}") from error
    return parse_mapping(text, path=path, kinds=kinds)


def parse_mapping(
    text: str, *, path: Path | None = None, kinds: Collection[str] | None = None
) -> Mapping:
    """Read the text of a mapping file.

    Args:
        text: The TOML text.
        path: Where it comes from; its stem must be the mapping's name.
        kinds: Names of the layer kinds; ``None`` leaves the first column unchecked.

    Raises:
        MappingFileError: With every problem of the text.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_LINE:
            raise _failure(path, f"line {number} is longer than {MAX_LINE:,} characters")
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise _failure(path, "is nested too deeply") from error
    except ValueError as error:
        raise _failure(path, f"is no TOML: {error}") from error
    reader = _Reader(document, path, kinds)
    mapping = reader.mapping()
    if reader.schema.problems:
        raise MappingFileError(_summary(path, len(reader.schema.problems)), reader.schema.problems)
    return mapping


def _failure(path: Path | None, text: str) -> MappingFileError:
    return MappingFileError(_summary(path, 1), [Problem("invalid", "", text)])


def _summary(path: Path | None, count: int) -> str:
    name = f"'{path}'" if path is not None else "the mapping"
    return f"cannot use {name}: {count} problem{'s' if count > 1 else ''}"


class _Reader:
    """One document being read; the tables first, as templates need them."""

    def __init__(
        self, document: dict[str, Any], path: Path | None, kinds: Collection[str] | None
    ) -> None:
        self.schema = Schema()
        self._path = path
        self._kinds = kinds
        self._top = self.schema.table(document, "", _KEYS)
        self._tables: dict[str, dict[str, str]] = {}
        self._conditions: dict[str, Condition] = {}
        self._sizes: dict[str, int | str | tuple[str, ...]] = {}
        self._measures: dict[str, Measure] = {}
        self._used: set[str] = set()

    def mapping(self) -> Mapping:
        version = self._top.get("schema")
        if version != SCHEMA or isinstance(version, bool):
            self.schema.note("schema", f"must be {SCHEMA}, is {str(version)[:40]}")
        name = self.schema.required(self._top, "name", "")
        if self._path is not None and name and name != self._path.stem:
            self.schema.note("name", f"is '{name}', but the file is called '{self._path.name}'")
        self._tables = self._read_tables()
        measured = read_measured(self.schema, self._top, self._tables, self.template)
        self._tables |= dict.fromkeys(measured, UNKNOWN)
        self._read_sizes()
        self._conditions = self._read_conditions()
        rules = self._read_rules()
        extras = ExtrasReader(self.schema, self._top, self.template)
        drops, ties, requirements = extras.drops(), extras.ties(), extras.requirements()
        spellings = extras.spellings()
        for table in sorted(self._tables.keys() - self._used):
            self.schema.note(f"tables.{table}", "is used by no template")
        models = read_models(self.schema, self._top)
        return Mapping(
            name=name,
            keras=self.schema.required(self._top, "keras", ""),
            torch=self.schema.required(self._top, "torch", ""),
            rules=rules,
            tables=self._tables,
            conditions=self._conditions,
            sizes=self._sizes,
            measures=self._measures,
            measured=measured,
            drops=drops,
            ties=ties,
            prefixes=self._read_prefixes("prefixes", "."),
            keras_prefixes=self._read_prefixes("keras_prefixes", "/"),
            aliases=self._texts("aliases"),
            spellings=spellings,
            automatic=extras.automatic(),
            second_to=self.schema.optional(self._top, "second_to", "") or "",
            requirements=requirements,
            sources=models.sources,
            presets=models.presets,
            inputs=models.inputs,
            outputs=models.outputs,
            proofs=models.proofs,
            unproved=self._texts("unproved"),
            configs=read_configs(self.schema, self._top, self._conditions, self._axis),
            path=self._path,
        )

    def _read_tables(self) -> dict[str, dict[str, str]]:
        tables: dict[str, dict[str, str]] = {}
        for name, content in self.schema.table(self._top.get("tables", {}), "tables").items():
            where = f"tables.{name}"
            if not (name.isidentifier() and name.isascii() and name.islower()):
                self.schema.note(where, "a table's name is lower-case letters, digits and '_'")
            members: dict[str, str] = {}
            if isinstance(content, list):
                for index, entry in enumerate(content):
                    member = self.schema.text(entry, f"{where}[{index}]")
                    if member in members:
                        self.schema.note(where, f"has the member '{member}' twice")
                    members[member] = member
            else:
                for keras, torch in self.schema.table(content, where).items():
                    members[keras] = self._spelling(torch, f"{where}.{keras}")
            if not members:
                self.schema.note(where, "has no members")
            tables[name] = members
        return tables

    def _spelling(self, value: Any, where: str) -> str:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return str(self.schema.integer(value, where))
        return self.schema.text(value, where, empty=True)

    def _read_sizes(self) -> None:
        for name, value in self.schema.table(self._top.get("sizes", {}), "sizes").items():
            where = f"sizes.{name}"
            if isinstance(value, dict):
                table = self.schema.table(value, where, _SIDES)
                keras, torch = (
                    self._axis(self.schema.optional(table, side, where), where) for side in _SIDES
                )
                if keras is None and torch is None:
                    self.schema.note(where, "needs 'keras' or 'torch' or both")
                self._measures[name] = Measure(keras, torch)
            elif isinstance(value, str):
                self._sizes[name] = self.schema.text(value, where)
            elif isinstance(value, list):
                keys = (self.schema.text(one, f"{where}[{at}]") for at, one in enumerate(value))
                self._sizes[name] = tuple(keys)
            else:
                self._sizes[name] = self.schema.integer(value, where)

    def _axis(self, text: str | None, where: str) -> tuple[str, int] | None:
        """Read ``TENSOR[AXIS]``."""
        return read_axis(self.schema, text, where)

    def _read_conditions(self) -> dict[str, Condition]:
        conditions: dict[str, Condition] = {}
        content = self.schema.table(self._top.get("conditions", {}), "conditions")
        for name, entry in content.items():
            where = f"conditions.{name}"
            table = self.schema.table(
                entry, where, ("keras", "torch", "size", "equals", "otherwise")
            )
            keras = self.schema.optional(table, "keras", where)
            torch = self.schema.optional(table, "torch", where)
            size = self.schema.optional(table, "size", where)
            for side, text in (("keras", keras), ("torch", torch)):
                if text is not None:
                    self.template(text, f"{where}.{side}", "keras" if side == "keras" else "torch")
            if (size is None) == (keras is None and torch is None):
                self.schema.note(where, "needs 'keras' or 'torch' or both, or else 'size'")
            if (size is None) != ("equals" not in table):
                self.schema.note(where, "'size' and 'equals' go together")
            equals = table.get("equals")
            if equals is not None and not isinstance(equals, bool | int | float | str):
                self.schema.note(where, f"'equals' must be plain, is {type_name(equals)}")
            otherwise = table.get("otherwise")
            if otherwise is not None:
                otherwise = self.schema.flag(otherwise, f"{where}.otherwise")
            conditions[name] = Condition(keras, torch, size, equals, otherwise)
        return conditions

    def _read_rules(self) -> tuple[Rule, ...]:
        rows = self.schema.items(self._top.get("rules", []), "rules")
        if not rows:
            self.schema.note("rules", "has no rows")
        rules = tuple(self._rule(row, index) for index, row in enumerate(rows))
        used = {rule.when.removeprefix("not ") for rule in rules if rule.when}
        for name in sorted(self._conditions.keys() - used):
            self.schema.note(f"conditions.{name}", "is used by no rule")
        return rules

    def _rule(self, row: Any, index: int) -> Rule:
        where = f"rules[{index}]"
        cells = self.schema.items(row, where)
        if len(cells) not in (3, 4):
            self.schema.note(where, "must be [kind, keras, torch] or [kind, keras, torch, {...}]")
            return Rule("", "", "", index=index)
        kind = self.schema.text(cells[0], f"{where}[0]")
        if self._kinds is not None and kind and kind not in self._kinds:
            self.schema.note(f"{where}[0]", f"unknown kind '{kind}'{near(kind, self._kinds)}")
        keras = self.schema.text(cells[1], f"{where}[1]")
        torch = self.schema.text(cells[2], f"{where}[2]", empty=True)
        self._check_columns(where, keras, torch)
        options = self.schema.table(
            cells[3] if len(cells) == 4 else {},
            f"{where}[3]",
            ("sizes", "when", "optional", "beside", "without"),
        )
        when = self.schema.optional(options, "when", f"{where}[3]")
        if when is not None and when.removeprefix("not ") not in self._conditions:
            known = near(when.removeprefix("not "), self._conditions)
            self.schema.note(f"{where}[3].when", f"no condition is called '{when}'{known}")
        sizes = {
            axis: self._rule_size(value, f"{where}[3].sizes.{axis}")
            for axis, value in self.schema.table(
                options.get("sizes", {}), f"{where}[3].sizes"
            ).items()
        }
        optional = self.schema.flag(options.get("optional", False), f"{where}[3].optional")
        return Rule(
            kind,
            keras,
            torch,
            sizes,
            when,
            index,
            optional,
            beside=self._beside(options, f"{where}[3]", keras),
            without=self._without(options, f"{where}[3].without"),
        )

    def _beside(self, options: dict[str, Any], where: str, keras: str) -> str:
        """Read the second Keras layer, whose name must follow from that of the first."""
        beside = self.schema.optional(options, "beside", where) or ""
        first = self.template(keras, where, "keras") if beside else None
        second = self.template(beside, f"{where}.beside", "keras") if beside else None
        if first and second:
            for name in sorted(second.placeholders - first.placeholders):
                text = f"placeholder {{{name}}} is not in the Keras column"
                self.schema.note(f"{where}.beside", text)
        return beside

    def _without(self, options: dict[str, Any], where: str) -> tuple[str, ...]:
        names = self.schema.items(options.get("without", []), where)
        return tuple(self.schema.text(one, f"{where}[{at}]") for at, one in enumerate(names))

    def _rule_size(self, value: Any, where: str) -> int | str:
        if not isinstance(value, str):
            return self.schema.integer(value, where)
        known = self._sizes.keys() | self._measures.keys()
        if value not in known:
            self.schema.note(where, f"no size is called '{value}'{near(value, known)}")
        return value

    def _check_columns(self, where: str, keras: str, torch: str) -> None:
        left = self.template(keras, f"{where}[1]", "keras")
        right = self.template(torch, f"{where}[2]", "torch")
        if left is None or right is None:
            return
        for name in sorted(right.placeholders - left.placeholders):
            has = ", ".join(f"{{{one}}}" for one in sorted(left.placeholders)) or "none"
            self.schema.note(
                f"{where}[2]", f"placeholder {{{name}}} is not in the Keras column, which has {has}"
            )

    def template(self, text: str, where: str, side: Side) -> Template | None:
        """Read a template, noting a problem where it is none."""
        tables: Tables = self._tables
        try:
            template = Template.parse(text, tables, side)
        except TemplateError as error:
            self.schema.note(where, f"'{text[:200]}' {error}")
            return None
        self._used |= template.placeholders
        return template

    def _read_prefixes(self, key: str, mark: str) -> tuple[str, ...]:
        prefixes = []
        for index, entry in enumerate(self.schema.items(self._top.get(key, []), key)):
            where = f"{key}[{index}]"
            prefix = self.schema.text(entry, where)
            if mark == "/" and prefix.endswith("_") and prefix.strip("_/"):
                prefixes.append(prefix)  # of a model that repeats its name in its layers
                continue
            if not prefix.endswith(mark) or prefix.startswith(mark) or mark * 2 in prefix:
                self.schema.note(where, f"must be whole components, such as 'bert{mark}'")
            prefixes.append(prefix)
        return tuple(sorted(prefixes, key=len, reverse=True))

    def _texts(self, key: str) -> dict[str, str]:
        content = self.schema.table(self._top.get(key, {}), key)
        return {name: self.schema.text(text, f"{key}.{name}") for name, text in content.items()}
