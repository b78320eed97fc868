"""How a worker's process is made: by a zygote, which the supervisor forks before its reactor runs.

Duty: keep one process that has imported everything, has one thread and runs no reactor, and have it fork a worker for
each request; tell the supervisor which process that is, and how it ended. It holds one worker that is not born yet, and
teaches it what all workers have to know, such as the configuration: a worker is born with that, and shares its memory.
Every worker is the zygote's child, which reaps it: there are no zombies, and a number is only ever killed while its
process is not reaped. The zygote dies with the supervisor, and workers die with the zygote, by the kernel's hand,
whatever ends them.

Forking from a zygote takes some milliseconds, and a worker shares with it the memory of all that was imported; a
program that is started anew takes the processor half a second, and has that memory to itself
(``docs/performance.rst``). Trusts the supervisor; nothing of a peer ever comes to the zygote.
"""

import codecs
import contextlib
import errno
import gc
import os
import random
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

import attrs
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import CONNECTION_DONE, installReactor
from twisted.python.failure import Failure
from typing_extensions import override

from smartproxy.logs.emit import describe
from smartproxy.policy.callbacks import nothing
from smartproxy.workers.confinement import confine, follow_parent, name_process, overwrite, words_of_start
from smartproxy.workers.packets import PACKET_OCTETS_MOST, Closeable, PacketReceiver, Packets, pair

_PACKET: Final = struct.Struct("!cIi")
_SPAWN, _KILL, _LESSON, _BORN, _ENDED, _UNREHEARSED = b"S", b"K", b"L", b"B", b"E", b"U"
_STANDARD_MOST: Final = 2
_TOLD_MOST: Final = 300
NO_MEMORY: Final = errno.ENOMEM
"""The status with which a worker ends that gets no more memory."""
NOT_MADE: Final = errno.EAGAIN
"""The status that is told of a worker for which the system had no process, or no descriptor."""
_LEFT: Final[list[object]] = []
"""What a process inherits and does not use: it has closed their descriptors, and nobody may do that again."""


@attrs.frozen(kw_only=True)
class Unborn:
    """A worker as all workers begin: what the zygote holds, and forks.

    :ivar learn: does what a word of the supervisor to all workers wants; the descriptor is the worker's.
    :ivar live: is a worker, in a process of its own, with its end of the link; returns when it is over.
    """

    learn: Callable[[bytes, int | None], object]
    live: Callable[[socket.socket], object]


Work = Callable[[Any], Unborn]
"""Makes a worker, given a reactor that does not run yet."""


