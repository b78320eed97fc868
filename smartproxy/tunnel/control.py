"""The control connection: questions and answers between server and client, under rules.

Duty: AMP's own boxes, commands and errors, with what a security boundary needs beside them. Both sides may ask only
what the direction table (:mod:`smartproxy.tunnel.vocabulary`) allows in this phase; boxes, questions and unread answers
are bounded; every question has a deadline; an answer to nothing, a malformed value, a forbidden command, or anything
else that our own daemons never send, ends the tunnel with a CRITICAL event. A bug in a responder is answered, reported,
and ends nothing; what went wrong is never told to the peer unless the command says so. There is no StartTLS and no
other way to change the transport. Trusts the transport to have proved the peer's identity.

How it works. The client dials, both ends prove themselves in TLS 1.3, and each connection goes through three phases.
*Before Hello* the client may say Hello and nothing else, and has 15 seconds for it; the server may ask nothing. With
the answer both ends are *ready*: each may ask what its column of the table names, at any time and without waiting for
other answers. Drain, asked by the client, makes both ends *draining*: sessions that run end, none begins. There is no
way back; a connection that is lost is dialled again and begins with Hello. A session, C for the client, S for the
server, P for the partner, with what else moves in brackets::

    C: Hello version=1.0 oldest=3 newest=3
    S:   version=1.0 oldest=3 newest=3 generation=0
    C: Configure generation=7 store=... number=0 size=40000 digest=... chunk=...
    S:   state=more held=0 store=...
    C: Configure generation=7 store=... number=1 size=40000 digest=... chunk=...
    S:   state=accepted held=7 store=...
       [P connects, proves its identity, sends its SSID]
    S: OpenInbound session=a1 ticket=... deadline=20 peer=... partner=ACME profile=default code=... level=5
       [C takes a data connection, sends ATTACH with the ticket, calls the station]
    C:   (an empty answer: the station has greeted), or the error OPENING_FAILED fault=... rule=... [step=... cause=...]
    C: OpenOutbound session=b2 partner=ACME deadline=20 way=port caller=...
       [S calls the partner]
    S:   ticket=..., or OPENING_FAILED
       [C takes a data connection, sends ATTACH with the ticket]
    C: Drain
    S:   (an empty answer)

Each question carries a tag of its own (``_ask``), each answer (``_answer``) or error (``_error``) the tag of its
question; answers may come in any order. The asker waits no longer than the question's deadline, but the question keeps
its place among the 64 that may be unanswered until its answer comes: a late one is no violation. Meanwhile each end
pings every ten seconds; a ping that is not answered in time is followed by the next at once, and three in a row mean
silence. That takes 25 seconds at the longest, whatever TCP believes. When the control connection ends for whatever
reason, everything that belongs to it ends: questions, tickets, data connections, and with them their sessions.
"""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, TypeAlias
from typing import Protocol as Shape

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.logs.render import escape
from smartproxy.net.deadline import Deadline
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault, TunnelLost
from smartproxy.tunnel.boxes import BoundedBoxes, IStream, PrintableText
from smartproxy.tunnel.contexts import closing_of
from smartproxy.tunnel.faults import Closing, NotNow, QuestionExpired, QuestionFailed, TunnelFault, Violation
from smartproxy.tunnel.heartbeat import Heartbeat
from smartproxy.tunnel.vocabulary import ALLOWED, COMMANDS, Ping, TunnelCommand, TunnelPhase

Answer: TypeAlias = dict[str, Any]
Responder: TypeAlias = Callable[..., Answer | Deferred[Answer] | None]
Directions: TypeAlias = Mapping[tuple[Any, TunnelPhase], frozenset[type[TunnelCommand]]]

_TAG_OCTETS_MOST = 16
_TOLD_MOST = 500
_TOLD = PrintableText(_TOLD_MOST)
"""The sentence of an error, which may reach whoever waits for a session."""


class AskingSide(Shape):
    """One of the two ends of a control connection: a member of an enumeration of both."""

    @property
    def value(self) -> Any:
        """What it is called in events."""

    @property
    def other(self) -> "AskingSide":
        """The opposite end."""


@attrs.define(eq=False)
class _Question:
    """One question of ours; without a Deferred once its answer is not waited for."""

    command: type[TunnelCommand]
    box: amp.AmpBox
    answer: Deferred[Answer] | None
    expiry: IDelayedCall | None = None
    tag: bytes | None = None


