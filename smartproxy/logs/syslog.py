"""Syslog: an entry as a message of RFC 5424, and what carries messages over UDP, TCP and TLS.

Nothing waits for a syslog: what cannot be sent now is queued (:class:`smartproxy.logs.carrier.Waiting`), and beyond the
queue's bound the oldest messages are dropped, counted and told. Over TCP and TLS each message goes with the number of
its octets in front (RFC 6587 section 3.4.1, RFC 5425 section 4.3), and a lost connection is made again; over UDP (RFC
5426) a message is one datagram, cut at :data:`DATAGRAM_MOST` octets. What TCP had taken when its connection broke is
lost, as syslog knows no receipt.
"""

import os
from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IStreamClientEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, connectionDone
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.logger import ILogObserver, LogEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.logs.carrier import Waiting
from smartproxy.logs.fields import isotime
from smartproxy.logs.observers import AppenderTrouble, moment_of, name_of, severity_of
from smartproxy.logs.severity import Severity
from smartproxy.policy.causes import Cause

DATAGRAM_MOST = 2048
"""Octets of a message over UDP: what RFC 5424 section 6.1 asks every receiver to take."""
RETRY_SECONDS_MOST = 60.0
REFUSED_SECONDS = 60.0
"""After so long without a word from the system a UDP receiver counts as present again."""
STANDING_SECONDS = 5.0
"""After so long a connection over TCP or TLS counts as made: some receivers accept it and close it at once."""

FACILITIES = {
    **dict(zip(("kern", "user", "mail", "daemon", "auth", "syslog"), range(6), strict=True)),
    "authpriv": 10,
    **{f"local{number}": 16 + number for number in range(8)},
}
"""RFC 5424 section 6.2.1."""

_SEVERITIES = {
    Severity.TRACE: 7,
    Severity.DEBUG: 7,
    Severity.INFO: 6,
    Severity.WARNING: 4,
    Severity.ERROR: 3,
    Severity.CRITICAL: 2,
}
_HOST_MOST, _PROGRAM_MOST, _NAME_MOST = 255, 48, 32
_BOM = b"\xef\xbb\xbf"


class Sender(Protocol):
    """Carries messages."""

    def send(self, message: bytes) -> None:
        """Take a message; never waits, never raises."""

    def start(self, reactor: Any) -> None:
        """Begin to use the network."""

    def stop(self) -> Deferred[None]:
        """Send what waits if it can be sent, and end."""


@implementer(ILogObserver)
@attrs.frozen
class SyslogObserver:
    """Sends entries to a syslog.

    :ivar words: an entry as the text of a message.
    :ivar facility: RFC 5424's number.
    :ivar program: APP-NAME.
    :ivar host: HOSTNAME.
    """

    sender: Sender
    words: Callable[[LogEvent], str]
    facility: int
    program: str
    host: str

    def __call__(self, event: LogEvent) -> None:
        """Send one entry."""
        self.sender.send(self.message(event))

    def message(self, event: LogEvent) -> bytes:
        """An entry as a message; a text beyond ASCII is announced by a byte order mark."""
        priority = self.facility * 8 + _SEVERITIES[severity_of(event)]
        header = [
            f"<{priority}>1",
            isotime(moment_of(event)),
            _printable(self.host, _HOST_MOST),
            _printable(self.program, _PROGRAM_MOST),
            str(os.getpid()),
            _printable(name_of(event), _NAME_MOST),
            "-",
        ]
        words = self.words(event)
        text = words.encode("utf-8", "backslashreplace")
        return " ".join(header).encode("ascii") + b" " + (text if words.isascii() else _BOM + text)


def _printable(text: str, most: int) -> str:
    """A word of the header: printable ASCII without blanks, or ``-``."""
    return "".join(character for character in text if "!" <= character <= "~")[:most] or "-"


def cut(message: bytes, most: int = DATAGRAM_MOST) -> bytes:
    """A message of a length that fits, cut between two characters."""
    return message if len(message) <= most else message[:most].decode("utf-8", "ignore").encode()


def _queue(waiting: Waiting[bytes], message: bytes, trouble: AppenderTrouble) -> None:
    if not waiting.put(message):
        trouble.failed(Cause.LOG_OVERFLOW, "messages are made faster than they are taken")


class DatagramSender:
    """Sends messages over UDP.

    :param host: an address, not a name.
    """

    def __init__(self, host: str, port: int, trouble: AppenderTrouble) -> None:
        self._host, self._port = host, port
        self._trouble = trouble
        self._queue: Waiting[bytes] = Waiting()
        self._reactor: Any = None
        self._protocol: _Datagrams | None = None
        self._port_open: Any = None
        self._refused = 0.0

    def start(self, reactor: Any) -> None:
        """Open a socket of any port; where there is no way to the receiver yet, messages wait until there is."""
        self._reactor = reactor
        self._open()

    def _open(self) -> None:
        protocol = _Datagrams(self._host, self._port, self._was_refused)
        try:
            port = self._reactor.listenUDP(0, protocol, interface="::" if ":" in self._host else "")
        except CannotListenError as error:
            self._failed(str(error), 0)
            return
        if protocol.fault is not None:
            port.stopListening()
            self._failed(_words(protocol.fault), 0)
            return
        self._protocol, self._port_open = protocol, port
        for message in self._queue.take(len(self._queue)):
            self._write(message)

    def _failed(self, words: str, lines: int) -> None:
        self._refused = self._reactor.seconds()
        self._trouble.failed(Cause.LOG_RECEIVER, words, lines)

    def stop(self) -> Deferred[None]:
        """Close the socket."""
        self._protocol, port, self._port_open, self._reactor = None, self._port_open, None, None
        return succeed(None) if port is None else maybeDeferred(port.stopListening)

    def send(self, message: bytes) -> None:
        """Send a datagram."""
        if self._protocol is not None:
            self._write(message)
            return
        _queue(self._queue, message, self._trouble)
        if self._reactor is not None and self._reactor.seconds() - self._refused > REFUSED_SECONDS:
            self._open()

    def _write(self, message: bytes) -> None:
        assert self._protocol is not None
        if self._trouble.cause is not None and self._reactor.seconds() - self._refused > REFUSED_SECONDS:
            self._trouble.over()
        try:
            self._protocol.send(cut(message))
        except OSError as error:
            self._failed(_words(error), 1)

    def _was_refused(self) -> None:
        self._failed("nothing listens there", 1)


