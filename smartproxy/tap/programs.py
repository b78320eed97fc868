"""The programs as they are installed: each begins here, before anything else is imported.

SIGNALS
    SIGINT ends the program with status 130 and without a word: while it is imported and after its work at once, during
    its work in order, as long as it has not its own way to end. SIGTERM and SIGHUP end a command in the same way, with
    128 and the signal's number: what it was writing is removed. Daemons have their own way. Where the caller ignores
    one of these, so does the program.

Imports nothing but what the interpreter has loaded already: until this is imported, an interrupt is a traceback.
"""

import gc
import os
import signal
from importlib import import_module
from types import FrameType

_GARBAGE_FROM = 10_000
"""Objects that are made before garbage is looked for among them, until a daemon decides otherwise."""
INTERRUPTED = 130
"""Exit status of a program that SIGINT ended."""
_OTHERS = (signal.SIGTERM, signal.SIGHUP)
"""What else ends a command: a timeout, a terminal that is gone, a stopped unit."""


def command() -> int:
    """Run ``smartproxy``."""
    return _run("smartproxy.tap.command", "main", _OTHERS)


def server() -> int:
    """Run ``smartproxy-server``."""
    return _run("smartproxy.tap.console", "server_main")


def client() -> int:
    """Run ``smartproxy-client``."""
    return _run("smartproxy.tap.console", "client_main")


def backend() -> int:
    """Run ``smartproxy-backend``."""
    return _run("smartproxy.tap.console", "backend_main")


def plain_server() -> int:
    """Run ``smartproxy-plain-server``."""
    return _run("smartproxy.tap.console", "plain_server_main")


def plain_client() -> int:
    """Run ``smartproxy-plain-client``."""
    return _run("smartproxy.tap.console", "plain_client_main")


def _run(module: str, main: str, others: tuple[signal.Signals, ...] = ()) -> int:
    """Import a program and run it; its exit status.

    Garbage is looked for seldom: imports leave hardly any, and to look for it takes an eighth of a program's start.

    :param others: signals that end it as SIGINT does.
    """
    gc.set_threshold(_GARBAGE_FROM)
    heard = [each for each in (signal.SIGINT, *others) if signal.getsignal(each) is not signal.SIG_IGN]
    for each in heard:
        signal.signal(each, _leave)
    try:
        begin = getattr(import_module(module), main)
        for each in heard:
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else _end)
        return begin() or 0
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        for each in heard:
            signal.signal(each, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    """End the process at once: nothing has been begun, or everything is done and written.

    An exception would pass through the imports of libraries, some of which tell of it or go on without what failed.
    """
    os._exit(128 + number)


def _end(number: int, frame: FrameType | None) -> None:
    """End the program's work in order; what is undone meanwhile is not disturbed by another of these signals."""
    for each in _OTHERS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)
