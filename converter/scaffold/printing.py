"""A translated model as the text of a Python file."""

from __future__ import annotations

from collections.abc import Sequence

from converter.scaffold.body import Body, literal_text
from converter.scaffold.layout_lines import wrapped
from converter.scaffold.program import Attr, Code, Literal, Program
from converter.scaffold.snippets import snippets
from converter.scaffold.translation import unused


def print_file(doc: Sequence[str], programs: Sequence[Program], wanted: Sequence[str]) -> str:
    """Return the text of a file.

    Args:
        doc: Lines of its docstring.
        programs: Its classes, each after those it needs.
        wanted: Names of the snippets that they need.
    """
    parts = [_docstring(doc, 0), *snippets(wanted), *(print_class(one) for one in programs)]
    body = "\n\n\n".join(parts[1:])
    imports = ["import torch"] if "torch." in body.replace("torch.nn", "") else []
    imports.append("from torch import nn")
    if "F." in body:
        imports = ["import torch", "import torch.nn.functional as F", "from torch import nn"]
        if "torch." not in body:
            imports = imports[1:]
    return f"{parts[0]}\n\n" + "\n".join(imports) + f"\n\n\n{body}\n"


def print_class(program: Program) -> str:
    """Return the text of one class."""
    if not program.statements and not program.members:
        return "\n".join([f"class {program.name}(Untranslated):", _docstring(program.doc, 4)])
    statements = unused(program.statements, program.returns)
    named = {name for one in statements for name in one.attrs()}
    lines = [f"class {program.name}(nn.Module):", _docstring(program.doc, 4), ""]
    lines += ["    def __init__(self):", "        super().__init__()"]
    for member in program.members:
        if member.name in named:
            lines += wrapped(f"self.{member.name} = {code_text(member.code)}", 8)
    names = [argument.name for argument in program.arguments]
    lines += ["", *wrapped(f"def forward(self, {', '.join(names)}):", 4)]
    arguments = {argument.value: argument.name for argument in program.arguments}
    for line in Body(statements, program.returns, arguments).lines():
        lines += wrapped(line, 8)
    return "\n".join(lines)


def code_text(code: Code) -> str:
    """Return code without values as text."""
    parts = []
    for part in code:
        if isinstance(part, Literal):
            parts.append(literal_text(part.value))
        elif isinstance(part, Attr):
            parts.append(f"self.{part.name}")
        else:
            parts.append(str(part))
    return "".join(parts)


def _docstring(lines: Sequence[str], indent: int) -> str:
    space = " " * indent
    if len(lines) == 1:
        return f'{space}"""{lines[0]}"""'
    body = [f"{space}{line}".rstrip() for line in lines[1:]]
    return "\n".join([f'{space}"""{lines[0]}', *body, f'{space}"""'])
