"""A PyTorch module made of named steps that take what other steps made, each replaceable.

A step is a module or a function. ``(step, "a", "b", {"mask": "c"})`` takes what the steps ``a``,
``b`` and ``c`` made; alone it takes what the step before it made. The model's own input is
``input``.
"""

from __future__ import annotations

from typing import Any


def wired(steps: dict[str, Any]) -> Any:
    """Return a module that runs its steps in order."""
    from torch import nn

    class Wired(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.order = list(steps)
            self.functions: dict[str, Any] = {}
            self.taken: dict[str, tuple[Any, ...]] = {}
            for name, step in steps.items():
                self.put(name, *(step if isinstance(step, tuple) else (step,)))

        def put(self, name: str, step: Any, *taken: Any) -> None:
            """Replace a step; what it takes stays where nothing is said."""
            if isinstance(step, nn.Module):
                setattr(self, name, step)
                self.functions.pop(name, None)
            else:
                self.functions[name] = step
            self.taken[name] = taken or self.taken.get(name, ())

        def forward(self, x: Any) -> Any:
            made, last = {"input": x}, "input"
            for name in self.order:
                taken = self.taken[name] or (last,)
                named = taken[-1] if isinstance(taken[-1], dict) else {}
                values = [made[one] for one in taken if isinstance(one, str)]
                step = self.functions.get(name) or getattr(self, name)
                made[name] = step(*values, **{key: made[one] for key, one in named.items()})
                last = name
            return made[last]

    return Wired()
