"""TorchScript archives: the tensors of the program's modules, and nothing of the program.

``data.pkl`` holds the modules as objects with attributes. Which of these are parameters and
buffers, and so in the state dict, is said by two lines at the head of each class in ``code/``;
these lines are matched as text, the rest is not looked at.

Source: PyTorch 2.13 ``torch/csrc/jit/serialization/python_print.cpp``, ``printNamedType``;
``torch/jit/_script.py``, ``RecursiveScriptModule`` (parameters before buffers, then modules).
"""

from __future__ import annotations

import re
from typing import Any

from converter.errors import UnsupportedFileError
from converter.formats import authorship
from converter.formats.pickle_objects import Entries, Instance, walk_modules
from converter.formats.torch_reader import TorchZip
from converter.formats.wording import cannot_read, quoted

MAX_CODE_BYTES = 64 * 2**20
_MODULE = re.compile(
    r"^class (?P<name>\w+)\(Module\):\n"
    r"  __parameters__ = \[(?P<parameters>[^\]\n]*)\]\n"
    r"  __buffers__ = \[(?P<buffers>[^\]\n]*)\]$",
    re.MULTILINE,
)
_TEXT = re.compile(r'"([^"\\]+)"')

Declared = tuple[frozenset[str], frozenset[str]]


class TorchScript(TorchZip):
    """What ``torch.jit.load(path).state_dict()`` gives."""

    format = "torchscript"

    def _states(self, root: Any) -> tuple[Any, tuple[str, ...]]:
        """Return the state dict of the program's module."""
        self._texts: dict[str, dict[str, Declared]] = {}
        if not isinstance(root, Instance):
            raise UnsupportedFileError(
                cannot_read(self.source.path, "it is a TorchScript program without a module")
            )
        found = walk_modules(root, self._entries, self.source.path)
        if not found and any("/constants/" in name for name in self._members):
            raise UnsupportedFileError(
                cannot_read(self.source.path, "it is a frozen TorchScript program"),
                facts=[("found", "its weights are constants of the code and have no names")],
                hint="save it before torch.jit.freeze",
            )
        name = quoted(root.name.removeprefix("__torch__."))[1:-1]
        what = f"It is a TorchScript program ({name})"
        return found, (f"{what}: its tensors were read, none of its code was run.",)

    def _writer(self) -> str:
        member = f"{self._root}/version"
        if member not in self._members:
            return authorship.of_torchscript("not recorded")
        text = self._archive.read(member, max_bytes=64)
        return authorship.of_torchscript(text.decode("latin-1").strip())

    def _entries(self, module: Instance) -> Entries:
        """Return the tensors and the inner modules of one module, by name."""
        parameters, buffers = self._declared(module.name) or (frozenset(), frozenset())
        ordered = sorted(
            (name for name in module.state if name in parameters | buffers),
            key=lambda name: name not in parameters,
        )
        tensors = {name: module.state[name] for name in ordered}
        inner = {
            name: value
            for name, value in module.state.items()
            if isinstance(value, Instance) and self._declared(value.name) is not None
        }
        return {name: one for name, one in tensors.items() if one is not None}, inner

    def _declared(self, class_name: str) -> Declared | None:
        """Return the names of parameters and of buffers, or ``None`` where it is no module."""
        qualifier, _, name = class_name.rpartition(".")
        member = f"{self._root}/code/{qualifier.replace('.', '/')}.py"
        if member not in self._texts:
            self._texts[member] = self._read_classes(member)
        return self._texts[member].get(name)

    def _read_classes(self, member: str) -> dict[str, Declared]:
        if member not in self._members:
            return {}
        text = self._archive.read(member, max_bytes=MAX_CODE_BYTES).decode("utf-8", "replace")
        return {
            match["name"]: (
                frozenset(_TEXT.findall(match["parameters"])),
                frozenset(_TEXT.findall(match["buffers"])),
            )
            for match in _MODULE.finditer(text)
        }
