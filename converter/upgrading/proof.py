"""Prove a new file: Keras opens it in a fresh process, and every variable holds its tensor.

The process gets the file's name on standard input and prints a digest of each variable as JSON;
they are compared here with the tensors of the file that it was made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converter._optional import is_installed
from converter.formats.base import Checkpoint
from converter.tensors.dtype import Array


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of opening a new file.

    Attributes:
        loaded: Whether Keras opened it; ``None`` where there is no Keras.
        keras_version: The Keras that was asked.
        equal: Number of tensors that the model holds bit for bit as the source does.
        differing: Names of tensors that it holds otherwise and that were not changed on purpose.
        why_not: Why it was not opened.
    """

    loaded: bool | None
    keras_version: str = ""
    equal: int = 0
    differing: tuple[str, ...] = ()
    why_not: str = ""

    @property
    def verdict(self) -> str:
        """``pass``, ``fail``, or ``not opened``."""
        if self.loaded is None:
            return "not opened"
        return "pass" if self.loaded and not self.differing else "fail"


def prove(
    checkpoint: Checkpoint, path: Path, store: Mapping[str, str], changed: Collection[str]
) -> Proof:
    """Open a new file with Keras in a fresh process and compare its variables.

    Args:
        checkpoint: What it was made of.
        path: The file.
        store: Where each tensor of the checkpoint is in it.
        changed: Tensors that are meant to differ from the checkpoint's; they are compared with
            the file's.
    """
    if not is_installed("keras"):
        return Proof(loaded=None, why_not="Keras is not installed")
    answer = _asked(path)
    if not answer["loaded"]:
        return Proof(loaded=False, why_not=str(answer["why_not"]))
    digests: Mapping[str, str] = answer["digests"]
    from converter.formats.registry import open_checkpoint

    with open_checkpoint(path) as made:
        known = made.structure.store if made.structure is not None else {}
        names = {place: name for name, place in known.items()}
        differing = [
            name
            for name, place in store.items()
            if digests.get(names.get(place, ""))
            != digest(made.read(names[place]) if name in changed else checkpoint.read(name))
        ]
    equal = len(store) - len({*differing, *changed})
    version = str(answer["keras_version"])
    return Proof(loaded=True, keras_version=version, equal=equal, differing=tuple(differing))


def _asked(path: Path) -> dict[str, Any]:
    root = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    backend = os.environ.get("KERAS_BACKEND") or "torch"
    answer = subprocess.run(  # our own interpreter and our own code
        [sys.executable, "-c", "from converter.upgrading.proof import main; main()"],
        input=str(path.resolve()),
        env={**os.environ, "PYTHONPATH": search, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        lines = answer.stderr.strip().splitlines()
        return {"loaded": False, "why_not": lines[-1] if lines else "the process ended early"}
    return found


def main() -> None:
    """Open one file: its name on standard input, the answer on standard output."""
    path = sys.stdin.read()
    try:
        answer = _opened(path)
    except Exception as error:  # whatever Keras raises for a file that it does not open
        text = " ".join(str(error).split())
        answer = {"loaded": False, "why_not": f"{type(error).__name__}: {text[:500]}"}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


def _opened(path: str) -> dict[str, Any]:
    import keras

    from converter.live.keras_model import KerasModelCheckpoint

    live = KerasModelCheckpoint(keras.saving.load_model(path, compile=False))
    digests = {name: digest(live.read(name)) for name in live.manifest.tensors}
    return {"loaded": True, "keras_version": keras.__version__, "digests": digests}


def digest(array: Array) -> str:
    """Return what tells an array from every other: its type, shape and values."""
    array = np.ascontiguousarray(array)
    found = hashlib.sha256(f"{array.dtype.name} {array.shape} ".encode())
    found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()
