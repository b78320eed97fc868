"""Standard output that may be full, closed, or of an encoding that lacks characters: one line, and no traceback.

Trusts nothing about where a program's output goes: a full disk, a reader that has gone, a terminal that takes ASCII
only. Never answers for what was done before the output failed.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

WRONG_USE = 2
"""Exit status where it was not understood what was wanted."""
NOT_WRITTEN = 74
"""Exit status when the answer could not be written (EX_IOERR of sysexits.h)."""


def to_standard_output(program: str, work: Callable[[], int], *, needed: bool = True) -> int:
    """Run what writes to standard output; its exit status.

    A character that the output does not have is written escaped. A reader that has seen enough is no failure.

    :param program: whose line it is that tells of a failure.
    :param needed: whether nothing is to be done where there is no standard output.
    :raises SystemExit: where the work does.
    """
    if sys.stdout is None:
        if not needed:
            return work()
        # The next file that is opened would take its place: the store, for example.
        return _failed(program, "standard output is closed; nothing was done")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    status = 0
    try:
        try:
            status = work()
        finally:
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        _give_up()
        return status
    except OSError as error:
        if status:
            # The work itself told of a failure.
            _give_up()
            return status
        if error.filename is not None:
            return _failed(program, f"{os.fsdecode(error.filename)}: {error.strerror}", 1)
        _give_up()
        return _failed(program, f"cannot write to standard output: {error.strerror}")


def write_message(message: str, file: "SupportsWrite[str] | None") -> None:
    """Write what a parser of arguments has to say: help, or what is wrong.

    :param file: standard error if it is none.
    :raises OSError: where help cannot be written, which argparse keeps to itself; what is wrong is told by the exit
        status, too.
    """
    if message and (file := file or sys.stderr) is not None:
        with contextlib.suppress(*((OSError,) if file is sys.stderr else ())):
            file.write(message)


def _give_up() -> None:
    """Let what is still held back go nowhere: the interpreter must not complain when it flushes at the end."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _failed(program: str, message: str, status: int = NOT_WRITTEN) -> int:
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.write(f"{program}: {message}\n")
    return status
