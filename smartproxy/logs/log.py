"""A daemon's whole log: what its logrc names, or what is usual, put together and kept running.

Files are opened at once, which is told if it fails; the network is used between :meth:`Log.start` and :meth:`Log.stop`;
what is logged before waits. No appender can stop a session, or another appender.
"""

import contextlib
import socket
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import ILogObserver, LogEvent, LogPublisher
from zope.interface import implementer

from smartproxy.logs.emit import Events
from smartproxy.logs.files import Daily, LogFile, Place, SameFile
from smartproxy.logs.levels import EVERYTHING, Levels
from smartproxy.logs.logrc import (
    Appender,
    DailyFiles,
    DatagramSyslog,
    LogLayout,
    OneFile,
    SecureSyslog,
    StandardOutput,
    Syslog,
)
from smartproxy.logs.named_tls import NamedTls, ProvenEndpoint, trusted
from smartproxy.logs.observers import (
    AppenderTrouble,
    Categories,
    JsonObserver,
    Selection,
    Stream,
    TextObserver,
    Threshold,
    json_of,
    words_of,
)
from smartproxy.logs.severity import Severity
from smartproxy.logs.standard_output import Output, takes
from smartproxy.logs.syslog import DatagramSender, Sender, StreamSender, SyslogObserver
from smartproxy.policy.addresses import HostPort

STOP_SECONDS = 2.0
"""How long the end of a daemon waits for its last messages to leave."""
STANDARD_OUTPUT = "standard output"
"""What it is called among the places of a log."""
_DISK = "make room, or see that the daemon may write there; lines are lost until then"
_RECEIVER = "see that the syslog runs and is reachable; messages wait, and the oldest are lost when too many do"


