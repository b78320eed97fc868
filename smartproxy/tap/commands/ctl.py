"""``smartproxy ctl``: a running daemon of this machine, asked and told over its control socket."""

import argparse
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from smartproxy.ctl.asking import Connection, NotAllowedToAsk, Unreachable
from smartproxy.ctl.protocol import (
    IDLE_SECONDS,
    AskGeneration,
    AskLevel,
    AskLicence,
    AskSessions,
    AskStatus,
    Refused,
    Request,
    TellDrain,
    TellKill,
    TellRestart,
)
from smartproxy.policy.health import Health
from smartproxy.policy.limits import DRAIN
from smartproxy.policy.places import SOCKET_SUFFIX, STATE_DIRECTORY, STATE_DIRECTORY_VARIABLE
from smartproxy.tap.commands import ctl_display as display
from smartproxy.tap.commands.arguments import Subparsers, action, ranged, subject
from smartproxy.tap.commands.console import FAILED, CommandFailed, Console

DAEMONS = ("smartproxy-server", "smartproxy-client")
OTHERS = ("smartproxy-backend", "smartproxy-plain-server", "smartproxy-plain-client")
"""Asked where none of the two above is there, or where they are named."""
WATCH_SECONDS = 2.0
STATUSES = {Health.OK: 0, Health.DEGRADED: 1, Health.DOWN: 2}
"""Exit statuses of ``status``, as plugins of Nagios have them; that of a daemon that does not run is that of down."""
UNKNOWN = 3
"""Exit status where it is not known how the daemon is: this user may not ask."""
_CLEAR = "\x1b[H\x1b[2J"

A = TypeVar("A")


def register(subparsers: Subparsers) -> None:
    """Declare the command."""
    actions = subject(
        subparsers,
        "ctl",
        "Ask and control a daemon that runs on this machine.",
        "  smartproxy ctl status\n"
        "  smartproxy ctl sessions --watch\n"
        "  smartproxy ctl level trace --partner ACME\n"
        "  smartproxy ctl drain --seconds 60\n"
        "Run it as root or as the daemon's user. Where several daemons run, say which, such as --server or --client.",
    )
    _look(
        actions,
        "status",
        "Show whether all is well, and the daemon's state; exit status: 0 ok, 1 degraded, 2 down, 3 not known.",
        _status,
    )
    sessions = _look(actions, "sessions", "List the live sessions.", _sessions)
    sessions.add_argument("-w", "--wide", action="store_true", help="all columns")
    _look(actions, "generation", "Show which configuration is in force, since when, and who delivered it.", _generation)
    _look(actions, "licence", "Show the licence in force; for a client, the licences of its servers.", _licence)
    level = _declare(
        actions,
        "level",
        "Change the log level at once; without a level, show the levels in force.",
        _level,
        "  smartproxy ctl level debug\n"
        "  smartproxy ctl level trace --session 231696ddd5473c29\n"
        "  smartproxy ctl level configured",
    )
    level.add_argument(
        "level",
        nargs="?",
        metavar="LEVEL",
        help="trace, debug, info, warning, error, fatal; configured: the configured level again",
    )
    which = level.add_mutually_exclusive_group()
    which.add_argument("--session", metavar="ID", help="for this session only")
    which.add_argument("--partner", metavar="NAME", help="for this partner's sessions only")
    which.add_argument("--category", metavar="CATEGORY", help="for these events only, such as session or tunnel")
    drain = _declare(
        actions,
        "drain",
        "Stop the daemon: it accepts no new sessions; running sessions may finish; those that are left are ended "
        "(OFTP2: ESID 05).",
        _drain,
        "  smartproxy ctl drain --seconds 60\n  smartproxy ctl drain --seconds 0     now; also while it drains",
    )
    drain.add_argument(
        "--seconds",
        type=_drain_seconds,
        metavar="N",
        help=f"how long sessions may go on [the configured drain time; {DRAIN.default} unless set]",
    )
    _declare(
        actions,
        "restart",
        "Start a new process of a server or a client that takes over the open ports; sessions end in the old one.",
        _restart,
        "  smartproxy ctl restart     after an upgrade, or when the command line's files have changed",
    )
    kill = _declare(
        actions,
        "kill",
        "End one session (OFTP2: with ESID 05; plain pair: the connections are closed).",
        _kill,
        "  smartproxy ctl kill 231696ddd5473c29",
    )
    kill.add_argument("session", metavar="SESSION", help="its id, as `smartproxy ctl sessions` shows it")


def _declare(
    actions: Subparsers, name: str, summary: str, run: Callable[[Console], int | None], examples: str = ""
) -> argparse.ArgumentParser:
    parser = action(actions, name, summary, run, examples, uses="the daemon's control socket")
    where = parser.add_argument_group("which daemon").add_mutually_exclusive_group()
    for program in (*DAEMONS, *OTHERS):
        switch = f"--{program.removeprefix('smartproxy-')}"
        where.add_argument(switch, dest="daemon", action="store_const", const=program, help=program)
    where.add_argument("--socket", type=Path, metavar="PATH", help="its control socket [in the state folder]")
    return parser


