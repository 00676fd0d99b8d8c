"""The names of a checkpoint as the rules write them.

Checkpoints of one module differ in what stands around the names: ``bert.`` before most of them,
``module.`` from data-parallel training, ``_orig_mod`` from compilation, ``gamma`` for ``weight``
in old layer norms. A Keras model used as a layer of a larger one has its name before its layers'.
All of it is undone once, by whole components, before any rule is applied; the
names of the checkpoint itself stay what is read and written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from converter.errors import Problem

# Source: torch 2.13 torch/nn/parallel/data_parallel.py (self.module);
# torch/_dynamo/eval_frame.py, OptimizedModule (_orig_mod).
_WRAPPER = "module."
_COMPILED = "_orig_mod"


@dataclass(frozen=True, slots=True)
class Names:
    """Canonical names of one checkpoint.

    Attributes:
        names: Canonical tensor name to the name in the checkpoint, in its order.
        prefix: What was found before the names, or empty.
        problems: Tensors that cannot be told apart without what was taken off.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    problems: tuple[Problem, ...] = ()


Score = Callable[[Iterable[str]], int]
Respelling = Callable[[str], str]


def canonical_keras(
    names: Iterable[str], prefixes: Iterable[str], score: Score, respelt: Respelling = str
) -> Names:
    """Return the canonical names of Keras tensors.

    Args:
        names: The names in the checkpoint.
        prefixes: Prefixes of layer paths that the mapping declares, each ending with a slash, or
            with ``_`` for a model that puts its name before those of its layers; a number may
            follow their name.
        score: How many of some names the mapping's rules know; decides whether a prefix is there.
        respelt: Gives a whole name as the rules spell it.
    """
    original = list(names)
    plain = [respelt(name) for name in original]
    prefix = _best_prefix(plain, numbered(plain, prefixes), score)
    return _taken_off(original, plain, prefix, "")


def numbered(names: Iterable[str], prefixes: Iterable[str]) -> tuple[str, ...]:
    """Return prefixes of Keras layer paths as these names have them.

    Keras numbers the models that a process makes without a name, so a file may say
    ``bert_backbone_1`` for ``bert_backbone``.

    Examples:
        >>> numbered(["bert_backbone_2/token_embedding/embeddings"], ["bert_backbone/"])
        ('bert_backbone/', 'bert_backbone_2/')
        >>> numbered(["dino_1_embeddings/cls_token"], ["dino_"])
        ('dino_', 'dino_1_')
    """
    found = dict.fromkeys(prefixes)
    for prefix in tuple(found):
        stem, end = re.escape(prefix[:-1]), prefix[-1]
        pattern = re.compile(f"{stem}_[0-9]{{1,9}}{end}")
        found |= {one.group(): None for name in names if (one := pattern.match(name)) is not None}
    return tuple(found)


def canonical_torch(
    names: Iterable[str],
    prefixes: Iterable[str],
    aliases: Mapping[str, str],
    score: Score,
    respelt: Respelling = str,
) -> Names:
    """Return the canonical names of PyTorch tensors.

    Args:
        names: The names in the checkpoint.
        prefixes: Prefixes that the mapping declares, each ending with a dot.
        aliases: Old ending to the ending that the rules write, by component.
        score: How many of some names the mapping's rules know; decides whether a prefix is there.
        respelt: Gives a name without prefix as the rules spell it.
    """
    original = list(names)
    plain = [_without(name, _COMPILED) for name in original]
    wrapper = ""
    while plain and all(name.startswith(_WRAPPER) for name in plain):
        wrapper += _WRAPPER
        plain = [name.removeprefix(_WRAPPER) for name in plain]
    plain = [_with_ending(name, aliases) for name in plain]

    def known(some: Iterable[str]) -> int:
        return score(respelt(name) for name in some)

    return _taken_off(original, plain, _best_prefix(plain, prefixes, known), wrapper, respelt)


def _taken_off(
    original: list[str], plain: list[str], prefix: str, wrapper: str, respelt: Respelling = str
) -> Names:
    canonical: dict[str, str] = {}
    problems = []
    for name, bare in zip(original, plain, strict=True):
        known = respelt(bare.removeprefix(prefix) or bare)
        other = canonical.setdefault(known, name)
        if other != name:
            text = f"and '{other}' are both '{known}' to the rules"
            problems.append(Problem("conflict", name, text))
    return Names(canonical, wrapper + prefix, tuple(problems))


def _without(name: str, component: str) -> str:
    if component not in name:
        return name
    return ".".join(part for part in name.split(".") if part != component) or name


def _with_ending(name: str, aliases: Mapping[str, str]) -> str:
    for old, new in aliases.items():
        if name == old or name.endswith(f".{old}"):
            return name[: len(name) - len(old)] + new
    return name


def _best_prefix(names: list[str], prefixes: Iterable[str], score: Score) -> str:
    """Return the prefix without which the rules know most names; none where it changes nothing."""
    best, most = "", -1
    for prefix in ("", *prefixes):
        if prefix and not any(name.startswith(prefix) for name in names):
            continue
        count = score(name.removeprefix(prefix) for name in names)
        if count > most:
            best, most = prefix, count
    return best
