"""What the command lines of all daemons share: where they log and where they keep their state.

Nothing here opens a socket or starts anything; options are judged, one line says what is wrong with them, and the exit
status is 2 for wrong use, as everywhere.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from twisted.logger import ILogObserver
from twisted.python import usage

from smartproxy import __version__
from smartproxy._version import RELEASED
from smartproxy.logs import logrc
from smartproxy.logs.files import make_writable
from smartproxy.logs.levels import EVERYTHING, Levels
from smartproxy.logs.log import Log, standard_error, usual
from smartproxy.logs.logrc import Appender, LogLayout, Logrc, LogrcRefused, OneFile
from smartproxy.logs.output import NOT_WRITTEN, WRONG_USE, to_standard_output
from smartproxy.logs.severity import Severity
from smartproxy.net import files
from smartproxy.net.process import cores
from smartproxy.net.transport.inherited import INHERITED, NotListening, given_by_manager
from smartproxy.policy.limits import DRAIN, PROCESSES_READY, WORKERS, Limit
from smartproxy.policy.places import STATE_DIRECTORY, STATE_DIRECTORY_VARIABLE
from smartproxy.policy.values import minute, whole_of
from smartproxy.tap.launch import NOT_STARTED, Launch
from smartproxy.tap.predecessor import Predecessor
from smartproxy.tap.signals import Signals

_T = TypeVar("_T")

COLUMNS_LEAST = 60
COLUMNS_USUAL = 80
_TWISTD_PID_FILE = "twistd.pid"
"""What twistd calls its PID file unless it is told."""


WORKERS_SWITCH = [
    "workers",
    None,
    None,
    f"processes that carry the sessions; 0: the daemon itself [one for each core, at most {WORKERS.default}]",
]
"""The switch of the daemons that can have workers."""

DRAIN_SWITCH = ["drain", None, None, "seconds that sessions may go on when the daemon stops [as configured: 300]"]
"""Of daemons that have sessions."""
ONE_EACH_SWITCH = [
    "process-per-session",
    "",
    f"carry every session in a process of its own; --workers of them wait for one [{PROCESSES_READY.default}]",
]
"""The same, for a worker for each session."""


class DaemonOptions(usage.Options):
    """Switches that every daemon has.

    After parsing, ``state_directory`` (a Path) and ``levels`` (what is logged) are set, and twistd's logger is ours.
    """

    program = "smartproxy"
    predecessor: Predecessor | None = None
    usual_level: Severity | None = None
    """What is logged where neither the command line nor the logrc says it; INFO for ``None``."""
    synopsis = "[twistd options] smartproxy [options]"

    optParameters = [
        [
            "state-dir",
            None,
            None,
            f"folder for what the daemon keeps [${STATE_DIRECTORY_VARIABLE} or {STATE_DIRECTORY}]",
        ],
        ["log-level", None, None, "what is logged: trace, debug, info, warning, error or fatal [info]"],
        ["log-json", None, None, "also write the log as JSON lines to this file"],
        [
            "log-dir",
            None,
            None,
            "folder for daily log files in the background; if given, in the foreground, too [STATE-DIR/log]",
        ],
        [
            "logrc",
            None,
            None,
            "what is logged and where to, in TOML [PROGRAM.logrc in the state folder, or beside the program]",
        ],
        ["pid-file", None, None, "file for the process ID [PROGRAM.pid in the state folder]"],
    ]
    optFlags = [
        ["foreground", "d", "stay in the foreground"],
    ]

    def opt_v(self) -> NoReturn:
        """Print the version and exit."""
        self.answer(f"{self.program} {__version__}")

    opt_version = opt_v

    def opt_h(self) -> NoReturn:
        """Display this help and exit."""
        self.answer(str(self))

    opt_help = opt_h

    def parseOptions(self, options: list[str] | None = None) -> None:
        """Read the command line; one that is wrong ends the program with one line, by twistd, too.

        So does an answer, such as help, that cannot be written.
        """

        def read() -> int:
            super(DaemonOptions, self).parseOptions(options)
            return 0

        try:
            if status := to_standard_output(self.program, read, needed=False):
                raise SystemExit(status)
        except usage.UsageError as error:
            self.wrong(str(error))

    def answer(self, text: str) -> NoReturn:
        """End the program with a line on standard output."""
        if sys.stdout is None:
            self.end(NOT_WRITTEN, "standard output is closed")
        sys.stdout.write(f"{text}\n")
        raise SystemExit(0)

    def parseArgs(self, *words: str) -> None:
        """Take no words beside the options."""
        if words:
            self.wrong(f"{words[0]!r} is no option, and nothing beside options is taken")

    def getSynopsis(self) -> str:
        """How it is called: as a program of its own, or by twistd."""
        if self.parent is None:
            return f"Usage: {self.synopsis.removeprefix('[twistd options] ')}"
        return f"Usage: twistd {self.synopsis}"

    def getUsage(self, width: int | None = None) -> str:
        """What the switches mean, in lines of a width that they fit into, whatever ``COLUMNS`` says."""
        given = os.environ.get("COLUMNS", "")
        try:
            columns = max(whole_of(given), COLUMNS_LEAST)
        except ValueError:
            columns = COLUMNS_USUAL
        return str(super().getUsage(width=width or columns))

    def postOptions(self) -> None:
        """Judge what every daemon has."""
        self.signals = Signals(self.set_level)
        self.signals.listen_for_levels()
        self.notices: list[tuple[str, Mapping[str, object]]] = []
        try:
            managed, stored = given_by_manager(os.environ)
            INHERITED.keep(managed)
            INHERITED.keep(stored, handed_over=True)
            self.predecessor = Predecessor.of(os.environ)
        except NotListening as error:
            self.end(WRONG_USE, str(error))
        self.state_directory = Path(
            self["state-dir"] or os.environ.get(STATE_DIRECTORY_VARIABLE) or STATE_DIRECTORY
        ).absolute()
        self._judge_log()
        self.pid_file = self._place_of_pid_file()
        twistd: Mapping[str, Any] = {} if self.parent is None else self.parent
        foreground = self["foreground"] or twistd.get("nodaemon") or twistd.get("debug")
        self.launch = Launch(self.program, self.pid_file, background=not foreground, predecessor=self.predecessor)
        if self.parent is not None:
            self.launch.take_over(self.parent)
        given = self.get("drain")
        self.drain = None if given is None else self.judged("--drain", _seconds, given)
        if self.parent is not None and not self.parent.get("syslog"):
            # twistd takes the name of a factory and nothing else, and calls it when logging begins.
            _chosen.append(self)
            self.parent["logger"] = f"{__name__}.chosen_observer"
        if not self.get("proxy-id"):
            # Who this machine is can be asked whatever its clock shows.
            self._judge_clock()

    @staticmethod
    def now() -> datetime:
        """What this machine's clock shows."""
        return datetime.now(UTC)

    def _judge_clock(self) -> None:
        """End the program where the clock shows a day before this version was made."""
        if self.now() < datetime.fromisoformat(RELEASED).replace(tzinfo=UTC):
            self.end(
                NOT_STARTED,
                f"this machine's clock shows {minute(self.now())}, but this version was not made before {RELEASED}: "
                "put the clock right, because certificates and licences are made and judged by it",
            )

    def _place_of_pid_file(self) -> Path | None:
        """Where the number of the process is kept; twistd's own switch counts, too, which may be empty for nowhere."""
        given = self["pid-file"]
        if not given and self.parent is not None:
            given = self.parent.get("pidfile")
            if not given:
                return None
            if given == _TWISTD_PID_FILE:
                given = None
        return Path(given or self.state_directory / f"{self.program}.pid").absolute()

    def judged(self, option: str, judge: Callable[[str], _T], value: str) -> _T:
        """What ``judge`` makes of an option's value; a ``ValueError`` becomes one line and exit status 2."""
        try:
            return judge(value)
        except ValueError as error:
            self.wrong(f"{option}: {error}")

    def wrong(self, message: str) -> NoReturn:
        """End the program: its command line is wrong."""
        self.end(WRONG_USE, f"{message} (see {self.program} --help)")

    def warn(self, message: str) -> None:
        """Say one line on standard error, if there is any, and go on."""
        if self.predecessor is not None:
            self.predecessor.tell(message)
        with contextlib.suppress(OSError, AttributeError):
            sys.stderr.write(f"{self.program}: {message}\n")

    def end(self, status: int, message: str) -> NoReturn:
        """End the program with one line on standard error."""
        self.warn(message)
        raise SystemExit(status)

    def _judge_log(self) -> None:
        """What is logged and where to: the file, and the switches, which go before it."""
        name = f"{self.program}.logrc"
        self.logrc = Logrc()
        try:
            if self["logrc"]:
                self.logrc = logrc.load(Path(self["logrc"]).absolute(), files.read)
            else:
                folders = (self.state_directory, *_program_folders())
                path = next((folder / name for folder in folders if (folder / name).exists()), None)
                if path is not None:
                    self.logrc = logrc.load(path, files.read)
        except OSError as error:
            self.end(
                NOT_STARTED,
                f"the state folder {self.state_directory} cannot be read: {error.strerror}; run this as the user whose "
                "folder it is, or name another one with --state-dir",
            )
        except LogrcRefused as refused:
            for fault in refused.faults:
                self.warn(f"--logrc: {fault}")
            raise SystemExit(WRONG_USE) from None
        levels = dict(self.logrc.levels)
        if self.usual_level is not None:
            levels.setdefault(EVERYTHING, self.usual_level)
        if self["log-level"]:
            levels[EVERYTHING] = self.judged("--log-level", Severity.named, self["log-level"])
        self.levels = Levels(levels)
        folder = Path(self["log-dir"] or self.state_directory / "log").absolute()
        self.log = Log(self.program, folder, self.levels)
        # Resolved here: in the background the working directory is another one.
        self._log_json = Path(self["log-json"]).absolute() if self["log-json"] else None

    def observer(self) -> ILogObserver:
        """The daemon's log, as its logrc and the switches say."""
        appenders = self.logrc.appenders
        if appenders is None:
            appenders = self._usual_appenders()
        if self._log_json is not None:
            try:
                make_writable(self._log_json)
            except OSError as error:
                self.end(NOT_STARTED, f"--log-json: {self._log_json}: {error.strerror}")
            appenders += (OneFile(path=self._log_json, layout=LogLayout.JSON),)
        self.log.open(appenders, output=sys.stdout, errors=standard_error())
        return self.log

    def _usual_appenders(self) -> tuple[Appender, ...]:
        """Standard output in the foreground, a daily file in the background; a file that twistd was told, if it was."""
        twistd: Mapping[str, Any] = {} if self.parent is None else self.parent
        file = twistd.get("logfile")
        if file and file != "-":
            return (OneFile(path=Path(file).absolute(), layout=LogLayout.TEXT),)
        return usual(foreground=not self.launch.background and not self["log-dir"])

    def set_level(self, severity: Severity) -> None:
        """Log from this level upwards, from now on."""
        self.levels.set(severity)


