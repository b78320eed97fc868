"""The control socket of a daemon.

Duty: be there with mode 0600 while the daemon runs, remove what a dead daemon left, and let in nobody but the daemon's
own user and root, whom the kernel names (SO_PEERCRED). Requests are bounded in length, connections in number, and a
caller that does not read its answers is not read from. A socket that cannot be opened is an event and hinders nothing.
"""

import contextlib
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import ServerFactory
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from smartproxy.ctl.daemon import Actions
from smartproxy.ctl.protocol import (
    IDLE_SECONDS,
    REQUEST_OCTETS_MOST,
    NoRequest,
    Refused,
    done,
    named,
    read_request,
    refused,
)
from smartproxy.net.deadline import Deadline
from smartproxy.policy.causes import Cause

CALLERS_MOST = 16
CLOSING_SECONDS = 5
"""From a connection's refusal to its abort: a caller that does not read could keep it for ever."""
_CREDENTIALS = struct.Struct("3i")


class OperatorConnection(LineReceiver):
    """One connection; paused by its transport while answers wait to be read."""

    delimiter = b"\n"
    MAX_LENGTH = REQUEST_OCTETS_MOST

    def __init__(self, factory: "OperatorFactory") -> None:
        self._factory = factory
        self._user = -1
        self._answering = False
        self._full = False
        self._idle = Deadline(factory.reactor, self._abort)

    def connectionMade(self) -> None:
        """Look who it is."""
        self._factory.open.add(self)
        transport: Any = self.transport
        process, self._user = peer_of(transport.getHandle())
        if self._user not in (0, os.geteuid()):
            self._factory.actions.events.emit(
                "ctl.refused",
                cause=Cause.CTL_USER,
                message=f"process {process} of user {self._user} asked; only root and the daemon's own user may",
            )
            transport.abortConnection()
        elif len(self._factory.present) >= CALLERS_MOST:
            self._end(f"{CALLERS_MOST} connections are open already")
        else:
            self._factory.present.add(self)
            transport.registerProducer(self, True)
            self._idle.start(IDLE_SECONDS)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Forget it."""
        self._idle.stop()
        self._factory.open.discard(self)
        self._factory.present.discard(self)

    def lineReceived(self, line: bytes) -> None:
        """Answer a request."""
        if self not in self._factory.present:
            return
        self._idle.start(IDLE_SECONDS)
        self._answering = True
        Deferred.fromCoroutine(self._answer(line))
        self._read_or_wait()

    async def _answer(self, line: bytes) -> None:
        actions = self._factory.actions
        try:
            request = read_request(line)
            answer = done(request, await actions.answer(request, self._user))
        except Refused as refusal:
            answer = refused(str(refusal), unknown=isinstance(refusal, NoRequest))
        except Exception:
            actions.events.failure("smartproxy.ctl.listener", Failure())
            answer = refused("a bug of the daemon; its log has it")
        self._answering = False
        if self in self._factory.present:
            transport: Any = self.transport
            transport.write(answer)
            self._read_or_wait()

    def pauseProducing(self) -> None:
        """Stop reading: the caller does not take its answers."""
        self._full = True
        self._read_or_wait()

    def resumeProducing(self) -> None:
        """Read on."""
        self._full = False
        self._read_or_wait()

    def _read_or_wait(self) -> None:
        """Read one request after the other: what comes behind one that is not answered yet waits unread."""
        wanted = self._answering or self._full
        if wanted and not self.paused:
            LineReceiver.pauseProducing(self)
        elif self.paused and not wanted:
            LineReceiver.resumeProducing(self)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line without an end."""
        self._factory.present.discard(self)
        transport: Any = self.transport
        transport.unregisterProducer()
        self._end(f"a request has at most {REQUEST_OCTETS_MOST} octets")

    def _abort(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def _end(self, why: str) -> None:
        transport: Any = self.transport
        transport.write(refused(why))
        transport.loseConnection()
        self._idle.start(CLOSING_SECONDS)


class OperatorFactory(ServerFactory):
    """Makes what a connection is spoken with.

    :ivar present: the connections that were let in.
    :ivar open: all connections, those that are refused and not yet closed included.
    """

    noisy = False

    def __init__(self, reactor: Any, actions: Actions) -> None:
        self.reactor = reactor
        self.actions = actions
        self.present: set[OperatorConnection] = set()
        self.open: set[OperatorConnection] = set()

    def buildProtocol(self, address: IAddress | None) -> OperatorConnection:
        """Make one."""
        return OperatorConnection(self)


def peer_of(handle: socket.socket) -> tuple[int, int]:
    """Process and user at the other end of a UNIX socket, as the kernel noted them when it was connected."""
    octets = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(octets)
    return process, user


class ControlSocket:
    """The socket of one daemon.

    :param reactor: listens.
    :param path: where it is.
    :param actions: what callers can have done.
    """

    def __init__(self, reactor: Any, path: Path, actions: Actions) -> None:
        self.path = path
        self._reactor = reactor
        self._actions = actions
        self._factory = OperatorFactory(reactor, actions)
        self._port: IListeningPort | None = None
        self._name = contextlib.ExitStack()

    def open(self, *, instead: bool = False) -> None:
        """Be there from now on, or tell why not.

        :param instead: take the place of the socket of the process that this one takes over from.
        """
        try:
            name = self._name.enter_context(named(self.path))
            bound = f"{name}~" if instead else name
            make_way(bound)
            # Bound without rights for others, so that there is no moment in which somebody else could connect.
            before = os.umask(0o177)
            try:
                self._port = port = self._reactor.listenUNIX(bound, self._factory, mode=0o600)
            finally:
                os.umask(before)
            if instead:
                os.rename(bound, name)
                port._bindPath = os.fsencode(name)
        except (OSError, CannotListenError) as error:
            refused = error.socketError if isinstance(error, CannotListenError) else error
            self._name.close()
            self._actions.events.emit(
                "ctl.failed",
                path=str(self.path),
                cause=Cause.CTL_SOCKET,
                message=getattr(refused, "strerror", None) or str(refused),
                advice="choose another place with --ctl-socket; the daemon runs, but `smartproxy ctl` cannot reach it",
            )

    async def close(self, *, succeeded: bool = False) -> None:
        """Close the socket, and end all connections.

        :param succeeded: whether the name is another process's by now, and has to stay.
        """
        port: Any
        port, self._port = self._port, None
        if port is not None and succeeded:
            port.stopReading()
        elif port is not None:
            await maybeDeferred(port.stopListening)
        for caller in list(self._factory.open):
            transport: Any = caller.transport
            transport.abortConnection()
        self._name.close()


def make_way(name: str) -> None:
    """Remove a socket that nobody listens on any more.

    :raises OSError: when somebody listens, or something else than a socket has the name.
    """
    try:
        kind = os.lstat(name).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise FileExistsError(0, "there is a file of this name that is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            os.unlink(name)
            return
        except BlockingIOError:
            pass
    raise FileExistsError(0, "another daemon listens there")
