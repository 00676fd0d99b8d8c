"""Mapping files: what they say is read in full, and everything wrong is said at once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from support.hanging import no_hang

from converter.errors import MappingFileError
from converter.mapping.document import parse_mapping, read_mapping
from converter.mapping.rules import (
    Condition,
    Drop,
    Measure,
    ModelValue,
    ProofCase,
    Requirement,
    Rule,
    Source,
    Tie,
)

KINDS = {"conv2d", "dense", "batch_norm"}
HEAD = 'schema = 1\nname = "toy"\nkeras = "k"\ntorch = "t"\n'
ROW = 'rules = [["dense", "a", "b"]]\n'

FULL = """
schema = 1
name = "toy"
keras = "my.keras"
torch = "my.torch"
rules = [
  ["conv2d", "conv{b}", "features.{b-1}"],
  ["dense", "{proj}", "att.{proj}", { sizes = { h = "heads", d = 4 }, when = "deep" }],
  ["dense", "head", "", { optional = true, when = "not deep", sizes = { h = "width" } }],
]
prefixes = ["a.", "model.a."]
keras_prefixes = ["toy/"]
aliases = { "norm.gamma" = "norm.weight" }
drop = [{ torch = "conv{b}.ids", why = "an index" }]
ties = [{ torch = "out.weight", of = "in.weight", write = "copy" }]
requires = [
  { torch = "features.{b}", attribute = "eps", equals = 1e-3, why = "it differs" },
  { torch = true, kind = "conv2d", attribute = "momentum", equals = 0.1, why = "so" },
]
inputs = [{ shape = [8, 8, 3], range = [0, 255], dtype = "int32", axes = "b h w c -> b c h w" }]
outputs = [{ keras = "x", torch = "y" }]
unproved = { "a larger one" = "nobody has it" }

[tables]
proj = { query = "q", key = "k", "7" = 3 }

[sizes]
heads = "num_heads"
width = { keras = "head/kernel[1]", torch = "head.weight[0]" }

[conditions]
deep = { keras = "conv9", torch = "features.8" }

[sources.small]
keras = "my.keras:build"
torch = { factory = "my.torch:build", arguments = { depth = 3 } }

[presets.huge]
torch = "my.torch:build_huge"

[proofs.mini]
keras = "my.keras:build"
own = "their.converter"
outputs = [{ keras = "x", where = "mask" }]

