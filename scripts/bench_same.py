"""Two checkpoints hold the same tensors, bit for bit: ``python bench_same.py A B``."""

from __future__ import annotations

import sys
from pathlib import Path

import converter


def main(first: Path, second: Path) -> int:
    """Return 0 where names, shapes, types and bytes are equal; else say what is not, return 1."""
    with converter.open(first) as one, converter.open(second) as other:
        if set(one.manifest.tensors) != set(other.manifest.tensors):
            names = sorted(set(one.manifest.tensors) ^ set(other.manifest.tensors))
            print(f"in one file only: {names[:5]} and more", file=sys.stderr)
            return 1
        for spec in one.manifest:
            if (
                spec != other.manifest[spec.name]
                or one.read(spec.name).tobytes() != other.read(spec.name).tobytes()
            ):
                print(f"different: {spec.name}", file=sys.stderr)
                return 1
            one.release(spec.name)
            other.release(spec.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
