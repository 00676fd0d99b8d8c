"""PyTorch names as the model has them: what training wrapped around it is taken off.

``torch.nn.DataParallel``, DDP and SWA put ``module.`` before every name, ``torch.compile`` puts
``_orig_mod.`` before the names of whatever part was compiled, so also in the middle. Both are
taken off as whole components, never as text: ``my_module.weight`` keeps its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from converter.errors import CheckpointError
from converter.formats.wording import cannot_read, quoted

_COMPILED = "_orig_mod"
_PARALLEL = "module"
AVERAGING_COUNTER = "n_averaged"  # torch.optim.swa_utils.AveragedModel keeps it beside the module


def strip_wrappers(name: str) -> str:
    """Return a name without ``_orig_mod`` anywhere and without ``module`` at the front.

    Examples:
        >>> strip_wrappers("module._orig_mod.module.enc._orig_mod.weight")
        'enc.weight'
        >>> strip_wrappers("my_module.module.weight")
        'my_module.module.weight'
        >>> strip_wrappers("module")
        'module'
    """
    parts = [part for part in name.split(".") if part != _COMPILED] or [name]
    while len(parts) > 1 and parts[0] == _PARALLEL:
        parts = parts[1:]
    return ".".join(parts)


def strip_names(names: Iterable[str], path: Path | None) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the names of the model, and a sentence for each kind of wrapper taken off.

    ``module.`` is only taken off when every name has it: a model may well have a part that is
    called ``module``.

    Args:
        names: The names in the file.
        path: The file, for messages.

    Returns:
        Name in the file to name of the model, in the same order, and the notices.

    Raises:
        CheckpointError: If two names become one.

    Examples:
        >>> strip_names(["module.a.w", "module.b.w"], None)[0]
        {'module.a.w': 'a.w', 'module.b.w': 'b.w'}
        >>> strip_names(["module.a.w", "b.w"], None)[0]
        {'module.a.w': 'module.a.w', 'b.w': 'b.w'}
    """
    plain = {name: _without_compiled(name) for name in names}
    notices = []
    compiled = sum(name != short for name, short in plain.items())
    if compiled:
        notices.append(f"The prefix '_orig_mod.' (torch.compile) was taken off {compiled} names.")
    weights = [name for name, short in plain.items() if short != AVERAGING_COUNTER]
    if weights and all(plain[name].startswith(f"{_PARALLEL}.") for name in weights):
        plain |= {name: strip_wrappers(name) for name in weights}
        notices.append(
            f"The prefix 'module.' (DataParallel, DDP or SWA) was taken off {len(weights)} names."
        )
    _check_distinct(plain, path)
    return plain, tuple(notices)


def _without_compiled(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != _COMPILED) or name


def _check_distinct(plain: dict[str, str], path: Path | None) -> None:
    first: dict[str, str] = {}
    for name, short in plain.items():
        if short in first:
            raise CheckpointError(
                cannot_read(path, "two tensors have one name without their prefixes"),
                facts=[
                    ("tensor", quoted(first[short])),
                    ("tensor", quoted(name)),
                    ("both", quoted(short)),
                ],
            )
        first[short] = name
