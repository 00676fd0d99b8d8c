"""Whether HDF5 survives a file: another process tries it first.

HDF5 crashes on some damaged files and loops for ever on others. Only files that are not plain come
here (see ``hdf5_direct``), so the price of a second process is seldom paid; a file that HDF5 itself
must read is first read there, and nothing comes back but whether that process ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from converter.errors import CorruptFileError
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read

LIMIT_SECONDS = 30  # and one for each 100 MB, as compressed values are read as well

_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from converter.formats.hdf5_probe import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)


def probe(source: SourceFile, offset: int, length: int) -> None:
    """Let another process read everything that only HDF5 can read in a file.

    Args:
        source: The file; the process gets its descriptor, and cannot be led to another one.
        offset: Where the HDF5 content starts.
        length: Its size in bytes.

    Raises:
        CorruptFileError: If that process dies or does not come to an end.
    """
    if not sys.executable or os.name != "posix":
        return
    folder = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", _START, str(folder), str(offset), str(length)]
    environment = {**os.environ, "HDF5_PLUGIN_PRELOAD": "::"}  # no filters from shared libraries
    seconds = LIMIT_SECONDS + length // 10**8
    try:
        ended = subprocess.run(  # noqa: S603 -- our own interpreter and module
            command,
            stdin=source.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        why = f"HDF5 does not come to an end with it in {seconds} s"
        raise CorruptFileError(cannot_read(source.path, why)) from error
    if ended.returncode < 0:
        raise CorruptFileError(
            cannot_read(source.path, "HDF5 crashes on it"),
            facts=[("signal", str(-ended.returncode))],
        )


def main(offset: int, length: int) -> None:
    """Read what only HDF5 can read, from the file on standard input; the second process runs this.

    Errors are not reported: whoever asked will meet them too, and say them.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from h5py import Dataset

    from converter.formats.hdf5_walk import Walk, open_hdf5

    source = SourceFile("standard input", descriptor=os.dup(0))
    file = open_hdf5(source, offset, length)
    walk = Walk(source.path, length, file)
    walk.run()
    for dataset in walk.inside.values():
        Dataset(dataset)[()]
