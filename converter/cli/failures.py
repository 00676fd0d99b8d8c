"""How a command fails: one clear text, one exit code, no traceback unless asked for.

Exit codes: 0 done, 1 a comparison found differences, 2 bad usage or input, 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from converter.cli import render
from converter.errors import ConverterError, ProblemsError

DIFFERENT = 1
REFUSED = 2
INTERRUPTED = 130


@contextmanager
def reporting(*, json: bool = False, debug: bool = False) -> Iterator[None]:
    """Run a command; turn what it raises into a text on stderr and exit code 2.

    With ``json`` the same facts also go to stdout, as ``schema.Error``.

    Raises:
        typer.Exit: With the exit code, after the failure was printed.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of stdout has gone: main() ends quietly
    except (ConverterError, OSError, MemoryError) as error:
        if debug:
            raise
        report(error, json=json)
        raise typer.Exit(REFUSED) from None
    except Exception as error:
        if debug or isinstance(error, (typer.Exit, typer.Abort)):
            raise
        report(_surprise(error), json=json)
        raise typer.Exit(REFUSED) from None


def report(error: Exception, *, json: bool = False) -> None:
    """Print a failure."""
    failure = error if isinstance(error, ConverterError) else _foreign(error)
    render.note("error: " + "\n".join(failure.lines()))
    if json:
        render.line(_as_json(failure))


def _foreign(error: Exception) -> ConverterError:
    """Return what the system refused in our own shape: a missing file, a full disk, no memory."""
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f" {str(error.filename)!r}"
        return ConverterError(f"cannot use{where}: {error.strerror.lower()}")
    return ConverterError(f"{type(error).__name__}: {error}")


def _surprise(error: Exception) -> ConverterError:
    return ConverterError(
        f"this is a fault in Weightferry: {type(error).__name__}: {error}",
        hint="the same command with --debug shows where",
    )


def _as_json(failure: ConverterError) -> str:
    from converter.cli import schema

    problems = failure.problems if isinstance(failure, ProblemsError) else ()
    return schema.dump(
        schema.Error(
            schema.Failure(
                type=type(failure).__name__,
                summary=failure.summary,
                facts=[*failure.facts],
                hint=failure.hint,
                written=failure.written,
                problems=[
                    schema.Problem(p.kind, p.where, p.text, p.rule, p.hint) for p in problems
                ],
            )
        )
    )
