"""The TOML examples of mappings/README.md are read, like its Python examples are run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from converter.errors import MappingFileError
from converter.mapping.catalogue import load_catalogue
from converter.mapping.document import parse_mapping

README = Path(__file__).resolve().parents[2] / "mappings" / "README.md"
HEAD = 'schema = 1\nname = "toy"\nkeras = "k"\ntorch = "t"\n'


def test_every_toml_example_is_sound():
    blocks = re.findall(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 14
    rows = [block for block in blocks if block.startswith('["')]
    plain = [block for block in blocks if block not in rows and not block.startswith("[")]
    tables = [block for block in blocks if block not in rows and block not in plain]
    rows.append('["batch_norm", "norm", "norm"]')  # which one example is about
    text = HEAD + "rules = [" + ",".join(rows) + "]\n" + "".join(plain) + "".join(tables)
    kinds = load_catalogue().kinds
    with pytest.raises(MappingFileError) as caught:
        parse_mapping(text, kinds=kinds)
    # One of the two conditions is shown without a row that uses it; nothing else may be wrong.
    assert [problem.where for problem in caught.value.problems] == ["conditions.tied"]
    assert parse_mapping(text.replace("tied  =", "#"), kinds=kinds).rules[0].optional
