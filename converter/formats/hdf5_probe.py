"""Whether HDF5 survives a file: another process tries it first.

HDF5 crashes on some damaged files and loops for ever on others. Only files that are not plain come
here (see ``hdf5_direct``), so the price of a second process is seldom paid; a file that HDF5 itself
must read is first read there, in limited memory, and nothing comes back but how that process ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from converter.errors import ConverterError, CorruptFileError
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read

LIMIT_SECONDS = 8  # and one for each 100 MB, as compressed values are read as well
_SAID = 97  # how the other process ends when HDF5 reports an error
_SPARE_BYTES = 192 * 2**20  # beyond what the interpreter and its libraries have taken
_MAX_SAID_BYTES = 2000
_STATM = Path("/proc/self/statm")  # Linux has it

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
        CorruptFileError: If HDF5 reports an error there, wants far more memory than the file can
            need, dies, or does not come to an end.
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
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        why = f"HDF5 does not come to an end with it in {seconds} s"
        raise CorruptFileError(cannot_read(source.path, why)) from error
    if ended.returncode == _SAID:
        text = ended.stdout[:_MAX_SAID_BYTES].decode("utf-8", "replace")
        raise CorruptFileError(cannot_read(source.path, f"HDF5 says: {text}"))
    if ended.returncode < 0:
        raise CorruptFileError(
            cannot_read(source.path, "HDF5 crashes on it"),
            facts=[("signal", str(-ended.returncode))],
        )


def main(offset: int, length: int) -> None:
    """Read what only HDF5 can read, from the file on standard input; the second process runs this.

    What we refuse ourselves is not reported: whoever asked will refuse it too. What HDF5 reports
    is, so that nobody else has to meet it: it may be that memory has come to an end.
    """
    import resource

    from h5py import Dataset

    from converter.formats.hdf5_walk import Walk, open_hdf5

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source = SourceFile("standard input", descriptor=os.dup(0))
    try:
        _limit_memory(2 * length)
        walk = Walk(source.path, length, open_hdf5(source, offset, length))
        walk.run()
        sizes = [one.get_storage_size() for one in walk.inside.values()]
        nbytes = [Dataset(one).nbytes for one in walk.inside.values()]
        _limit_memory(2 * length + 2 * max([*sizes, *nbytes, 0]))
        for dataset in walk.inside.values():
            Dataset(dataset)[()]
    except ConverterError:
        return
    except (Exception, MemoryError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        sys.stdout.flush()
        os._exit(_SAID)  # HDF5 itself may not survive its own closing


def _limit_memory(nbytes: int) -> None:
    """Let this process take so many bytes more than it has, and some to spare."""
    import resource

    if not _STATM.exists():
        return
    pages = int(_STATM.read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + nbytes + _SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