[proofs.mini.torch]
factory = "my.torch:build"
arguments = { depth = 1 }
replace = { head = "torch.nn:Identity" }
"""


def test_everything_a_file_can_say():
    found = parse_mapping(FULL, kinds=KINDS)
    assert found.rules == (
        Rule("conv2d", "conv{b}", "features.{b-1}", index=0),
        Rule("dense", "{proj}", "att.{proj}", {"h": "heads", "d": 4}, "deep", 1),
        Rule("dense", "head", "", {"h": "width"}, "not deep", 2, optional=True),
    )
    assert found.tables == {"proj": {"query": "q", "key": "k", "7": "3"}}
    assert found.conditions == {"deep": Condition("conv9", "features.8")}
    assert found.sizes == {"heads": "num_heads"}
    assert found.measures == {"width": Measure(("head/kernel", 1), ("head.weight", 0))}
    assert found.drops == (Drop("torch", "conv{b}.ids", "an index"),)
    assert found.ties == (Tie("out.weight", "in.weight", "copy"),)
    assert found.prefixes == ("model.a.", "a.")
    assert found.keras_prefixes == ("toy/",)
    assert found.aliases == {"norm.gamma": "norm.weight"}
    assert found.requirements == (
        Requirement("torch", "features.{b}", "eps", 1e-3, "it differs"),
        Requirement("torch", "", "momentum", 0.1, "so", kind="conv2d"),
    )
    assert found.sources == {
        "small": {
            "keras": Source("my.keras:build"),
            "torch": Source("my.torch:build", {"depth": 3}),
        }
    }
    assert found.inputs == (
        ModelValue(axes="b h w c -> b c h w", shape=(8, 8, 3), low=0.0, high=255.0, dtype="int32"),
    )
    assert found.outputs == (ModelValue("x", "y"),)
    assert found.presets == {"huge": {"torch": Source("my.torch:build_huge")}}
    assert list(found.variants) == ["small", "huge"]
    assert found.unproved == {"a larger one": "nobody has it"}
    assert found.proofs == {
        "mini": ProofCase(
            Source("my.keras:build"),
            Source("my.torch:build", {"depth": 1}, {"head": Source("torch.nn:Identity")}),
            outputs=(ModelValue("x", where="mask"),),
            own="their.converter",
        )
    }


@dataclass(frozen=True)
class Failure:
    id: str
    text: str
    problems: tuple[str, ...]


FAILURES = [
    Failure(
        "nothing",
        "",
        (
            "schema: must be 1, is None",
            ": has no 'name'",
            "rules: has no rows",
            ": has no 'keras'",
            ": has no 'torch'",
        ),
    ),
    Failure("later schema", HEAD.replace("1", "2") + ROW, ("schema: must be 1, is 2",)),
    Failure("true is not 1", HEAD.replace("1", "true") + ROW, ("schema: must be 1, is True",)),
    Failure(
        "unknown key", HEAD + ROW + "requirs = []", (": unknown key 'requirs'; near: 'requires'",)
    ),
    Failure(
        "unknown kind",
        HEAD + 'rules = [["conv2", "a", "b"]]',
        ("rules[0][0]: unknown kind 'conv2'; near: 'conv2d'",),
    ),
    Failure(
        "two cells",
        HEAD + 'rules = [["dense", "a"]]',
        ("rules[0]: must be [kind, keras, torch] or [kind, keras, torch, {...}]",),
    ),
    Failure(
        "wrong types",
        HEAD + 'rules = [["dense", 3, ["b"]], 4]',
        (
            "rules[0][1]: must be a text, is an integer",
            "rules[0][2]: must be a text, is a list",
            "rules[1]: must be a list, is an integer",
            "rules[1]: must be [kind, keras, torch] or [kind, keras, torch, {...}]",
        ),
    ),
    Failure(
        "placeholder of one side",
        HEAD + 'rules = [["dense", "a{i}", "b{i}{j}"], ["dense", "a{i}", "b{j}"]]',
        (
            "rules[0][2]: 'b{i}{j}' has digits right behind the number {i}: "
            "where the number ends cannot be told",
            "rules[1][2]: placeholder {j} is not in the Keras column, which has {i}",
        ),
    ),
    Failure(
        "options",
        HEAD + 'rules = [["dense", "a", "b", { size = {}, when = "deep", '
        'sizes = { c = "chanels" }, optional = 1 }]]\n[sizes]\nchannels = 3',
        (
            "rules[0][3]: unknown key 'size'; near: 'sizes'",
            "rules[0][3].when: no condition is called 'deep'",
            "rules[0][3].sizes.c: no size is called 'chanels'; near: 'channels'",
            "rules[0][3].optional: must be true or false, is an integer",
        ),
    ),
    Failure(
        "tables",
        HEAD + ROW + '[tables]\nBig = ["a", "a"]\nx = {}\ny = { a = -1 }',
        (
            "tables.Big: a table's name is lower-case letters, digits and '_'",
            "tables.Big: has the member 'a' twice",
            "tables.x: has no members",
            "tables.y.a: must be a text, is an integer",
            "tables.Big: is used by no template",
            "tables.x: is used by no template",
            "tables.y: is used by no template",
        ),
    ),
    Failure(
        "conditions",
        HEAD
        + ROW
        + '[conditions]\na = {}\nb = { size = "n" }\nc = { keras = "x", size = "n", equals = [] }',
        (
            "conditions.a: needs 'keras' or 'torch' or both, or else 'size'",
            "conditions.b: 'size' and 'equals' go together",
            "conditions.c: needs 'keras' or 'torch' or both, or else 'size'",
            "conditions.c: 'equals' must be plain, is a list",
            "conditions.a: is used by no rule",
            "conditions.b: is used by no rule",
            "conditions.c: is used by no rule",
        ),
    ),
    Failure(
        "sizes",
        HEAD
        + ROW
        + '[sizes]\na = -1\nb = {}\nc = { keras = "x/kernel" }\nd = { torch = "[0]" }\ne = 1.5',
        (
            "sizes.a: must be an integer of at least 0, is -1",
            "sizes.b: needs 'keras' or 'torch' or both",
            "sizes.c: 'x/kernel' is not of the form TENSOR[AXIS]",
            "sizes.c: needs 'keras' or 'torch' or both",
            "sizes.d: '[0]' is not of the form TENSOR[AXIS]",
            "sizes.d: needs 'keras' or 'torch' or both",
            "sizes.e: must be an integer, is a number",
        ),
    ),
    Failure(
        "drops and ties",
        HEAD + ROW + 'drop = [{ torch = "x" }, { keras = "a", torch = "b", why = "w" }]\n'
        'ties = [{ torch = "a{i}", of = "b", write = "no" }]',
        (
            "drop[0]: has no 'why'",
            "drop[1]: needs exactly one of 'keras' and 'torch'",
            "ties[0]: 'torch' and 'of' have different placeholders",
            "ties[0].write: must be one of 'omit', 'copy', is 'no'",
        ),
    ),
    Failure(
        "prefixes",
        HEAD + ROW + 'prefixes = ["bert", ".x.", 3]',
        (
            "prefixes[0]: must be whole components, such as 'bert.'",
            "prefixes[1]: must be whole components, such as 'bert.'",
            "prefixes[2]: must be a text, is an integer",
            "prefixes[2]: must be whole components, such as 'bert.'",
        ),
    ),
    Failure(
        "models",
        HEAD + ROW + 'inputs = [{ shape = [0, "a"], range = [2, 1], dtype = "text" }]\n'
        'outputs = [{ shape = [1] }]\n[sources.a]\nkeras = "x"\ntf = "y"',
        (
            "sources.a: unknown key 'tf'",
            "sources.a.keras: 'x' is not of the form 'package.module:function'",
            "inputs[0].shape[0]: must be an integer of at least 1, is 0",
            "inputs[0].shape[1]: must be an integer, is a text",
            "inputs[0].range: must be [low, high]",
            "inputs[0].dtype: must be one of 'float32', 'int32', 'int64', 'bool', is 'text'",
            "outputs[0]: unknown key 'shape'",
        ),
    ),
    Failure(
        "requires of a kind",
        HEAD + ROW + 'requires = [{ kind = "dense", torch = "x", attribute = "a", equals = 1, '
        'why = "w" }, { kind = "conv2d", torch = true, attribute = "a", equals = 1, why = "w" }]',
        (
            "requires[0]: needs 'keras = true' or 'torch = true' beside 'kind'",
            "requires[1].kind: no rule is of the kind 'conv2d'",
        ),
    ),
    Failure(
        "proofs",
        HEAD + ROW + '[proofs.a]\nkeras = "x"\ninputs = [{ where = "y" }]\n'
        '[proofs.b.torch]\nfactory = "a:b"\nreplace = { head = 3 }',
        (
            "proofs.a: has no 'torch'",
            "proofs.a.keras: 'x' is not of the form 'package.module:function'",
            "proofs.a.inputs[0]: unknown key 'where'",
            "proofs.b: has no 'keras'",
            "proofs.b.torch.replace.head: must be a table, is an integer",
            "proofs.b.torch.replace.head: has no 'factory'",
        ),
    ),
    Failure(
        "requires",
        HEAD + ROW + 'requires = [{ keras = "a", attribute = "eps" }]',
        (
            "requires[0]: has no 'why'",
            "requires[0]: has no 'equals'",
        ),
    ),
]


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case.id)
def test_every_problem_with_its_place(case):
    with pytest.raises(MappingFileError) as caught:
        parse_mapping(case.text, kinds=KINDS)
    found = tuple(f"{problem.where}: {problem.text}" for problem in caught.value.problems)
    assert found == case.problems


def test_the_message_as_a_whole(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_text(HEAD.replace("toy", "toi") + 'rules = [["dens", "a{", "b"]]')
    with pytest.raises(MappingFileError) as caught:
        read_mapping(path, KINDS)
    assert str(caught.value) == (
        f"cannot use '{path}': 3 problems\n"
        "  invalid  name  is 'toi', but the file is called 'toy.toml'\n"
        "  invalid  rules[0][0]  unknown kind 'dens'; near: 'dense'\n"
        "  invalid  rules[0][1]  'a{' has a '{' without its '}'"
    )


HOSTILE = {
    "not TOML": (b"rules = [", "is no TOML: Invalid value (at end of document)"),
    "a key twice": (
        b"a = 1\na = 2\n",
        "is no TOML: Cannot overwrite a value (at line 2, column 6)",
    ),
    "not UTF-8": (b'name = "\xff"', "is not UTF-8: invalid start byte at byte 8"),
    "large": (b"#" * ((1 << 18) + 1), "is larger than 262,144 bytes"),
    "deep": (b"a = " + b"[\n" * 100_000, "is nested too deeply"),
    "a key of many parts": (b"a." * 5000 + b"a = 1", "line 1 is longer than 1,000 characters"),
    "a very large number": (
        b"schema = " + b"9" * 900 + b"\nname = 1e999\n[sizes]\na = " + b"9" * 900,
        None,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_without_hanging(name, tmp_path):
    content, message = HOSTILE[name]
    path = tmp_path / "toy.toml"
    path.write_bytes(content)
    with no_hang(), pytest.raises(MappingFileError) as caught:
        read_mapping(path, KINDS)
    if message is not None:
        assert [problem.text for problem in caught.value.problems] == [message]
    assert max(map(len, str(caught.value).splitlines())) < 600


def test_many_keys_of_many_parts_take_no_quadratic_time(tmp_path):
    path = tmp_path / "toy.toml"
    line = b"a." * 480 + b"a%d = 1\n"
    path.write_bytes(b"".join(line % number for number in range(260)))
    with no_hang(), pytest.raises(MappingFileError):
        read_mapping(path, KINDS)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MappingFileError) as caught:
        read_mapping(tmp_path / "no.toml")
    assert [problem.text for problem in caught.value.problems] == [
        "cannot be read: No such file or directory"
    ]