class Zygote(PacketReceiver):
    """The zygote, as its supervisor knows it.

    :param work: makes the worker that all are forked from.
    :param title: the name of the workers' processes.
    :param secrets: texts that no worker is to have; they are overwritten in the zygote before anything else.
    :param rehearse: has a worker's life played, given a reactor for it, before there is a worker; see
        :mod:`smartproxy.workers.scene`. What it raises is told, and keeps nobody from being a worker.
    :ivar pid: the zygote's process, once there is one.
    """

    def __init__(
        self, work: Work, title: str, secrets: Sequence[str] = (), rehearse: Callable[[Any], object] | None = None
    ) -> None:
        self.pid = 0
        self._rehearse = rehearse
        self._secrets = secrets
        self._work = work
        self._title = title
        self._end: socket.socket | None = None
        self._packets: Packets | None = None
        self._born: Callable[[int, int], object] = nothing
        self._ended: Callable[[int, int], object] = nothing
        self._lost: Callable[[], object] = nothing
        self._unrehearsed: Callable[[str], object] = nothing

    def fork(self) -> None:
        """Make the zygote; before the process has a second thread, and before its reactor runs."""
        ours, theirs = pair()
        gc.collect()
        supervisor = os.getpid()
        self.pid = os.fork()
        if not self.pid:
            for secret in self._secrets:
                overwrite(secret)
            _child(lambda: _Zygote(theirs, self._work, self._title, supervisor).run(self._rehearse))
        theirs.close()
        self._end = ours

    def attach(
        self,
        reactor: Any,
        born: Callable[[int, int], object],
        ended: Callable[[int, int], object],
        lost: Callable[[], object],
        unrehearsed: Callable[[str], object],
    ) -> None:
        """Listen to the zygote.

        :param born: told the number of a worker, and its process.
        :param ended: told the number of a worker whose process is over, and its status as ``waitpid`` tells it.
        :param lost: told that the zygote is gone, and all workers with it.
        :param unrehearsed: told that no life of a worker could be played, and what was raised instead.
        """
        assert self._end is not None, "the zygote is forked before the reactor runs"
        self._born, self._ended, self._lost, self._unrehearsed = born, ended, lost, unrehearsed
        self._packets = Packets(reactor, self._end, self, takes=False)

    def spawn(self, number: int) -> socket.socket:
        """Have a worker made; its link's other end."""
        ours, theirs = pair()
        assert self._packets is not None
        self._packets.send(_PACKET.pack(_SPAWN, number, 0), theirs)
        return ours

    def teach(self, packet: bytes, descriptor: Closeable | None) -> None:
        """Have the workers know what a packet says that are made from now on; the descriptor is closed here."""
        assert self._packets is not None, "a zygote is taught while the reactor runs"
        self._packets.send(_LESSON + packet, descriptor)

    def kill(self, number: int) -> None:
        """Kill a worker, if it is still there."""
        if self._packets is not None:
            self._packets.write(_PACKET.pack(_KILL, number, 0))

    def stop(self) -> None:
        """End the zygote, and with it whatever workers there are."""
        self._born = self._ended = self._lost = self._unrehearsed = nothing
        if self._packets is not None:
            self._packets.abortConnection()
        elif self._end is not None:
            self._end.close()

    # PacketReceiver

    @override
    def makeConnection(self, transport: Any) -> None:
        """The connection is there before the zygote is attached."""

    @override
    def descriptor_received(self, descriptor: int | None) -> None:
        """Do nothing: the zygote sends no descriptor."""

    def dataReceived(self, data: bytes) -> None:
        """The zygote tells something."""
        if data.startswith(_UNREHEARSED):
            self._unrehearsed(data[len(_UNREHEARSED) :].decode("ascii", "replace"))
            return
        kind, number, value = _PACKET.unpack(data)
        (self._born if kind == _BORN else self._ended)(number, value)

    def connectionLost(self, reason: Failure) -> None:
        """The zygote is gone, or not wanted any more: reap it."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self._lost()


class _Zygote:
    """The zygote's own process."""

    def __init__(self, end: socket.socket, work: Work, title: str, supervisor: int) -> None:
        self._end = end
        self._work = work
        self._title = title
        self._supervisor = supervisor
        self._poll = select.poll()
        self._children: dict[int, tuple[int, int]] = {}

    def run(self, rehearse: Callable[[Any], object] | None) -> None:
        """Serve the supervisor until it is gone; the workers go with this process."""
        follow_parent(self._supervisor)
        _ignore_signals()
        name_process(f"{self._title} zygote")
        _nowhere()
        _keep_only(self._end.fileno())
        for codec in ("ascii", "idna"):
            # Python loads these with their first use, which would be in each worker.
            codecs.lookup(codec)
        if rehearse is not None:
            self._play(rehearse)
        # What a worker may not do, it may not from its birth.
        confine()
        words_of_start()
        gc.freeze()
        gc.disable()
        self._reactor = _fresh_reactor()
        self._unborn = self._work(self._reactor)
        self._poll.register(self._end, select.POLLIN)
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor != self._end.fileno():
                    self._reap(descriptor)
                elif not self._asked():
                    return

    def _play(self, rehearse: Callable[[Any], object]) -> None:
        reactor = _fresh_reactor()
        try:
            rehearse(reactor)
        except Exception as error:
            self._end.send(_UNREHEARSED + _told_of(error))
        # Nobody asks for this reactor again, and what it knows and has open is the play's.
        del sys.modules["twisted.internet.reactor"]
        reactor.waker.connectionLost(Failure(CONNECTION_DONE))
        vars(reactor).clear()
        gc.collect()

    def _asked(self) -> bool:
        """Do what the supervisor wants; whether it is still there."""
        packet, descriptors, _, _ = socket.recv_fds(self._end, PACKET_OCTETS_MOST, 1)
        if not packet:
            return False
        if packet.startswith(_LESSON):
            self._unborn.learn(packet[len(_LESSON) :], descriptors[0] if descriptors else None)
            # What the lesson replaced is not kept: there may be keys in it.
            gc.collect()
            return True
        kind, number, _ = _PACKET.unpack(packet)
        if kind == _SPAWN:
            if not descriptors or not self._spawn(number, descriptors[0]):
                # One worker less is no reason to end, and with this process all others: the supervisor tries again.
                self._end.send(_PACKET.pack(_ENDED, number, NOT_MADE << 8))
        else:
            for watched, child in self._children.items():
                if child[0] == number:
                    signal.pidfd_send_signal(watched, signal.SIGKILL)
        return True

    def _spawn(self, number: int, descriptor: int) -> bool:
        """Make a worker; whether the system let it. The descriptor is closed here, which ends a link without worker."""
        zygote = os.getpid()
        try:
            child = os.fork()
        except OSError:
            os.close(descriptor)
            return False
        if not child:
            _child(lambda: self._become_worker(descriptor, zygote))
        os.close(descriptor)
        try:
            watched = os.pidfd_open(child)
        except OSError:
            # Nothing would tell of its end.
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        self._children[watched] = number, child
        self._poll.register(watched, select.POLLIN)
        self._end.send(_PACKET.pack(_BORN, number, child))
        return True

    def _reap(self, watched: int) -> None:
        number, child = self._children.pop(watched)
        self._poll.unregister(watched)
        os.close(watched)
        _, status = os.waitpid(child, 0)
        self._end.send(_PACKET.pack(_ENDED, number, status))

    def _become_worker(self, descriptor: int, zygote: int) -> None:
        follow_parent(zygote)
        _keep_only(descriptor)
        name_process(self._title)
        random.seed()
        # Nothing that is shared with the zygote is ever looked at again for garbage: looking would copy it.
        gc.freeze()
        gc.enable()
        _revive(self._reactor)
        self._unborn.live(socket.socket(fileno=descriptor))


