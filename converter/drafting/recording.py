"""What functions of PyTorch are called with a model's tensors, noted while it runs.

A function that gets tensors of the model together with data is a use of them; where its data came
from is known by then.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from converter.graph.nested import found_in

Sources = frozenset[str]
NOTHING: Sources = frozenset()


@dataclass(frozen=True, slots=True)
class Use:
    """One function that got tensors of the module together with data.

    Attributes:
        tensors: Names of the tensors.
        sources: Earlier uses, by their position, and inputs, that the data comes from.
    """

    tensors: frozenset[str]
    sources: Sources


@dataclass(frozen=True, slots=True)
class Trace:
    """All uses of a run in order, and what each output comes from."""

    uses: Sequence[Use]
    results: Sequence[Sources]


@contextlib.contextmanager
def without_log() -> Iterator[None]:
    """Keep PyTorch from logging what fails on tensors without values: it is only tried."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before


@dataclass(frozen=True, slots=True)
class Tag:
    """Where a tensor comes from: from tensors of the module alone, or from data."""

    tensors: frozenset[str] = frozenset()
    sources: Sources = NOTHING


_NO_TAG = Tag()


@dataclass(slots=True)
class Recorder:
    """Notes every function of PyTorch that is called while it listens.

    Attributes:
        names: Identity of a tensor of the module to its name.
        copies: Names of functions that copy a tensor, though they end like those that take no more
            than a shape.
        uses: What was noted.
    """

    names: dict[int, str]
    copies: Collection[str] = ()
    uses: list[Use] = field(default_factory=list)
    _tags: dict[int, Tag] = field(default_factory=dict)
    _kept: list[Any] = field(default_factory=list)  # an identity is one while the tensor lives

    def tag(self, tensor: Any, tag: Tag) -> None:
        """Say where a tensor comes from."""
        self._tags[id(tensor)] = tag
        self._kept.append(tensor)

    def of(self, tensor: Any) -> Tag:
        """Return where a tensor comes from."""
        name = self.names.get(id(tensor))
        if name is not None:
            return Tag(tensors=frozenset({name}))
        return self._tags.get(id(tensor), _NO_TAG)

    def listening(self) -> Any:
        """Return a context in which functions are noted."""
        from torch import Tensor
        from torch.overrides import TorchFunctionMode

        def called(_: Any, func: Any, __: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            # x[...] = y gives nothing and changes x.
            made = list(found_in(args[:1] if result is None else result, Tensor))
            name = func.__name__
            if made and (name in self.copies or not name.endswith("_like")):
                self._note([self.of(one) for one in found_in((args, kwargs or {}), Tensor)], made)
            return result

        return type("Listening", (TorchFunctionMode,), {"__torch_function__": called})()

    def _note(self, taken: Sequence[Tag], made: Sequence[Any]) -> None:
        tensors = NOTHING.union(*(tag.tensors for tag in taken))
        sources = NOTHING.union(*(tag.sources for tag in taken))
        if tensors and sources:
            self.uses.append(Use(tensors, sources))
            tensors, sources = NOTHING, frozenset({str(len(self.uses) - 1)})
        if tensors or sources:
            for one in made:
                if id(one) not in self.names:
                    self.tag(one, Tag(tensors, sources))
