"""What the switches of both plain daemons have in common."""

from smartproxy.tap.daemon import DaemonOptions

IDLE_SECONDS = 180
IDLE_SECONDS_MOST = 86_400

PLAIN_FLAGS = [
    ["trace", "t", "stay in the foreground and log everything"],
]


def plain_level(options: DaemonOptions) -> None:
    """``-d`` logs at DEBUG and ``-t`` at TRACE; both stay in the foreground, as they always did, with twistd too."""
    if options["trace"]:
        options["foreground"] = 1
        options["log-level"] = "trace"
    elif options["foreground"] and options["log-level"] is None:
        options["log-level"] = "debug"
    if options["foreground"] and options.parent is not None:
        options.parent["nodaemon"] = 1


def idle_seconds(text: str) -> int:
    """A time-out.

    :raises ValueError: when it is not a whole number of seconds in range.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > 5 or not 1 <= int(text) <= IDLE_SECONDS_MOST:
        raise ValueError(f"{text!r} is not a number of seconds from 1 to {IDLE_SECONDS_MOST}")
    return int(text)