@implementer(ILogObserver)
class Log:
    """The log of one daemon.

    :param program: the daemon's name, in names of files and in syslog's APP-NAME.
    :param folder: where its daily files are unless its logrc says otherwise.
    :param levels: what is logged.
    :param now: tells the time, aware.
    :ivar events: where trouble is told, once the daemon has one.
    :ivar places: what it logs to, for people.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        levels: Levels,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.levels = levels
        self.events: Events | None = None
        self.places: list[str] = []
        self._program = program
        self._folder = folder
        self._now = now
        self._output = self._errors = standard_error()
        self._parts: list[Sender | Output] = []
        self._publisher = LogPublisher()
        self._observer: ILogObserver = self._publisher
        self._also: tuple[Path, LogFile, ILogObserver] | None = None

    def open(self, appenders: tuple[Appender, ...], *, output: Stream, errors: Stream) -> None:
        """Begin to log.

        :param appenders: where to.
        :param output: standard output.
        :param errors: standard error, for what cannot be logged.
        """
        self._output, self._errors = output, errors
        self._publisher = LogPublisher(*map(self._built, appenders))
        self._observer = Selection(self.levels, self._publisher)

    def also(self, path: Path | None) -> None:
        """Log to one more file, instead of the one that was named before, or to none.

        :param path: JSON lines if it ends in ``.jsonl``, else text.
        """
        if self._also is not None:
            before, file, observer = self._also
            self._publisher.removeObserver(observer)
            file.close()
            self.places.remove(str(before))
            self._also = None
        if path is not None:
            layout = LogLayout.JSON if path.suffix == ".jsonl" else LogLayout.TEXT
            file = self._file(SameFile(path), path)
            self._also = path, file, _layout(OneFile(path=path, layout=layout), file)
            self._publisher.addObserver(self._also[2])

    def __call__(self, event: LogEvent) -> None:
        """Log an entry."""
        self._observer(event)

    def divert(self, observer: ILogObserver) -> None:
        """Hand entries to *observer* and write none: in a process that has no log of its own."""
        self._observer = observer

    def start(self, reactor: Any, events: Events) -> None:
        """Use the network, and tell trouble as events; the daemon runs."""
        self.events = events
        events.levels = self.levels
        for part in self._parts:
            part.start(reactor)

    def stop(self, reactor: Any) -> Deferred[None]:
        """Send and write what still can be, for a moment."""
        ended = DeferredList([part.stop() for part in self._parts], consumeErrors=True)
        return ended.addTimeout(STOP_SECONDS, reactor).addBoth(lambda result: None)

    def _built(self, appender: Appender) -> ILogObserver:
        observer = self._writer(appender)
        if EVERYTHING not in appender.categories:
            observer = Categories(appender.categories, observer)
        return Threshold(appender.level, observer) if appender.level > Severity.TRACE else observer

    def _writer(self, appender: Appender) -> ILogObserver:
        match appender:
            case Syslog():
                return self._syslog(appender)
            case DailyFiles():
                suffix = ".jsonl" if appender.layout is LogLayout.JSON else ".log"
                folder = appender.folder or self._folder
                return _layout(appender, self._file(Daily(folder, self._program, appender.keep, suffix), folder))
            case OneFile():
                return _layout(appender, self._file(SameFile(appender.path), appender.path))
        assert isinstance(appender, StandardOutput)
        trouble = self._trouble(STANDARD_OUTPUT, "see where standard output goes")
        output = Output(self._output, trouble)
        self._parts.append(output)
        return _layout(appender, output)

    def _file(self, place: Place, name: Path) -> LogFile:
        file = LogFile(place, self._trouble(str(name), _DISK), self._now)
        file.prepare()
        return file

    def _syslog(self, appender: Syslog) -> ILogObserver:
        trouble = self._trouble(f"syslog {appender.transport} {HostPort(appender.host, appender.port)}", _RECEIVER)
        sender: Sender
        if isinstance(appender, DatagramSyslog):
            sender = DatagramSender(appender.host, appender.port, trouble)
        else:
            sender = StreamSender(lambda reactor: endpoint(reactor, appender), trouble)
        self._parts.append(sender)
        words = json_of if appender.layout is LogLayout.JSON else words_of
        return SyslogObserver(sender, words, appender.facility, self._program, socket.gethostname())

    def _trouble(self, appender: str, advice: str) -> AppenderTrouble:
        """Tells what goes wrong at an appender, which is named among the places."""
        self.places.append(appender)
        return AppenderTrouble(appender, advice, self._tell)

    def _tell(self, name: str, fields: Mapping[str, object]) -> None:
        # It may lead to the same full disk or unread pipe, or to nobody.
        if name == "appender.failed" and takes(self._errors):
            with contextlib.suppress(OSError, ValueError):
                self._errors.write(f"{self._program}: log: {fields['appender']}: {fields['message']}\n")
                self._errors.flush()
        if self.events is not None:
            self.events.emit(name, **fields)


def _layout(appender: Appender, stream: Stream) -> ILogObserver:
    return JsonObserver(stream) if appender.layout is LogLayout.JSON else TextObserver(stream)


def endpoint(reactor: Any, appender: Syslog) -> IStreamClientEndpoint:
    """What a syslog over TCP or TLS is dialled with."""
    plain = HostnameEndpoint(reactor, appender.host, appender.port)
    if not isinstance(appender, SecureSyslog):
        return plain
    return ProvenEndpoint(NamedTls(appender.host, trusted(appender.ca)), plain, reactor)


def standard_error() -> Stream:
    """The process's standard error; a stream without effect where there is none."""
    return sys.__stderr__ if sys.__stderr__ is not None else _Nowhere()


class _Nowhere:
    """Takes everything."""

    def write(self, text: str, /) -> None:
        """Take it."""

    def flush(self) -> None:
        """Nothing is held back."""


def usual(*, foreground: bool) -> tuple[Appender, ...]:
    """Where a daemon logs to when nobody says otherwise."""
    return (StandardOutput(),) if foreground else (DailyFiles(),)