def _child(run: Callable[[], object]) -> NoReturn:
    """Run in a process that was forked, and end it: it never returns to what its parent was doing."""
    try:
        run()
    except MemoryError:
        os._exit(NO_MEMORY)
    except BaseException:
        # Nobody reads a traceback: the supervisor tells the status.
        os._exit(1)
    os._exit(0)


def _told_of(error: Exception) -> bytes:
    """What is told of an exception: which it is, and where it was raised."""
    told = describe(Failure(error))
    return f"{told.exception} in {told.frames.partition(' < ')[0]}".encode("ascii", "replace")[:_TOLD_MOST]


def _nowhere() -> None:
    """Have the standard files lead nowhere."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(_STANDARD_MOST + 1):
        os.dup2(null, standard)


def _keep_only(descriptor: int) -> None:
    """Close whatever was inherited but one descriptor, and the standard files."""
    os.closerange(_STANDARD_MOST + 1, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))


def _ignore_signals() -> None:
    """End by the supervisor alone: a terminal and a service manager signal all processes of a daemon at once."""
    for number in (
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGXCPU,
    ):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)


def _fresh_reactor() -> EPollReactor:
    """A reactor for workers: the inherited one has lost its descriptors."""
    _LEFT.append(sys.modules.pop("twisted.internet.reactor", None))
    reactor = EPollReactor()
    installReactor(reactor)
    return reactor


def _revive(reactor: EPollReactor) -> None:
    """Give the zygote's reactor, which never ran, descriptors of this process; what it was asked for before is kept."""
    _LEFT.extend((reactor._poller, reactor.waker))
    calls, new = reactor._pendingTimedCalls, reactor._newTimedCalls
    EPollReactor.__init__(reactor)
    reactor._pendingTimedCalls, reactor._newTimedCalls = calls, new
