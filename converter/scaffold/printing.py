"""A translated model as the text of a Python file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from converter.scaffold.blocks import Form, find_forms
from converter.scaffold.body import Body, Repeated
from converter.scaffold.layout_lines import wrapped
from converter.scaffold.literals import literal_part
from converter.scaffold.program import Attr, Code, Literal, Part, Program, Statement, Use
from converter.scaffold.sequences import Told, loops
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
    program.statements = unused(program.statements, program.returns)
    forms = find_forms(program)
    names = [argument.name for argument in program.arguments]
    arguments = {argument.value: argument.name for argument in program.arguments}
    lines = [f"class {program.name}(nn.Module):", _docstring(program.doc, 4), ""]
    lines += ["    def __init__(self):", "        super().__init__()", *_members(program, forms)]
    for form in forms:
        lines += ["", *_making(form), "", *_running(form)]
    lines += ["", *wrapped(f"def forward(self, {', '.join(names)}):", 4)]
    for line in Body(_with_blocks(program, forms), program.returns, arguments).lines():
        lines += _indented(line)
    return "\n".join(lines)


def _indented(line: str) -> list[str]:
    """Return a line of a body, which may be indented in it already."""
    text = line.lstrip(" ")
    return wrapped(text, 8 + len(line) - len(text))


def _members(program: Program, forms: Sequence[Form]) -> list[str]:
    """Return the lines that make the members; those of a block come where its first one was."""
    named = {name for one in program.statements for name in one.attrs()}
    of_block = {
        member.name: (form, index)
        for form in forms
        for index, block in enumerate(form.blocks)
        for member in block.members
    }
    lines: list[str] = []
    waiting: list[Told] = []
    last: Form | None = None
    seen: set[tuple[int, int]] = set()
    holders: set[str] = set()

    def flush() -> None:
        if last is not None and waiting:
            for line in loops(waiting, f"self._add_block{last.suffix}({{}})"):
                lines.extend(_indented(line))
            waiting.clear()

    for member in program.members:
        if member.name not in named:
            continue
        found = of_block.get(member.name)
        if found is None or found[0] is not last:
            flush()
        last = found[0] if found is not None else None
        if found is None:
            lines += _holders(member.name, holders)
            lines += wrapped(f"self.{member.name} = {code_text(member.code)}", 8)
        elif (id(found[0]), found[1]) not in seen:
            form, index = found
            seen.add((id(form), index))
            values = {name: vector[index] for name, vector in form.made_with.items()}
            waiting.append(Told(form.blocks[index].run.name, values))
    flush()
    return lines


def _holders(name: str, made: set[str]) -> list[str]:
    """Return the lines that make the modules which a member of a dotted name is in."""
    lines = []
    *above, _ = name.split(".")
    for count in range(1, len(above) + 1):
        holder = ".".join(above[:count])
        if holder not in made:
            made.add(holder)
            lines.append(f"        self.{holder} = nn.Module()")
    return lines


def _making(form: Form) -> list[str]:
    """Return the method that makes the layers of a block."""
    given = ", ".join(["self", "name", *form.made_with])
    lines = wrapped(f"def _add_block{form.suffix}({given}):", 4)
    name = form.blocks[0].run.name
    for member in form.members:
        ending = member.name.removeprefix(name)
        call = f'self.add_module(f"{{name}}{ending}", {code_text(member.code)})'
        lines += wrapped(call, 8)
    return lines


def _running(form: Form) -> list[str]:
    """Return the method that runs a block."""
    block = form.blocks[0]
    given = ", ".join(["self", "x", "name", *form.run_with])
    lines = wrapped(f"def _block{form.suffix}({given}):", 4)
    lines += ["        def layer(part):", '            return getattr(self, f"{name}{part}")', ""]

    def spelt(part: Part) -> str | None:
        if isinstance(part, Attr):
            return f'layer("{part.name.removeprefix(block.run.name)}")'
        return None

    returns = (Use(block.made),)
    for line in Body(form.statements, returns, {block.given: "x"}, spelt).lines():
        lines += _indented(line)
    return lines


def _with_blocks(program: Program, forms: Sequence[Form]) -> list[Statement]:
    """Return the statements with each block as a call, those in a row as one statement."""
    starts = {
        block.run.start: (form, index) for form in forms for index, block in enumerate(form.blocks)
    }
    read = Counter(value for one in program.statements for value in one.uses())
    made: list[Statement] = []
    position = 0
    while position < len(program.statements):
        found = starts.get(position)
        if found is None:
            made.append(program.statements[position])
            position += 1
            continue
        form, index = found
        block = form.blocks[index]
        values = {name: vector[index] for name, vector in form.run_with.items()}
        told = Told(block.run.name, values)
        before = made[-1] if made else None
        inner = sum(value == block.given for one in block.statements for value in one.uses())
        if (
            isinstance(before, Repeated)
            and before.suffix == form.suffix
            and before.targets == (block.given,)
            and read[block.given] == inner
        ):
            made[-1] = replace(before, targets=(block.made,), blocks=(*before.blocks, told))
        else:
            made.append(Repeated((block.made,), (), "", block.given, (told,), form.suffix))
        position = block.run.end
    return made


def code_text(code: Code) -> str:
    """Return code without values as text."""
    parts = []
    for part in code:
        if isinstance(part, Literal):
            parts.append(literal_part(part))
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
