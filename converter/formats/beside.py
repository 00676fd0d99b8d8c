"""Files that another file names (shards of an index): only from its own folder or below.

An index is a text that somebody else wrote. ``../../.ssh/id_rsa``, an absolute path or a link in
its place would make the converter read, and copy into its output, what nobody gave to it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from converter.errors import UnsafeFileError
from converter.formats.source_file import OPEN_FLAGS, SourceFile, cannot_open
from converter.formats.wording import cannot_read, quoted

_MAX_PART_BYTES = 255
_CACHE_BLOB = re.compile(r"(?P<up>(?:\.\./)+)blobs/(?P<blob>[0-9a-f]{40}|[0-9a-f]{64})")


def check_member_name(name: object, *, path: Path) -> tuple[str, ...]:
    """Return the parts of a file name that ``path`` gives, relative to its own folder.

    Raises:
        UnsafeFileError: If it is anything but a plain relative name: absolute, upwards, with a
            drive, a URL, a backslash or a NUL, with an empty or over-long part.
    """
    parts = tuple(name.split("/")) if isinstance(name, str) else ()
    plain = (
        isinstance(name, str)
        and parts
        and not name.startswith("~")
        and not any(mark in name for mark in "\0\\:")
        and all(_is_plain_part(part) for part in parts)
    )
    if not plain:
        raise UnsafeFileError(
            cannot_read(path, "it names a file outside its own folder"),
            facts=[("name", quoted(name))],
        )
    return parts


def _is_plain_part(part: str) -> bool:
    if part in {"", ".", ".."}:
        return False
    try:
        return len(part.encode("utf-8")) <= _MAX_PART_BYTES
    except UnicodeEncodeError:
        return False


def open_beside(index: Path, name: object, *, max_bytes: int | None = None) -> SourceFile:
    """Open a file that ``index`` names, which must lie in the folder of ``index`` or below.

    No link is followed on the way, with one exception: the cache of Hugging Face, where a file in
    ``snapshots/<revision>`` is a link to ``../../blobs/<hash>``.

    Args:
        index: The file that names it; its folder is the border.
        name: The name as found in ``index``.
        max_bytes: The largest size, or ``None``.

    Raises:
        UnsafeFileError: If the name leads out of the folder, or what it names is a link or not a
            regular file.
        CheckpointError: If there is no such file.

    Source:
        huggingface_hub 0.30 ``file_download.py``, ``_create_symlink`` (layout of the cache).
    """
    parts = check_member_name(name, path=index)
    folder = index.parent
    path = folder.joinpath(*parts)
    blob = _cache_blob(folder, path, len(parts))
    if blob is not None:
        return SourceFile(blob, max_bytes=max_bytes)
    if os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW"):
        return _open_beneath(folder, parts, path, max_bytes)
    walked = folder
    for part in parts:  # Windows: no descriptors of folders
        walked = walked / part
        if walked.is_symlink():
            raise _is_link(path)
    return SourceFile(path, max_bytes=max_bytes)


def _open_beneath(
    folder: Path, parts: tuple[str, ...], path: Path, max_bytes: int | None
) -> SourceFile:
    """Walk down from ``folder`` by descriptors, so that no renamed folder can lead elsewhere."""
    current = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            below = os.open(
                part,
                os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                dir_fd=current,
            )
            os.close(current)
            current = below
        descriptor = os.open(parts[-1], OPEN_FLAGS | os.O_NOFOLLOW, dir_fd=current)
    except OSError as error:
        if path.is_symlink() or not _is_inside(folder, path):
            raise _is_link(path) from error
        raise cannot_open(path, error) from error
    finally:
        os.close(current)
    return SourceFile(path, max_bytes=max_bytes, descriptor=descriptor)


def _is_inside(folder: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _cache_blob(folder: Path, path: Path, depth: int) -> Path | None:
    """Return the file that a link in the cache of Hugging Face stands for."""
    if folder.parent.name != "snapshots" or not path.is_symlink():
        return None
    if any(parent.is_symlink() for parent in list(path.parents)[: depth - 1]):
        return None
    match = _CACHE_BLOB.fullmatch(path.readlink().as_posix())
    if match is None or match["up"].count("../") != depth + 1:
        return None
    blob = folder.parent.parent / "blobs" / match["blob"]
    return None if blob.is_symlink() else blob


def _is_link(path: Path) -> UnsafeFileError:
    return UnsafeFileError(cannot_read(path, "it is a link, and only files are followed to"))
