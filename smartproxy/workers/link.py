"""The link between a supervisor and one worker: questions and answers under a table, with descriptors.

Duty: what :class:`~smartproxy.tunnel.control.BoundedAMP` does between two daemons, between two processes of one: a
question may carry a descriptor, silence is found within a known time at both ends, and whatever breaks a rule ends the
worker. Each packet is one box. Trusts the pair of sockets to lead to the other process.
"""

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.protocols import amp

from smartproxy.logs.emit import Events
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import Draining, OwnFault
from smartproxy.tunnel.control import Answer, BoundedAMP, Directions, Responder
from smartproxy.tunnel.faults import Closing, Violation
from smartproxy.tunnel.heartbeat import Heartbeat
from smartproxy.tunnel.vocabulary import Ping, TunnelCommand
from smartproxy.workers.packets import Closeable, Packets
from smartproxy.workers.words import Post, Start, by_name, directions

QUESTIONS_MOST = 1024
"""Questions of either end that may be unanswered: openings of sessions wait for stations."""
SILENCE_SECONDS = 10.0
"""Without a sign of life for so long, the other process hangs."""
STOPPED = Closing(Cause.DAEMON_STOPPING, "the daemon is stopping")


class _Carrying(amp.AmpBox):
    """A box with which a descriptor travels."""

    def __init__(self, descriptor: Closeable, values: Mapping[bytes, bytes]) -> None:
        super().__init__(values)  # type: ignore[no-untyped-call]  # Twisted has no types here
        self.descriptor = descriptor


class Link(BoundedAMP):
    """One end; a daemon's own class has its table.

    :param post: which end.
    :param down: told once that the link is over, and why.
    :param silence: seconds without a sign of life after which the other process counts as hanging.
    :ivar answers: what answers the other end's questions; set before the first comes.
    :ivar violation: the rule that the other end broke, if that ended the link.
    """

    allowed: ClassVar[Directions] = directions()
    commands: ClassVar[Mapping[bytes, type[TunnelCommand]]] = by_name(allowed)
    questions_most = QUESTIONS_MOST
    tells = True
    place = "smartproxy.workers"

    transport: Packets  # type: ignore[assignment]  # a link runs on packets, and on nothing else

    def __init__(
        self,
        post: Post,
        clock: IReactorTime,
        events: Events,
        down: Callable[[Closing], None],
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self._silence = silence
        super().__init__(post, "", clock, events)
        self.violation: Violation | None = None
        self.answers: Mapping[type[TunnelCommand], Responder] = {}
        self._down_told = down
        self._descriptor: int | None = None

    def __init_subclass__(cls) -> None:
        cls.commands = by_name(cls.allowed)

    # Asking.

    def hand_over(
        self, command: type[TunnelCommand], descriptor: Closeable, *, seconds: float | None = None, **arguments: object
    ) -> Deferred[Answer]:
        """Ask a question that a descriptor belongs to; as :meth:`ask` otherwise. The descriptor is closed here."""
        fault = self.not_now(command)
        if fault is not None:
            descriptor.close()
            return fail(fault)
        box = _Carrying(descriptor, command.makeArguments(arguments, self))
        answer = self.ask_box(command, box, self._silence if seconds is None else seconds)
        return answer.addBoth(_closed, descriptor)

    def tell(self, command: type[TunnelCommand], **arguments: object) -> None:
        """Say what nobody answers; nothing happens where it cannot be said. That the link is lost is told elsewhere."""
        if self.not_now(command) is None:
            with suppress(ValueError):
                self.send_box(self._untagged(command, arguments))

    @staticmethod
    def _untagged(command: type[TunnelCommand], arguments: Mapping[str, object]) -> amp.AmpBox:
        box = command.makeArguments(arguments, None)
        box[amp.COMMAND] = command.commandName
        return box

    @classmethod
    def lesson(cls, command: type[TunnelCommand], **arguments: object) -> bytes:
        """A word as a packet that nobody answers, for :meth:`learn`."""
        packet: bytes = cls._untagged(command, arguments).serialize()
        return packet

    def send_box(self, box: amp.AmpBox) -> None:
        """Send one box, and the descriptor that belongs to it."""
        if self.transport is not None:
            self.transport.send(box.serialize(), box.descriptor if isinstance(box, _Carrying) else None)

    def ping(self) -> Deferred[bool]:
        """Whether the other process answers in time; never fails."""
        # With the wait between two pings, silence is found within its time.
        answer = self.ask(Ping, seconds=self._silence * 3 / 4)
        return answer.addCallbacks(lambda _: True, lambda failure: False)

    def heartbeat(self) -> Heartbeat:
        """What finds out that the other process hangs."""
        return Heartbeat(self._clock, self.ping, self._silent, self._silence / 4, 1)

    # Answering.

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """What answers the other end."""
        return self.answers

    def descriptor_received(self, descriptor: int | None) -> None:
        """This descriptor comes with the next packet; the one before is closed unless it was taken."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = descriptor

    def take_descriptor(self) -> int:
        """The descriptor that came with the question that is being answered; call it before the responder waits.

        :raises ValueError: if there is none.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            raise ValueError("no descriptor came with the question")
        return descriptor

    def take_socket(self) -> socket.socket:
        """The same, as a connected socket."""
        return socket.socket(fileno=self.take_descriptor())

    def learn(self, packet: bytes, descriptor: int | None) -> None:
        """Do what the supervisor tells all workers that are made from now on, before this is one; nothing is answered.

        :param descriptor: what comes with it.
        """
        (box,) = amp.parseString(packet)
        command = self.commands[box[amp.COMMAND]]
        self.descriptor_received(descriptor)
        self.answers[command](**command.parseArguments(box, self))
        self.descriptor_received(None)

    def answered(self, command: type[TunnelCommand]) -> None:
        """After its first word was answered, the worker is asked, and asks."""
        if command is Start:
            self.made_ready()

    # The connection.

    def violated(self, violation: Violation) -> None:
        """The other end broke a rule: the link is over at once."""
        self.violation = violation
        self.abort(violation.closing)

    def tunnel_lost(self, why: Closing) -> None:
        """The link is over."""
        self.descriptor_received(None)
        self._down_told(why)

    def gone(self) -> OwnFault:
        """The fault of whatever needs the other process: that has died, unless it was ended with the daemon."""
        if self.lost is not None and self.lost.cause == Cause.DAEMON_STOPPING:
            return Draining(rule=self.lost.cause, message=self.lost.message)
        return OwnFault(rule=Cause.WORKER_LOST, message=Cause.WORKER_LOST.meaning)

    def _silent(self) -> None:
        self.abort(Closing(Cause.WORKER_HANGS, Cause.WORKER_HANGS.meaning))


def _closed(result: Any, descriptor: Closeable) -> Any:
    descriptor.close()
    return result
