"""A checkpoint whose names begin otherwise: below another module, or no longer below one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from converter.errors import UsageError
from converter.formats.base import Checkpoint
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest


class RenamedCheckpoint(Checkpoint):
    """The tensors of another checkpoint, under other names."""

    def __init__(self, source: Checkpoint, prefix: str) -> None:
        """Rename what begins with a prefix, by whole components.

        Args:
            source: An open checkpoint.
            prefix: ``OLD=NEW``; without ``OLD`` everything is put below ``NEW``, without ``NEW``
                the prefix is taken away.

        Raises:
            UsageError: If it is not of this form, no tensor begins so, or two would have one name.
        """
        old, equals, new = prefix.partition("=")
        if not equals or old == new:
            raise UsageError(
                f"cannot use --prefix {prefix!r}",
                facts=[("expected", "OLD=NEW, as in backbone=encoder, =encoder or backbone=")],
            )
        separator = "/" if any("/" in name for name in source.manifest.tensors) else "."
        rename = _renaming(old.strip(separator), new.strip(separator), separator)
        self.format = source.format
        self.path: Path | None = source.path
        self._source = source
        self.names = {rename(name): name for name in source.manifest.tensors}
        changed = sum(new != old for new, old in self.names.items())
        if not changed or len(self.names) < len(source.manifest):
            why = "two tensors would have one name" if changed else f"no tensor begins with '{old}'"
            first = ", ".join([*list(source.manifest.tensors)[:3], "..."])
            raise UsageError(
                f"cannot use --prefix {prefix!r}: {why}",
                facts=[("found", f"{first} in {source.label}")],
            )
        self._manifest = _renamed(source.manifest, rename)
        self.note = f"--prefix {prefix}: {changed} tensors of {source.label} have another name here"

    @property
    def manifest(self) -> Manifest:
        """The same tensors and layers, under their new names."""
        return self._manifest

    @property
    def files(self) -> tuple[Path, ...]:
        """The same files."""
        return self._source.files

    @property
    def label(self) -> str:
        """What messages call this checkpoint."""
        return self._source.label

    def read(self, name: str) -> Array:
        """Return the values of one tensor."""
        return self._source.read(self.names[name])

    def release(self, name: str) -> None:
        """Give back what reading it took."""
        self._source.release(self.names[name])

    def close(self) -> None:
        """Close the files."""
        self._source.close()


def _renaming(old: str, new: str, separator: str) -> Callable[[str], str]:
    def rename(name: str) -> str:
        if old and name != old and not name.startswith(old + separator):
            return name
        rest = name.removeprefix(old).removeprefix(separator)
        return separator.join(part for part in (new, rest) if part)

    return rename


def _renamed(manifest: Manifest, rename: Callable[[str], str]) -> Manifest:
    layers = (
        replace(
            layer,
            path=rename(layer.path),
            tensors={slot: rename(name) for slot, name in layer.tensors.items()},
            inbound=tuple(rename(path) for path in layer.inbound),
        )
        for layer in manifest.layers
    )
    made = Manifest.of(
        (replace(spec, name=rename(spec.name)) for spec in manifest),
        layers=layers,
        ties={rename(other): rename(name) for other, name in manifest.ties.items()},
    )
    return replace(manifest, tensors=made.tensors, layers=made.layers, ties=made.ties)
