"""PyTorch weights in a Keras model of the same architecture, with Keras' own loader as witness.

``python3 scripts/torch_to_keras.py resnet.pth resnet.weights.h5 --like resnet.keras`` takes the
structure from a Keras file, or from a factory such as ``keras.applications:DenseNet121``. It shows
what would happen before it does it. Then Keras loads the result, and it is converted back to see
that every bit is there: exit code 1 where one is not.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import converter


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert one PyTorch checkpoint."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path, help="a PyTorch checkpoint, in any format")
    parser.add_argument("target", type=Path, help="a .keras or .weights.h5 file to write")
    parser.add_argument("--like", required=True, help="a Keras file, or a factory")
    parser.add_argument("--mapping", help="by default the one that fits, or else by kind")
    given = parser.parse_args(arguments)
    try:
        return convert(given.source, given.target, given.like, given.mapping)
    except converter.ConverterError as error:  # it says by itself what does not fit, and why
        print(f"error: {error}", file=sys.stderr)
        return 2


def convert(source: Path, target: Path, like: str, mapping: str | None) -> int:
    """Plan, write, and compare what comes back; return the exit code."""
    # 1. The plan is made from names, shapes and dtypes: every problem shows before a byte moves.
    with converter.open(source) as checkpoint:
        plan = converter.plan(checkpoint, like=like, mapping=mapping, to="keras")
        for step in plan.steps:
            print(f"{' + '.join(step.sources)} -> {' + '.join(step.targets)}  {step.law}")
        for sentence in plan.plan.assumptions:  # what equal weights need besides
            print(f"assumed: {sentence}")

        # 2. All or nothing: an old file stays until the new one is complete.
        written = plan.save(target)
    print(f"wrote {target}: {written.tensors} tensors, mapping {plan.plan.mapping}")

    # 3. Keras loads the file, and what it holds is converted back and compared, bit for bit.
    model = load(target, like)
    back = converter.plan(model, to="torch", mapping=mapping).state_dict()
    found = converter.diff(source, back)
    lost = [one for one in found.tensors if one.status in ("changed", "mismatched")]
    for one in lost:
        print(f"{one.status}: {one.name}, relative L2 {one.relative_l2:.1e}")
    print(f"{found.count('same')} tensors came back with every bit")
    return 1 if lost else 0


def load(target: Path, like: str) -> Any:
    """Return what Keras itself makes of the file."""
    import keras

    if target.suffix == ".keras":
        return keras.models.load_model(target)
    if Path(like).is_file():
        model = keras.models.load_model(like)
    else:
        module, _, name = like.partition(":")
        model = getattr(importlib.import_module(module), name)(weights=None)
    model.load_weights(target)
    return model


if __name__ == "__main__":
    sys.exit(main())
