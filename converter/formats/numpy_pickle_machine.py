"""What a pickle of NumPy arrays says, without running what it says.

Only what NumPy and joblib themselves write has a meaning: the reconstruction of a plain array, its
type, and lists, tuples and dicts around them. Whatever else is named becomes an opaque value. The
bytes of an array stay where they are in the file: a :class:`Blob` is a range of it.

Source: NumPy 2.4 ``numpy/_core/src/multiarray/methods.c``, ``array_reduce_ex`` and
``array_setstate``, ``descriptor.c``, ``arraydescr_setstate``, ``numpy/_core/numeric.py``,
``_frombuffer``; joblib 1.6 ``joblib/numpy_pickle.py``, ``NumpyArrayWrapper``, and
``joblib/numpy_pickle_compat.py``, ``NDArrayWrapper`` and ``ZNDArrayWrapper`` (joblib before 0.10).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from converter.errors import UnsafeFileError, UnsupportedFileError
from converter.formats.numpy_header import MAX_ELEMENTS, MAX_RANK, Layout
from converter.formats.numpy_pickle_values import (
    Beside,
    Blob,
    PickledArray,
    PickledDType,
    wrong_size,
)
from converter.formats.pickle_machine import Global, Machine, Opaque, Step, name_of
from converter.formats.pickle_text import line, steps
from converter.formats.wording import cannot_read, quoted
from converter.tensors.dtype import DType

MAX_WORD = 1000  # longer texts are no names: they stay in the file


@dataclass(frozen=True, slots=True, eq=False)
class _JoblibWrapper:
    """Stands for the array whose bytes follow it in the file."""


@dataclass(frozen=True, slots=True, eq=False)
class _JoblibFile:
    """Stands for the array that is in a file beside the pickle."""


class NumpyMachine(Machine):
    """Interprets pickles of NumPy arrays, by ``pickle`` (all protocols) or ``joblib``."""

    steps: ClassVar[Mapping[int, Step]]

    def __init__(
        self, data: bytes | memoryview, path: Path, beside: Callable[[str], Layout]
    ) -> None:
        """Start at the first byte of ``data``; ``named`` collects what the pickle would call.

        Args:
            data: The pickle.
            path: The file, for messages.
            beside: Returns the layout of the array in a file that the pickle names.
        """
        super().__init__(data, path)
        self._beside = beside
        self.named: set[str] = set()

    def text(self, count: int) -> Any:
        """Return a text, or where it is where it may be the bytes of an array."""
        if count <= MAX_WORD:
            return super().text(count)
        return Blob(*self._skip(count), "utf-8")

    def old_text(self, count: int) -> Blob:
        """Return where a text of Python 2 is."""
        return Blob(*self._skip(count))

    def blob(self, count: int) -> Blob:
        """Return where the bytes are."""
        return Blob(*self._skip(count))

    def _skip(self, count: int) -> tuple[int, int]:
        start = self.position
        if start + count > len(self.data):
            raise self.corrupt("it ends early")
        self.position += count
        return start, count

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Return an array, a type, bytes, a dict, or an opaque value."""
        name = name_of(function) if isinstance(function, Global) else ""
        self._note(name)
        builder = _BUILDERS.get(name.replace("numpy._core.", "numpy.core.", 1))
        return Opaque(name or name_of(function)) if builder is None else builder(self, arguments)

    def new_object(self, count: int) -> None:
        """Replace a class and its arguments by joblib's wrapper, or by an opaque value."""
        super().new_object(count)
        self._note(self.stack[-1].name)
        self.stack[-1] = self._wrapper(self.stack[-1].name) or self.stack[-1]

    def build(self) -> None:
        """Fill an array or a type."""
        state = self.pop()
        top = self.stack[-1]
        if isinstance(top, PickledDType):
            self._fill_dtype(top, state)
        elif isinstance(top, PickledArray):
            self._fill_array(top, state)
        elif isinstance(top, _JoblibWrapper):
            self.stack[-1] = self._inline_array(state)
        elif isinstance(top, _JoblibFile):
            self.stack[-1] = self._array_beside(state)
        else:
            self.stack.append(state)
            super().build()

    def set_items(self, values: list[Any]) -> None:
        """Put keys and values into the dict on top; keys of Python 2 are texts."""
        values[::2] = [self._word(key) if isinstance(key, Blob) else key for key in values[::2]]
        super().set_items(values)

    def _word(self, value: Any) -> Any:
        """Return the text that short bytes are."""
        if isinstance(value, Blob) and value.length <= MAX_WORD:
            decoded = value.decoded(memoryview(self.data))
            return bytes(decoded).decode("latin-1" if value.encoding == "raw" else "utf-8")
        return value

    def encode(self, arguments: tuple[Any, ...]) -> Any:
        """Return the bytes of ``_codecs.encode(text, 'latin1')``: bytes in protocols 0 to 2."""
        text, encoding = arguments
        if self._word(encoding) not in {"latin1", "latin-1"}:
            raise self.corrupt("bytes are written in an unknown encoding")
        return text.encode("latin-1") if isinstance(text, str) else text

    def no_bytes(self, arguments: tuple[Any, ...]) -> Any:
        """Return what ``bytes()`` returns."""
        if arguments:
            raise self.corrupt("bytes are made of something")
        return b""

    def reconstructed(self, arguments: tuple[Any, ...]) -> Any:
        """Return the object of ``_reconstructor(class, object, None)`` of protocols 0 and 1."""
        name = name_of(arguments[0])
        self._note(name)
        return self._wrapper(name) or Opaque(name)

    def dtype(self, arguments: tuple[Any, ...]) -> PickledDType:
        """Return the type of ``numpy.dtype(code, align, copy)``; the byte order comes later."""
        code = self._word(arguments[0])
        if isinstance(code, Global):
            return PickledDType(code.dotted)
        if not isinstance(code, str):
            raise self.corrupt("a type has no name")
        return PickledDType(code)

    def _wrapper(self, name: str) -> _JoblibWrapper | _JoblibFile | None:
        """Return what stands for an array of joblib, or ``None`` where it is another object."""
        if name not in _WRAPPERS:
            return None
        if name.endswith(".ZNDArrayWrapper"):
            raise UnsupportedFileError(
                cannot_read(self.path, "its arrays are in compressed files beside it"),
                facts=[("written by", "joblib before 0.10")],
                hint="dump it again where you trust it: joblib.dump(joblib.load(file), new_file)",
            )
        return _JoblibFile() if name.endswith(".NDArrayWrapper") else _JoblibWrapper()

    def _array_beside(self, state: Any) -> PickledArray | Opaque:
        """Return the array in a file that joblib before 0.10 wrote beside the pickle."""
        name = self._word(state.get("filename")) if isinstance(state, dict) else None
        if not isinstance(name, str):
            raise self.corrupt("an array of joblib is in no file")
        kind = name_of(state.get("subclass"))
        if kind not in _ARRAY_CLASSES:
            return Opaque(kind)
        return PickledArray(self._beside(name), Beside(name))

    def _note(self, name: str) -> None:
        if name in _BUILDERS or name in _WRAPPERS or name.startswith("numpy._core."):
            self.named.add(name)

    def _fill_dtype(self, dtype: PickledDType, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5:
            raise self.corrupt("a type is not described")
        order, parts = self._word(state[1]), state[2:5]
        dtype.order = order if parts == (None, None, None) and order in set("<>|=") else None

    def empty(self, arguments: tuple[Any, ...]) -> Any:
        """Return the array of ``_reconstruct(ndarray, (0,), b'b')``, to be filled."""
        kind = name_of(arguments[0])
        return PickledArray() if kind in _ARRAY_CLASSES else Opaque(kind)

    def _fill_array(self, array: PickledArray, state: Any) -> None:
        parts = state[-4:] if isinstance(state, tuple) and len(state) in (4, 5) else (None,) * 4
        shape, dtype, is_fortran, data = parts
        if array.layout is not None:
            raise self.corrupt("an array is filled twice")
        self._set(array, shape, dtype, data, is_fortran=bool(is_fortran))

    def scalar(self, arguments: tuple[Any, ...]) -> PickledArray:
        """Return the number of ``scalar(dtype, bytes)`` as an array of rank 0."""
        array = PickledArray()
        self._set(array, (), arguments[0], arguments[1], is_fortran=False)
        return array

    def from_buffer(self, arguments: tuple[Any, ...]) -> PickledArray:
        """Return the array of ``_frombuffer(buffer, dtype, shape, order, axis_order)``."""
        data, dtype, shape = arguments[:3]
        order, axes = arguments[3], arguments[4] if len(arguments) > 4 else None
        array = PickledArray()
        self._set(array, shape, dtype, data, is_fortran=order == "F")
        if order == "K" and axes is not None:
            if not isinstance(axes, tuple) or sorted(axes) != list(range(len(shape))):
                raise self.corrupt("an array has axes that it has not")
            array.axes = axes
        elif order not in {"C", "F", "K"}:
            raise self.corrupt("an array has an unknown order")
        return array

    def _inline_array(self, state: Any) -> PickledArray | Opaque:
        """Return the array whose bytes follow, as joblib writes them."""
        if not isinstance(state, dict):
            raise self.corrupt("an array of joblib is not described")
        kind = name_of(state.get("subclass"))
        array, dtype, shape = PickledArray(), state.get("dtype"), state.get("shape")
        if state.get("numpy_array_alignment_bytes") is not None:
            self._skip(self.byte())
        nbytes = self._check(shape, dtype)[0]
        is_fortran = self._word(state.get("order")) == "F"
        self._set(array, shape, dtype, self.blob(nbytes), is_fortran=is_fortran)
        return array if kind in _ARRAY_CLASSES else Opaque(kind)

    def _check(self, shape: Any, dtype: Any) -> tuple[int, DType, bool]:
        """Return size in bytes, type, and whether the bytes are to be swapped."""
        if not (
            isinstance(shape, tuple)
            and len(shape) <= MAX_RANK
            and all(type(size) is int and size >= 0 for size in shape)
            and math.prod(size or 1 for size in shape) <= MAX_ELEMENTS
            and isinstance(dtype, PickledDType)
        ):
            raise self.corrupt("an array has no shape or no type")
        found = dtype.find()
        if found is None:
            raise UnsupportedFileError(
                cannot_read(self.path, "an array in it does not hold plain numbers"),
                facts=[("found", f"NumPy type {quoted(dtype.code)}")],
            )
        return found[0].nbytes(shape), *found

    def _set(
        self, array: PickledArray, shape: Any, dtype: Any, data: Any, *, is_fortran: bool
    ) -> None:
        needed, kind, is_swapped = self._check(shape, dtype)
        if isinstance(data, str):  # a text of Python 2 in protocol 0
            data = data.encode("latin-1")
        if isinstance(data, bytes) and len(data) != needed:
            raise wrong_size(self.path, needed, len(data))
        if isinstance(data, Blob) and not data.can_hold(needed):
            raise wrong_size(self.path, needed, data.length)
        if not isinstance(data, bytes | Blob):
            raise self.corrupt("an array has no bytes")
        array.layout = Layout(shape, kind, 0, is_fortran, is_swapped)
        array.blob = data


def _unicode(machine: Machine) -> Any:
    start, end = line(machine)
    if end - start <= MAX_WORD:
        return bytes(machine.data[start:end]).decode("raw_unicode_escape")
    return Blob(start, end - start, "raw_unicode_escape")


def _string(machine: Machine) -> Any:
    start, end = line(machine)
    quote = bytes(machine.data[start : start + 1])
    if quote not in (b"'", b'"') or bytes(machine.data[end - 1 : end]) != quote or end < start + 2:
        raise machine.corrupt("a text is not in quotes")
    return Blob(start + 1, end - start - 2, "string_escape")


def _out_of_band(machine: Machine) -> None:
    raise UnsafeFileError(
        cannot_read(machine.path, "its arrays are outside of it, in buffers that it does not have"),
        hint="dump it again with pickle.dump(arrays, file), without a buffer_callback",
    )


NumpyMachine.steps = {
    **Machine.steps,
    **steps(_unicode, _string),
    0x96: lambda m: m.stack.append(m.blob(m.number("<Q"))),  # BYTEARRAY8
    0x97: _out_of_band,  # NEXT_BUFFER
    0x98: _out_of_band,  # READONLY_BUFFER
}
_BUILDERS: dict[str, Callable[[NumpyMachine, tuple[Any, ...]], Any]] = {
    "numpy.core.multiarray._reconstruct": NumpyMachine.empty,
    "numpy.core.multiarray.scalar": NumpyMachine.scalar,
    "numpy.core.numeric._frombuffer": NumpyMachine.from_buffer,
    "numpy.dtype": NumpyMachine.dtype,
    "_codecs.encode": NumpyMachine.encode,
    "__builtin__.bytes": NumpyMachine.no_bytes,
    "builtins.bytes": NumpyMachine.no_bytes,
    "collections.OrderedDict": NumpyMachine.pairs,
    "copy_reg._reconstructor": NumpyMachine.reconstructed,
    "copyreg._reconstructor": NumpyMachine.reconstructed,
}
_WRAPPERS = frozenset(
    f"{package}.{module}.{wrapper}"
    for package in ("joblib", "sklearn.externals.joblib")
    for module, wrapper in (
        ("numpy_pickle", "NumpyArrayWrapper"),
        ("numpy_pickle", "NDArrayWrapper"),
        ("numpy_pickle", "ZNDArrayWrapper"),
        ("numpy_pickle_compat", "NDArrayWrapper"),
        ("numpy_pickle_compat", "ZNDArrayWrapper"),
    )
)
_ARRAY_CLASSES = frozenset(
    {
        "numpy.ndarray",
        "numpy.memmap",  # what numpy.load gave with a mmap_mode
        "numpy.core.memmap.memmap",
        "numpy._core.memmap.memmap",
    }
)
