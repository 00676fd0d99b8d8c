"""A trained Keras model in PyTorch: a module to read, its weights, and proof that both agree.

``python3 scripts/keras_to_torch.py model.keras out/`` writes ``out/model.py`` and
``out/model.safetensors``, loads them as any PyTorch program would, and compares the outputs of both
models on random inputs. Exit code 1 where a layer needs a hand, or the outputs differ.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import converter


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert one Keras model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path, help="a Keras file with its architecture")
    parser.add_argument("out", type=Path, help="the folder to write to")
    given = parser.parse_args(arguments)
    name = given.source.name.partition(".")[0].replace("-", "_")
    module, weights = given.out / f"{name}.py", given.out / f"{name}.safetensors"
    given.out.mkdir(parents=True, exist_ok=True)

    # 1. The module and its weights. A layer that is Python code becomes a stub to fill in by hand.
    command = ["scaffold", str(given.source), str(module), "--weights", str(weights), "--no-check"]
    code = subprocess.run([sys.executable, "-m", "converter", *command], check=False).returncode
    if code:
        return code

    # 2. The same in a few lines of your own: no import of converter is left in such a program.
    class_name = load(module, weights)
    print(f"{class_name} takes its weights, strictly")

    # 3. Equal weights are no proof; equal outputs of both models are.
    try:
        report = converter.validate(given.source, weights, torch=f"{module}:{class_name}")
    except converter.ConverterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(report.lines()))
    return 0 if report.passed else 1


def load(module: Path, weights: Path) -> str:
    """Fill the module with its weights; return the name of its class."""
    import runpy

    from safetensors.torch import load_file
    from torch import nn

    made = [
        one
        for one in runpy.run_path(str(module)).values()
        if isinstance(one, type) and issubclass(one, nn.Module)
    ]
    network = made[-1]()  # the classes of repeated blocks stand above it
    network.load_state_dict(load_file(weights), strict=True)
    return made[-1].__name__


if __name__ == "__main__":
    sys.exit(main())