def _program_folders() -> list[Path]:
    """The folder of the program, and where it is a link, of what the link leads to; none for ``python -c``."""
    program = Path(sys.argv[0]).absolute()
    if not program.is_file():
        return []
    return [program.parent, program.resolve().parent]


def _seconds(text: str) -> int:
    """A whole number of seconds.

    :raises ValueError: when it is not one, or out of range.
    """
    return within(text, DRAIN)


def workers_wanted(text: str | None, *, one_each: bool = False) -> int:
    """How many workers there are to be.

    :param text: as it was given; ``None`` if nothing was.
    :param one_each: whether these wait for a session; some do even if none are asked for.
    :raises ValueError: when it is no number, or out of range.
    """
    limit = PROCESSES_READY if one_each else WORKERS
    if text is None:
        return limit.default if one_each else min(cores(), limit.default)
    return within(text, limit) or (limit.default if one_each else 0)


def within(text: str, limit: Limit) -> int:
    """A whole number within a limit.

    :raises ValueError: when it is none, or out of range.
    """
    try:
        number = whole_of(text)
    except ValueError:
        number = limit.least - 1
    if not limit.admits(number):
        raise ValueError(f"{text!r} is not a number of {limit.unit} from {limit.least} to {limit.most}")
    return number


_chosen: list[DaemonOptions] = []


def chosen_observer() -> ILogObserver:
    """The observer of the daemon whose command line was read last; twistd calls this by its name."""
    return _chosen[-1].observer()