def _look(
    actions: Subparsers, name: str, summary: str, run: Callable[[Console], int | None]
) -> argparse.ArgumentParser:
    parser = _declare(actions, name, summary, run)
    parser.add_argument(
        "--watch",
        nargs="?",
        type=_seconds,
        const=WATCH_SECONDS,
        metavar="SECONDS",
        help=f"look again and again until Ctrl-C [{WATCH_SECONDS:g}]; with --json, one answer a line",
    )
    return parser


def _drain_seconds(text: str) -> int:
    return ranged(text, DRAIN.least, DRAIN.most)


def _seconds(text: str) -> float:
    seconds = float(text) if re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,6})?", text) else 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 3600")
    return seconds


# Actions.


def _status(console: Console) -> int:
    """Ask, with the exit status that monitoring programs expect."""
    try:
        answer = _watched(console, AskStatus(), display.status)
    except CommandFailed as failed:
        unknown = failed.status == UNKNOWN
        raise CommandFailed(str(failed), UNKNOWN if unknown else STATUSES[Health.DOWN]) from failed
    return STATUSES[answer.health]


def _sessions(console: Console) -> None:
    table = display.SessionsTable(wide=console.arguments.wide)
    _watched(console, AskSessions(), table.show)


def _generation(console: Console) -> None:
    _watched(console, AskGeneration(), display.generation)


def _licence(console: Console) -> None:
    _watched(console, AskLicence(), display.licence)


def _level(console: Console) -> None:
    wanted = console.arguments
    request = AskLevel(level=wanted.level, session=wanted.session, partner=wanted.partner, category=wanted.category)
    _told(console, request, display.levels)


def _drain(console: Console) -> None:
    _told(console, TellDrain(seconds=console.arguments.seconds), display.draining)


def _restart(console: Console) -> None:
    _told(console, TellRestart(), display.handed_over)


def _kill(console: Console) -> None:
    _told(console, TellKill(session=console.arguments.session), display.killed)


# Asking.


def _told(console: Console, request: Request[A], show: Callable[[A], str]) -> None:
    with _connection(_socket(console)) as connection:
        answer = _ask(connection, request)
    console.answer(request.answer.write(answer), show(answer))


def _watched(console: Console, request: Request[A], show: Callable[[A], str]) -> A:
    """The answer shown; again and again if that is wanted, until the daemon ends."""
    watch = console.arguments.watch
    # Looks with long waits between them are on a connection each: the daemon would end one that nobody uses.
    answers = _answers(_socket(console), request, kept=watch is not None and watch < IDLE_SECONDS / 2)
    if watch is None:
        answer = next(answers)
        console.answer(request.answer.write(answer), show(answer))
        return answer
    while True:
        answer = next(answers)
        console.line(request.answer.write(answer), (_CLEAR if console.out.isatty() else "") + show(answer))
        console.sleep(watch)


def _answers(path: Path, request: Request[A], *, kept: bool) -> Iterator[A]:
    """What a daemon answers each time that it is asked.

    :param kept: whether it is asked on one connection.
    """
    while True:
        with _connection(path) as connection:
            answer = _ask(connection, request)
            while kept:
                yield answer
                answer = _ask(connection, request)
        yield answer


def _ask(connection: Connection, request: Request[A]) -> A:
    try:
        return connection.ask(request)
    except (Refused, Unreachable) as error:
        raise _failed(error) from error


def _connection(path: Path) -> Connection:
    try:
        return Connection(path)
    except Unreachable as error:
        raise _failed(error) from error


def _failed(error: Refused | Unreachable) -> CommandFailed:
    return CommandFailed(str(error), UNKNOWN if isinstance(error, NotAllowedToAsk) else FAILED)


def _socket(console: Console) -> Path:
    """The socket of the daemon that is meant."""
    wanted = console.arguments
    if wanted.socket is not None:
        path: Path = wanted.socket
        return path
    folder = Path(wanted.state_dir or os.environ.get(STATE_DIRECTORY_VARIABLE) or STATE_DIRECTORY)
    if wanted.daemon is not None:
        return folder / f"{wanted.daemon}{SOCKET_SUFFIX}"
    named = {name: folder / f"{name}{SOCKET_SUFFIX}" for name in (*DAEMONS, *OTHERS)}
    try:
        there = [named[name] for name in DAEMONS if named[name].exists()]
        there = there or [named[name] for name in OTHERS if named[name].exists()]
    except PermissionError:
        advice = "ask as root or as the daemon's own user, or name its folder with --state-dir"
        raise CommandFailed(f"this user may not look into {folder}; {advice}", UNKNOWN) from None
    match there:
        case [path]:
            return path
        case []:
            raise CommandFailed(
                f"no daemon has a control socket in {folder}; is one running, and is this its --state-dir? "
                "say --socket PATH if it was started with --ctl-socket"
            )
        case several:
            switches = " or ".join(f"--{path.stem.removeprefix('smartproxy-')}" for path in several)
            raise CommandFailed(
                f"several daemons have a control socket in {folder}: say which is meant with {switches}"
            )