def _words(error: OSError) -> str:
    return error.strerror or type(error).__name__


class _Datagrams(DatagramProtocol):
    """The socket of one receiver.

    :ivar fault: why the system cannot send to it.
    """

    def __init__(self, host: str, port: int, refused: Callable[[], None]) -> None:
        self._receiver = (host, port)
        self._refused = refused
        self.fault: OSError | None = None
        self.send: Callable[[bytes], object]

    def startProtocol(self) -> None:
        """Send to one receiver only, whose absence the system then tells; it may have no way to it now."""
        transport: Any = self.transport
        try:
            transport.connect(*self._receiver)
        except OSError as error:
            self.fault = error
        self.send = transport.write

    def connectionRefused(self) -> None:
        """Nobody listens."""
        self._refused()


class StreamSender:
    """Sends messages over TCP or TLS, and connects again when the connection is lost.

    :param endpoint: makes what is dialled, from the reactor.
    """

    def __init__(self, endpoint: Callable[[Any], IStreamClientEndpoint], trouble: AppenderTrouble) -> None:
        self._endpoint = endpoint
        self._trouble = trouble
        self._queue: Waiting[bytes] = Waiting()
        self._service: ClientService | None = None
        self._reactor: Any = None
        self._standing: IDelayedCall | None = None
        self._connection: _Connection | None = None

    def start(self, reactor: Any) -> None:
        """Dial."""
        self._reactor = reactor
        self._service = ClientService(
            self._endpoint(reactor),
            Factory.forProtocol(lambda: _Connection(self._connected, self._lost, self._pump)),
            retryPolicy=backoffPolicy(initialDelay=1.0, maxDelay=RETRY_SECONDS_MOST),
            clock=reactor,
        )
        self._service.startService()
        self._service.whenConnected(failAfterFailures=1).addErrback(self._unreachable)

    def stop(self) -> Deferred[None]:
        """Hand what waits to the connection, if there is one, and close it."""
        service, self._service = self._service, None
        if self._connection is not None:
            self._connection.drain(self._queue)
        return succeed(None) if service is None else maybeDeferred(service.stopService)

    def send(self, message: bytes) -> None:
        """Send a message, or queue it."""
        _queue(self._queue, message, self._trouble)
        self._pump()

    def _unreachable(self, failure: Failure) -> None:
        if self._service is not None:
            self._trouble.failed(Cause.LOG_RECEIVER, failure.getErrorMessage() or type(failure.value).__name__, 0)

    def _connected(self, connection: "_Connection") -> None:
        self._connection = connection
        self._standing = self._reactor.callLater(STANDING_SECONDS, self._stands)
        self._pump()

    def _stands(self) -> None:
        self._standing = None
        self._trouble.over()

    def _lost(self, reason: Failure) -> None:
        self._connection = None
        if self._standing is not None:
            self._standing.cancel()
            self._standing = None
        if self._service is not None:
            self._trouble.failed(Cause.LOG_RECEIVER, reason.getErrorMessage(), 0)

    def _pump(self) -> None:
        while self._queue and self._connection is not None and self._connection.ready:
            self._connection.send(*self._queue.take(1))
        if self._trouble.cause is Cause.LOG_OVERFLOW and self._connection is not None and not self._queue:
            self._trouble.over()


@implementer(IPushProducer)
class _Connection(StreamProtocol):
    """One connection; says when its buffer is full."""

    def __init__(
        self,
        connected: Callable[["_Connection"], None],
        lost: Callable[[Failure], None],
        drained: Callable[[], None],
    ) -> None:
        self._connected = connected
        self._lost = lost
        self._drained = drained
        self.ready = True

    def connectionMade(self) -> None:
        """Be told when the connection is full."""
        self._out.registerProducer(self, True)
        self._connected(self)

    @property
    def _out(self) -> Any:
        return self.transport

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        self._lost(reason)

    def send(self, message: bytes) -> None:
        """Send a message with its length in front."""
        self._out.write(b"%d %s" % (len(message), message))

    def drain(self, queue: Waiting[bytes]) -> None:
        """Take all that waits, full or not, and be ready to be closed."""
        for message in queue.take(len(queue)):
            self.send(message)
        # A connection is not closed as long as it has a producer.
        self._out.unregisterProducer()

    def pauseProducing(self) -> None:
        """The connection is full."""
        self.ready = False

    def resumeProducing(self) -> None:
        """It takes more."""
        self.ready = True
        self._drained()

    def stopProducing(self) -> None:
        """It is gone; connectionLost follows."""
        self.ready = False