@implementer(IPushProducer)
class BoundedAMP(BoundedBoxes):
    """One end of a control connection.

    :param side: which end.
    :param clock: ``callLater``'s owner.
    :param events: where everything is told.
    :ivar asking: the phase that our own questions are judged by.
    :ivar answering: the phase that the peer's questions are judged by.
    :ivar peer: the far end's address, as text for logs.
    :ivar version: the version of the peer's program; empty before Hello.
    :ivar since: when it came up, in the clock's seconds; 0 before Hello.
    :ivar lost: why the tunnel is down, ``None`` while it is not.
    :cvar allowed: which commands a side may ask in which phase; absent means forbidden.
    :cvar commands: every command of the table by its name on the wire.
    :cvar questions_most: the questions of each side that may be unanswered.
    :cvar tells: whether a question may come without a tag, and is not answered then.
    :cvar place: where a bug in a responder is said to be.
    """

    allowed: ClassVar[Directions] = ALLOWED
    commands: ClassVar[Mapping[bytes, type[TunnelCommand]]] = COMMANDS
    questions_most: ClassVar[int] = limits.QUESTIONS_MOST
    tells: ClassVar[bool] = False
    place: ClassVar[str] = "smartproxy.tunnel"

    def __init__(self, side: AskingSide, peer: str, clock: IReactorTime, events: Events) -> None:
        super().__init__()
        self.asking = TunnelPhase.BEFORE_HELLO
        self.answering = TunnelPhase.BEFORE_HELLO
        self.lost: Closing | None = None
        self.peer = peer
        self.version = ""
        self.since = now(clock)
        self._side = side
        self._clock = clock
        self._events = events
        self._tags = 0
        self._asked: dict[bytes, _Question] = {}
        self._waiting: deque[_Question] = deque()
        self._responding: dict[bytes, Deferred[amp.AmpBox]] = {}
        self._unread: int | None = None
        self._abort = Deadline(clock, self._abort_now)
        self._heartbeat = self.heartbeat()

    # For subclasses.

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """What answers each command that the peer may ask: called with its arguments, returns its answer or a Deferred.

        Every exception that is not one of the command's own errors is a bug.
        """
        raise NotImplementedError

    def heartbeat(self) -> Heartbeat:
        """What finds out that the other end is silent."""
        return Heartbeat(self._clock, self.ping, self._silent)

    def made_ready(self) -> None:
        """Hello was answered: both ends may ask what the table names, and this one pings."""
        self.asking = self.answering = TunnelPhase.READY
        self.since = now(self._clock)
        self._heartbeat.start()

    def answered(self, command: type[TunnelCommand]) -> None:
        """A question of the peer was answered well, and the answer is on its way."""

    def told_with_ping(self) -> Mapping[str, object]:
        """What a ping of ours says beside that we are there."""
        return {}

    def tunnel_lost(self, why: Closing) -> None:
        """The tunnel is down, once; every question of ours has failed by now."""

    # Asking.

    def ask(
        self, command: type[TunnelCommand], *, seconds: float = limits.QUESTION_SECONDS, **arguments: object
    ) -> Deferred[Answer]:
        """Ask the other daemon.

        Fires with the answer. Fails with the command's own errors, :class:`QuestionFailed`,
        :class:`QuestionExpired` after *seconds*, :class:`NotNow`, or :class:`smartproxy.policy.faults.TunnelLost`.
        May be cancelled.
        """
        fault = self.not_now(command)
        if fault is not None:
            return fail(fault)
        try:
            box = command.makeArguments(arguments, self)
        except ValueError:
            return fail()
        return self.ask_box(command, box, seconds)

    def not_now(self, command: type[TunnelCommand]) -> Exception | None:
        """Why a question cannot be asked now, if it cannot."""
        if self.lost is not None:
            return self.gone()
        if command not in self.allowed[self._side, self.asking]:
            return NotNow(f"{command.__name__} may not be asked by the {self._side.value} while {self.asking.value}")
        # A ping waits for no place: whether the peer is there is no matter of how much it is asked.
        if command is not Ping and len(self._waiting) >= limits.QUESTIONS_WAITING_MOST:
            return QuestionFailed(f"{len(self._waiting)} questions are waiting already")
        return None

    def ask_box(self, command: type[TunnelCommand], box: amp.AmpBox, seconds: float) -> Deferred[Answer]:
        """Ask a question that may be asked now, and whose values are in its box."""
        question = _Question(command, box, Deferred(self._nobody_waits))
        assert question.answer is not None
        question.expiry = self._clock.callLater(seconds, self._expire, question, seconds)
        answer = question.answer
        # The last place is always the heartbeat's.
        if command is Ping or len(self._asked) < self.questions_most - 1:
            self._send(question)
        else:
            self._waiting.append(question)
        return answer

    def ping(self) -> Deferred[bool]:
        """Whether the peer answers in time; never fails."""
        asked = self.ask(Ping, seconds=limits.PING_ANSWER_SECONDS, **self.told_with_ping())
        return asked.addCallbacks(lambda _: True, lambda failure: False)

    def _send(self, question: _Question) -> None:
        self._tags += 1
        question.tag = b"%x" % self._tags
        self._asked[question.tag] = question
        question.box[amp.COMMAND] = question.command.commandName
        question.box[amp.ASK] = question.tag
        self.send_box(question.box)

    def _expire(self, question: _Question, seconds: float) -> None:
        question.expiry = None
        answer = self._let_go(question)
        answer.errback(QuestionExpired(f"{question.command.__name__} was not answered within {seconds:g} s"))

    def _nobody_waits(self, answer: Deferred[Answer]) -> None:
        for question in (*self._asked.values(), *self._waiting):
            if question.answer is answer:
                self._let_go(question)
                return

    def _let_go(self, question: _Question) -> Deferred[Answer]:
        """Stop waiting; a question that was sent keeps its place until its answer comes."""
        if question.expiry is not None:
            question.expiry.cancel()
            question.expiry = None
        if question.tag is None and question in self._waiting:
            self._waiting.remove(question)
        answer, question.answer = question.answer, None
        assert answer is not None, "a question is let go once"
        return answer

    def _next_question(self) -> None:
        while self._waiting and len(self._asked) < self.questions_most - 1:
            self._send(self._waiting.popleft())

    # Receiving.

    def box_arrived(self, box: dict[bytes, bytes]) -> None:
        """Judge one box of the peer, and act on it."""
        if amp.ANSWER in box:
            question = self._question(box[amp.ANSWER])
            try:
                answer: Answer = question.command.parseResponse(box, self)
            except Exception as error:
                raise self._malformed(question.command, error) from error
            self._settle(question, lambda deferred: deferred.callback(answer))
        elif amp.ERROR in box:
            question = self._question(box[amp.ERROR])
            fault = self._fault(question.command, box)
            self._settle(question, lambda deferred: deferred.errback(fault))
        elif amp.COMMAND in box:
            self._asked_by_peer(box)
        else:
            raise Violation(Cause.BOX_KIND, "a box is neither a question nor an answer")

    def _question(self, tag: bytes) -> _Question:
        question = self._asked.pop(tag, None)
        if question is None:
            raise Violation(Cause.ANSWER_UNKNOWN, "an answer to a question that was not asked")
        return question

    def _settle(self, question: _Question, settle: Callable[[Deferred[Answer]], None]) -> None:
        # First: what the answer leads to may ask, too, and goes behind those that wait already.
        self._next_question()
        if question.answer is not None:
            settle(self._let_go(question))

    def _fault(self, command: type[TunnelCommand], box: dict[bytes, bytes]) -> TunnelFault:
        kind = command.reverseErrors.get(box.get(amp.ERROR_CODE, b""))
        told = box.get(amp.ERROR_DESCRIPTION)
        if kind is None or told is None:
            raise Violation(Cause.ANSWER_ERROR, "an error that the command does not define", command.__name__)
        try:
            return kind.read(_TOLD.fromString(told), box)
        except Exception as error:
            raise self._malformed(command, error) from error

    def _asked_by_peer(self, box: dict[bytes, bytes]) -> None:
        name, tag = box[amp.COMMAND], box.get(amp.ASK)
        command = self.commands.get(name)
        if command is None:
            raise Violation(Cause.COMMAND_UNKNOWN, f"no command is named {name[:64]!a}")
        if command not in self.allowed[self._side.other, self.answering]:
            raise Violation(
                Cause.COMMAND_FORBIDDEN,
                f"{command.__name__} may not be asked by the {self._side.other.value} while {self.answering.value}",
                command.__name__,
            )
        if not (tag is None and self.tells) and (
            tag is None or not 0 < len(tag) <= _TAG_OCTETS_MOST or tag in self._responding
        ):
            raise Violation(Cause.QUESTION_TAG, "a question without a tag of its own", command.__name__)
        if len(self._responding) >= self.questions_most:
            raise Violation(Cause.QUESTION_MANY, f"more than {self.questions_most} unanswered questions")
        try:
            arguments: Answer = command.parseArguments(box, self)
        except Exception as error:
            raise self._malformed(command, error) from error
        answer = Deferred.fromCoroutine(self._respond(command, arguments))
        if tag is None:
            answer.addErrback(partial(self._told, command)).addErrback(self._bug, command)
            return
        self._responding[tag] = answer
        answer.addCallbacks(
            lambda response: self._answer(command, tag, amp.ANSWER, response),
            lambda failure: self._answer(command, tag, amp.ERROR, self._told(command, failure)),
        )
        answer.addErrback(self._bug, command)

    async def _respond(self, command: type[TunnelCommand], arguments: Answer) -> amp.AmpBox:
        """The box with the answer of a responder of whatever kind."""
        result = self.responders()[command](**arguments)
        answer = await result if isinstance(result, Deferred) else result
        return command.makeResponse(answer or {}, self)

    def _malformed(self, command: type[TunnelCommand], error: Exception) -> Violation:
        return Violation(
            Cause.VALUE_MALFORMED, f"a value is not what it has to be ({type(error).__name__})", command.__name__
        )

    def _told(self, command: type[TunnelCommand], failure: Failure) -> amp.AmpBox:
        """What the peer is told of a failed responder; a violation among its errors is the peer's."""
        error = failure.value
        for kind, code in command.allErrors.items():
            if isinstance(error, kind):
                # Of what is not printable, an escape stands there: it may be longer.
                message = escape(str(error), _TOLD_MOST)[:_TOLD_MOST]
                told = {amp.ERROR_CODE: code, amp.ERROR_DESCRIPTION: _TOLD.toString(message)}
                return amp.AmpBox({**error.fields(), **told})
        if self.lost is not None and isinstance(error, CancelledError):
            pass
        elif isinstance(error, Violation):
            self._stop(attrs.evolve(error, command=command.__name__))
        else:
            self._bug(failure, command)
        return amp.AmpBox(
            {amp.ERROR_CODE: b"FAILED", amp.ERROR_DESCRIPTION: b"internal error; see the other daemon's log"}
        )

    def _answer(self, command: type[TunnelCommand], tag: bytes, kind: bytes, box: amp.AmpBox) -> None:
        self._responding.pop(tag, None)
        if self.lost is not None:
            return
        if self._unread is not None:
            self._unread += 1
            if self._unread > limits.ANSWERS_UNREAD_MOST:
                self._stop(Violation(Cause.ANSWER_UNREAD, "the peer asks questions and does not read the answers"))
                return
        box[kind] = tag
        self.send_box(box)
        if kind is amp.ANSWER:
            self.answered(command)

    def _bug(self, failure: Failure, command: type[TunnelCommand]) -> None:
        self._events.failure(f"{self.place}.{self._side.value}.{command.__name__}", failure)

    # The connection.

    def makeConnection(self, transport: IStream) -> None:
        """The transport is connected, and the peer has proved its identity."""
        super().makeConnection(transport)  # type: ignore[no-untyped-call]  # Twisted has no types here
        transport.registerProducer(self, True)

    def pauseProducing(self) -> None:
        """What we send is not read fast enough; only answers can pile up without end, and are counted from here."""
        if self._unread is None:
            self._unread = 0

    def resumeProducing(self) -> None:
        """All that we sent is on its way."""
        self._unread = None

    def stopProducing(self) -> None:
        """The transport is closing; ``connectionLost`` follows."""

    def violated(self, violation: Violation) -> None:
        """The peer broke a rule: tell it, and end the tunnel."""
        state, peer = self.answering.value, self.peer or None
        violation.tell(self._events, command=violation.command, state=state, peer=peer, **self.names())
        self.close(violation.closing)

    def names(self) -> dict[str, object]:
        """The peer's name, as fields of events."""
        return {}

    def close(self, why: Closing) -> None:
        """End the tunnel: at once for all its users, and for the peer as soon as it reads."""
        if self.lost is None and self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            self._abort.start(limits.CLOSING.default)
        self._down(why)

    def abort(self, why: Closing) -> None:
        """End the tunnel without waiting for a silent peer."""
        if self.lost is None and self.transport is not None:
            self.transport.abortConnection()
        self._down(why)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._abort.stop()
        self._down(closing_of(reason))
        self.transport = None

    def _silent(self) -> None:
        message = f"{limits.PINGS_MISSED_MOST} pings in a row were not answered"
        self.abort(Closing(Cause.TUNNEL_SILENT, message))

    def _abort_now(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()

    def _down(self, why: Closing) -> None:
        if self.lost is not None:
            return
        self.lost = why
        self._heartbeat.stop()
        self.stop_reading()
        questions = [question for question in (*self._asked.values(), *self._waiting) if question.answer is not None]
        self._asked.clear()
        self._waiting.clear()
        for question in questions:
            # Whoever was told of one may have cancelled another.
            if question.answer is not None:
                self._let_go(question).errback(self.gone())
        for answer in list(self._responding.values()):
            answer.cancel()
        self.tunnel_lost(why)

    def gone(self) -> OwnFault:
        """The fault of whatever needs a tunnel that is down."""
        return TunnelLost(rule=Cause.TUNNEL_LOST, message=f"the tunnel is down: {self.lost}")
