"""The command ``converter``: its sub-commands, its version, and what ends it.

Every command parses, calls the API, renders. Imports of the API stay inside the commands, so that
``--version``, ``--help`` and completion start in a tenth of a second.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, NoReturn

import typer

from converter._version import __version__
from converter.cli import (
    average,
    convert,
    diff,
    draft,
    edit,
    formats,
    inspect,
    mappings,
    plan,
    plot,
    render,
    scaffold,
    schema_command,
    validate,
)
from converter.cli.failures import INTERRUPTED, REFUSED

CLOSED_PIPE = 128 + 13  # what a shell reports for a program whose reader went away

app = typer.Typer(
    name="converter",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Move trained weights between Keras, PyTorch and safetensors, both ways, and prove that "
    "they arrived. Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 a "
    "comparison found differences, 2 bad usage or input.",
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  # the shape of a Typer callback
    if wanted:
        typer.echo(f"converter {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    del version


app.command(epilog=render.examples(inspect.EXAMPLES))(inspect.inspect)
app.command(epilog=render.examples(plan.EXAMPLES))(plan.plan)
app.command(epilog=render.examples(convert.EXAMPLES))(convert.convert)
app.command(epilog=render.examples(validate.EXAMPLES))(validate.validate)
app.command(epilog=render.examples(diff.EXAMPLES))(diff.diff)
app.command(epilog=render.examples(plot.EXAMPLES))(plot.plot)
app.command(epilog=render.examples(edit.EXAMPLES))(edit.edit)
app.command(epilog=render.examples(average.EXAMPLES))(average.average)
app.command(epilog=render.examples(scaffold.EXAMPLES))(scaffold.scaffold)
app.command(epilog=render.examples(draft.EXAMPLES))(draft.draft)
app.add_typer(mappings.app, name="mappings")
app.command(epilog=render.examples(formats.EXAMPLES))(formats.formats)
app.command(name="schema", epilog=render.examples(schema_command.EXAMPLES))(
    schema_command.show_schema
)


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    # A short process full of small objects that live to its end: collecting them again and again
    # took a quarter of the time of 20,000 tensors and found nothing.
    gc.set_threshold(500_000, 50, 100)
    try:
        code = app(prog_name="converter", standalone_mode=False)
    except typer.TyperException as error:
        code = _bad_usage(error)
    except typer.Abort:
        code = INTERRUPTED
    except BrokenPipeError:
        # The interpreter would flush stdout once more while it shuts down, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = CLOSED_PIPE
    if code == INTERRUPTED:
        render.note("error: interrupted; no target was changed")
    sys.exit(code if isinstance(code, int) else 0)


def _bad_usage(error: typer.TyperException) -> int:
    if not error.format_message():  # no arguments: the help was printed
        return REFUSED
    render.note(f"error: {error.format_message()}")
    context = getattr(error, "ctx", None)
    if context is not None:
        render.note(f"  hint  {context.command_path} --help")
    return REFUSED
