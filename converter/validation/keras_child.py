"""``python -m converter.validation.keras_child``: a Keras model in a process of its own.

Started by :mod:`converter.validation.keras_process`, which says on which backend. It builds what
the user named, answers on its standard output, and ends when its standard input does. What the
framework prints goes to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from converter.errors import ConverterError, UsageError
from converter.live.factory import build
from converter.tensors.dtype import Array
from converter.validation.keras_messages import receive, send
from converter.validation.keras_side import LiveKeras
from converter.validation.models import load_keras_file
from converter.validation.requirements import Parts
from converter.validation.trace_messages import Sender


def main() -> None:
    """Answer until there are no more questions."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints to stdout must not end up among the answers
    side: LiveKeras | None = None
    looking = _Looking()
    while (message := receive(sys.stdin.buffer)) is not None:
        header, arrays = message
        try:
            if header["do"] == "open":
                side = _open(header)
                _tell(side, answers)
            elif side is None:
                raise UsageError("cannot answer: no model was opened")
            else:
                send(answers, *_answer(side, looking, header, arrays))
        except ConverterError as error:
            failure = {"summary": error.summary, "facts": error.facts, "hint": error.hint}
            send(answers, {"error": failure})


def _open(header: Mapping[str, Any]) -> LiveKeras:
    if header["factory"] is not None:
        return LiveKeras(build(header["factory"], header["arguments"], family="keras"))
    return LiveKeras(load_keras_file(header["path"], label=header["label"]))


def _answer(
    side: LiveKeras, looking: _Looking, header: Mapping[str, Any], arrays: Mapping[str, Array]
) -> tuple[dict[str, Any], dict[str, Array]]:
    if header["do"] == "load":
        side.load(arrays)
        return {}, {}
    if header["do"] == "run":
        return {}, side.run(arrays)
    if header["do"] == "entering":
        return {}, {header["layer"]: side.entering(header["layer"], arrays)}
    if header["do"] == "parts":
        return {"parts": _plain(side.parts(header["attributes"]))}, {}
    return looking.answer(side, header, arrays)


def _plain(parts: Parts) -> dict[str, dict[str, Any]]:
    """Return what JSON can say of the layers; of the rest its text."""
    plain = (str, int, float, list, tuple, type(None))
    return {
        layer: {name: one if isinstance(one, plain) else repr(one) for name, one in has.items()}
        for layer, has in parts.items()
    }


def _tell(side: LiveKeras, answers: IO[bytes]) -> None:
    specs = [[one.name, one.shape, one.dtype.name] for one in side.manifest]
    send(answers, {"facts": asdict(side.facts), "manifest": specs})


class _Looking:
    """Answers about the layers: one trace at a time is kept."""

    def __init__(self) -> None:
        self._sender: Sender | None = None

    def answer(
        self, side: LiveKeras, header: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        if header["do"] == "read":
            name = header["name"]
            return {}, {name: side.weights().read(name)}
        if header["do"] == "trace":
            with side.tracing(header["sources"], arrays) as (trace, layers):
                self._sender = Sender(trace, layers, Path(header["folder"]))
            return self._sender.header(), {}
        if self._sender is not None and header["do"] in ("recompute", "apply"):
            asked = self._sender.apply if header["do"] == "apply" else self._sender.recompute
            try:
                return {}, asked(header, arrays)
            except Exception as error:  # a mistake that does not fit these layers
                return {"unfit": f"{type(error).__name__}: {error}"}, {}
        self._sender = None
        return {}, {}


if __name__ == "__main__":
    main()
