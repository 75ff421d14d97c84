"""The `lrrun` command: one module a verb, and the one place where errors become exit codes."""

from __future__ import annotations

import errno
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lrrun import __version__
from lrrun.cli.check import check
from lrrun.cli.compare import compare
from lrrun.cli.components import components
from lrrun.cli.doctor import doctor
from lrrun.cli.find import find
from lrrun.cli.fork import fork
from lrrun.cli.init import init
from lrrun.cli.list import list_
from lrrun.cli.resume import resume
from lrrun.cli.schedule import schedule
from lrrun.cli.schema import schema
from lrrun.cli.show import show
from lrrun.cli.sweep import sweep
from lrrun.cli.train import train
from lrrun.cli.verify import verify
from lrrun.errors import EnvironmentFault, Exit, LrrunError

EXIT_CODES = (
    "Exit codes: 0 done, 1 part of the work failed, 2 bad config or command line, "
    "3 unusable file, 4 diverged, 5 environment (disk, memory, permission, missing extra), "
    "6 run busy, 7 gate not met, 8 no answer, 70 a bug of lrrun, 128+n after signal n."
)


class _Verbs(TyperGroup):
    """The commands, and what becomes of their output: Typer alone would end them all with 1."""

    def invoke(self, ctx: Any) -> Any:  # Typer's own copy of click's Context
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _drop_stdout()
            raise typer.Exit(141) from None
        except typer.TyperException as error:
            _say_key_instead(error)
            raise
        except OSError as error:
            if error.filename is not None or error.errno != errno.ENOSPC:
                raise
            _drop_stdout()
            raise EnvironmentFault(f"cannot write to standard output: {error.strerror}") from error
        return result


def _say_key_instead(error: Any) -> None:
    """Where an unknown option is a key of a config (`--lr 0.1`), its message says how to set it."""
    option = getattr(error, "option_name", None)
    verb = error.ctx.command if error.ctx else None
    if (
        not option
        or verb is None
        or not any(each.name in ("overrides", "arguments") for each in verb.params)
    ):
        return
    from lrrun.config.places import place_of

    place = place_of(option.lstrip("-"))
    if place is not None:
        error.message += f". A config's key is set without dashes: {place}=VALUE"


app = typer.Typer(
    name="lrrun",
    cls=_Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lrrun {__version__}")
        raise typer.Exit


@app.callback()
def _lrrun(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Choose, run, compare and understand learning rates and learning-rate schedules."""


def _in_paragraphs(verb: Callable[..., None]) -> str:
    """Its docstring without line ends inside paragraphs, which Typer would keep at any width."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(verb) or "")


for _verb in (
    init,
    check,
    schedule,
    train,
    resume,
    fork,
    verify,
    find,
    sweep,
    compare,
    list_,
    show,
    components,
    doctor,
    schema,
):
    app.command(name=_verb.__name__.rstrip("_"), help=_in_paragraphs(_verb))(_verb)


def run() -> None:
    """Run the command line; every LrrunError ends as its message and its exit code."""
    _open_missing_streams()
    try:
        app()
    except LrrunError as error:
        _say(error)
        sys.exit(int(error.exit_code))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if _is_out_of_memory(error):
            _say(EnvironmentFault(f"out of memory: {error}; a smaller model or batch may fit"))
            sys.exit(int(Exit.ENVIRONMENT))
        import traceback

        traceback.print_exc()
        print(
            "lrrun: this is a bug of lrrun; please report it with the text above", file=sys.stderr
        )
        sys.exit(int(Exit.BUG))


def _say(error: LrrunError) -> None:
    """One line a finding, on standard error, with nothing in it that a terminal would obey."""
    from lrrun.render.terminal import make_console, printable

    console = make_console(sys.stderr)
    findings = getattr(error, "problems", None) or str(error).splitlines()
    for line in map(str, findings):
        console.print(f"lrrun: {printable(line)}", soft_wrap=True)


def _is_out_of_memory(error: Exception) -> bool:
    """Python's own error, torch's on a device, or the allocator's word for it on the CPU."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "can't allocate memory" in str(error)


def _open_missing_streams() -> None:
    """Python has None for a stream that was closed before we began; then nobody reads it."""
    import os

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until we end
            setattr(sys, name, nowhere)


def _drop_stdout() -> None:
    """Whoever read our output has gone; keep the interpreter from complaining at its end."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
