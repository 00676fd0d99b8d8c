"""The opcodes of pickle protocols 0 and 1, which write numbers and texts as lines.

PyTorch never writes them, so its machine refuses them; ``get_weights()`` lists of old scripts are
often of these protocols, or written by Python 2.

Source: CPython 3.11 ``Lib/pickletools.py``; ``Lib/pickle.py``, ``load_int`` to ``load_dict``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from converter.formats.pickle_machine import Machine, Step

BLOCK = 2**16
MAX_DIGITS = 100


def line(machine: Machine) -> tuple[int, int]:
    """Pass one line, however long, and return where it begins and ends, without its break."""
    start = machine.position
    position = start
    while position < len(machine.data):
        found = bytes(machine.data[position : position + BLOCK]).find(b"\n")
        if found >= 0:
            machine.position = position + found + 1
            return start, position + found
        position += BLOCK
    raise machine.corrupt("it ends early")


def _short(machine: Machine) -> str:
    start, end = line(machine)
    if end - start > MAX_DIGITS:
        raise machine.corrupt("a number is too long")
    return bytes(machine.data[start:end]).decode("ascii")


def _int(machine: Machine) -> int | bool:
    text = _short(machine)
    return {"00": False, "01": True}[text] if text in {"00", "01"} else int(text)


def _long(machine: Machine) -> int:
    return int(_short(machine).removesuffix("L"))


def _key(machine: Machine) -> int:
    return int(machine.line())


def _put(machine: Machine) -> None:
    machine.memorise(_key(machine))


def _dict(machine: Machine) -> None:
    values = machine.pop_to_mark()
    machine.stack.append({})
    machine.set_items(values)


def _push(make: Callable[[Machine], Any]) -> Step:
    return lambda machine: machine.stack.append(make(machine))


def steps(
    unicode: Callable[[Machine], Any], string: Callable[[Machine], Any]
) -> Mapping[int, Step]:
    """Return what each opcode does.

    Args:
        unicode: Reads the line of a ``UNICODE``, in raw-unicode-escape.
        string: Reads the line of a ``STRING``, the ``repr`` of bytes of Python 2.
    """
    return {
        ord("I"): _push(_int),
        ord("L"): _push(_long),
        ord("F"): _push(lambda machine: float(_short(machine))),
        ord("V"): _push(unicode),
        ord("S"): _push(string),
        ord("p"): _put,
        ord("g"): _push(lambda machine: machine.memo[_key(machine)]),
        ord("l"): _push(Machine.pop_to_mark),
        ord("d"): _dict,
    }
