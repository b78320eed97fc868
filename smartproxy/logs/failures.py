"""What may be told about an exception.

An exception's message can hold octets of a peer or a secret (``int(b"...")`` quotes its argument), and a traceback's
source lines and variables still more. Told are therefore the class, the calls by file, line and function, and the
message only of classes whose messages never quote data.
"""

import os

import attrs
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from smartproxy.logs.catalogue import CatalogueError
from smartproxy.oftp2.errors import SessionFault

FRAMES_MOST = 12
"""Calls that are told, counted from where the exception was raised."""

_HARMLESS = (
    AttributeError,
    CatalogueError,
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    ImportError,
    MemoryError,
    NameError,
    NotImplementedError,
    OSError,
    RecursionError,
    SessionFault,
    TypeError,
)


@attrs.frozen
class Told:
    """The parts of an exception that may be written down."""

    exception: str
    frames: str
    message: str | None


def describe(failure: Failure) -> Told:
    """Take from a failure what may be written down."""
    kind = type(failure.value)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    frames = [
        f"{_short(filename)}:{number} {function}" for function, filename, number, _, _ in failure.frames[-FRAMES_MOST:]
    ]
    value = failure.value
    message = str(value) if isinstance(value, _HARMLESS) else None
    return Told(name, " < ".join(reversed(frames)), message)


def _short(filename: str) -> str:
    return os.sep.join(filename.rsplit(os.sep, 2)[-2:])
