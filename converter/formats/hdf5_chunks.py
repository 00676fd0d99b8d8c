"""Whether a chunked HDF5 dataset may be given to HDF5 to read.

A chunked dataset can claim terabytes and store nothing, or inflate a kilobyte to gigabytes.
Everything is decided from the sizes that are stored, before HDF5 allocates anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from converter.errors import UnsafeFileError
from converter.formats.wording import nbytes_text
from converter.tensors.dtype import Shape

SMALL_BYTES = 64 * 2**20
MAX_EXPANSION = 100
MAX_CHUNK_OVERHANG = 4

# Source: HDF5 2.0 H5Zpublic.h (deflate 1, shuffle 2, fletcher32 3) and the registered lzf (32000).
_FILTERS = frozenset({1, 2, 3, 32000})


def check_chunks(
    dataset_id: Any,
    creation: Any,
    shape: Shape,
    itemsize: int,
    unsafe: Callable[[str], UnsafeFileError],
) -> None:
    """Refuse what would make HDF5 allocate more than the file plausibly holds.

    Args:
        dataset_id: The dataset (``h5py.h5d.DatasetID``).
        creation: Its creation properties.
        shape: Its shape.
        itemsize: Width of one element, in bytes.
        unsafe: Makes the error about this dataset from a reason.

    Raises:
        UnsafeFileError: If a filter is unknown or used twice, chunks are missing or absurdly
            large, or the values are absurdly well compressed.
    """
    chunk = creation.get_chunk()
    if len(chunk) != len(shape) or not all(chunk):
        raise unsafe(f"has chunks of shape {chunk} for the shape {shape}")
    filters = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
    if len(set(filters)) != len(filters) or not _FILTERS.issuperset(filters):
        raise unsafe(f"is stored through the filters {filters}; only deflate, shuffle and lzf are")
    declared = math.prod(shape) * itemsize
    per_chunk = math.prod(chunk) * itemsize
    if per_chunk > SMALL_BYTES and per_chunk > MAX_CHUNK_OVERHANG * declared:
        raise unsafe(f"has chunks of {nbytes_text(per_chunk)} for {nbytes_text(declared)}")
    stored = dataset_id.get_storage_size()
    if declared > SMALL_BYTES and declared > MAX_EXPANSION * stored:
        raise unsafe(f"claims {nbytes_text(declared)} and stores {nbytes_text(stored)}")
    needed = math.prod(-(-size // part) for size, part in zip(shape, chunk, strict=True))
    found = dataset_id.get_num_chunks()
    if found != needed:
        raise unsafe(f"stores {found:,} of {needed:,} chunks")
