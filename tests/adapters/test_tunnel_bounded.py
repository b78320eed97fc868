"""BoundedAMP against a peer that keeps no rule."""

import random
from collections.abc import Mapping
from struct import pack

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.amp import AmpBox, parseString
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import TunnelLost
from smartproxy.tunnel.control import BoundedAMP, Responder
from smartproxy.tunnel.faults import Closing, ConfigurationDeclined, NotNow, QuestionExpired, QuestionFailed, Violation
from smartproxy.tunnel.vocabulary import (
    ALLOWED,
    COMMANDS,
    CloseSession,
    Configure,
    Hello,
    OpenInbound,
    Ping,
    SeenCrlUrl,
    SetLevel,
    Side,
    TunnelCommand,
    TunnelPhase,
)
from tests.adapters.tunnel_kit import FACTS, SESSION, WHY, Events
from tests.conformance.test_linear_work import calls


class Wire(StringTransport):
    """A transport that remembers how it was closed."""

    aborted = False

    def abortConnection(self) -> None:
        """Part of ``ITCPTransport``."""
        self.aborted = True
        StringTransport.abortConnection(self)


class End(BoundedAMP):
    """A server's end whose answers a test chooses."""

    def __init__(self, clock: Clock, events: Events, side: Side = Side.SERVER) -> None:
        super().__init__(side, "10.0.0.7:40001", clock, events)
        self.losses: list[Closing] = []
        self.well: list[type[TunnelCommand]] = []
        self.answers: dict[type[TunnelCommand], Responder] = {}
        self.asking = self.answering = TunnelPhase.READY

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """Part of the base class."""
        return {**{command: lambda **_: None for command in COMMANDS.values()}, **self.answers}

    def answered(self, command: type[TunnelCommand]) -> None:
        """Part of the base class."""
        self.well.append(command)

    def tunnel_lost(self, why: Closing) -> None:
        """Part of the base class."""
        self.losses.append(why)


class BoundedCase(SynchronousTestCase):
    """One end on a transport in memory."""

    side = Side.SERVER

    def setUp(self) -> None:
        """An end that is ready."""
        self.clock = Clock()
        self.events = Events()
        self.end = End(self.clock, self.events, self.side)
        self.wire = Wire()
        self.end.makeConnection(self.wire)  # type: ignore[arg-type]  # as much of a stream as is needed

    def boxes(self) -> list[dict[bytes, bytes]]:
        """What was sent since the last time."""
        boxes: list[dict[bytes, bytes]] = parseString(self.wire.value())
        self.wire.clear()
        return boxes

    def receive(self, **keys: bytes) -> None:
        """One box comes."""
        self.end.dataReceived(AmpBox({key.encode(): value for key, value in keys.items()}).serialize())

    def assertEnded(self, cause: str) -> None:
        """The tunnel was ended for this violation, with one CRITICAL event, and nothing more is read."""
        self.assertEqual(self.events.causes("tunnel.violation"), [cause])
        self.assertEqual([why.cause for why in self.end.losses], [Cause.TUNNEL_VIOLATION])
        self.assertEqual([str(why) for why in self.end.losses], [f"violation: {cause}"])
        self.assertTrue(self.wire.disconnecting)
        before = self.wire.value()
        self.receive(_command=b"Ping", _ask=b"after")
        self.assertEqual(self.wire.value(), before)
        self.clock.advance(limits.CLOSING.default)
        self.assertTrue(self.wire.aborted, "a peer that does not read its end is aborted")

    def assertUp(self) -> None:
        """The tunnel goes on."""
        self.assertIsNone(self.end.lost)
        self.assertEqual(self.events.named("tunnel.violation"), [])


class BoxTests(BoundedCase):
    """Boxes are judged while they come."""

    def test_too_many_keys(self) -> None:
        """The key after the last one that is allowed ends the tunnel, though the box never ends."""
        key = b"".join(b"\x00\x03k%02d\x00\x01v" % number for number in range(limits.BOX_KEYS_MOST))
        self.end.dataReceived(key)
        self.assertUp()
        self.end.dataReceived(b"\x00\x03one")
        self.assertEnded("box.keys")

    def test_too_many_octets(self) -> None:
        """A length beyond what is left of the box ends the tunnel before its octets come."""
        value = bytes(65_535)
        for number in range(limits.BOX_OCTETS_MOST // 65_540):
            self.end.dataReceived(b"\x00\x03k%02d\xff\xff" % number + value)
        self.end.dataReceived(b"\x00\x03end")
        self.assertUp()
        self.end.dataReceived(b"\xff\xff")
        self.assertEnded("box.size")

    def test_key_too_long(self) -> None:
        """A key of more than 255 octets ends the tunnel at its length."""
        self.end.dataReceived(b"\x01\x00")
        self.assertEnded("box.size")

    def test_plain_text(self) -> None:
        """What was never AMP is refused at its first two octets."""
        self.end.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEnded("box.size")

    def test_key_twice(self) -> None:
        """A box with the same key twice ends the tunnel: two readers could read it differently."""
        self.end.dataReceived(b"\x00\x01a\x00\x01x\x00\x01a")
        self.assertEnded("box.twice")

    def test_empty_box(self) -> None:
        """A box with nothing in it is neither question nor answer."""
        self.end.dataReceived(b"\x00\x00")
        self.assertEnded("box.kind")

    def test_octet_by_octet(self) -> None:
        """However a box is cut, it is read the same."""
        for octet in AmpBox({b"_command": b"Ping", b"_ask": b"1"}).serialize():
            self.end.dataReceived(bytes((octet,)))
        self.assertEqual(self.boxes(), [{b"_answer": b"1"}])

    def test_boxes_cut_anywhere(self) -> None:
        """Boxes of all sizes arrive as Twisted's own receiver reads them, in whatever pieces they come."""
        chance = random.Random(4)
        arrived: list[dict[bytes, bytes]] = []
        self.end.box_arrived = arrived.append  # type: ignore[assignment,method-assign]  # the boxes themselves
        octets = b"".join(
            AmpBox(
                {
                    chance.randbytes(chance.choice((1, 7, 255))): chance.randbytes(chance.choice((0, 1, 300, 65_535)))
                    for _ in range(chance.randrange(4))
                }
            ).serialize()
            for _ in range(100)
        )
        position = 0
        while position < len(octets):
            size = chance.choice((1, 2, 3, 500, 100_000))
            self.end.dataReceived(octets[position : position + size])
            position += size
        self.assertEqual(arrived, parseString(octets))

    def test_calls_of_an_opening(self) -> None:
        """A question with all of a session's facts is read and answered in fewer than 250 calls."""
        facts = attrs.asdict(FACTS, recurse=False)
        box = OpenInbound.makeArguments({"session": SESSION, "ticket": bytes(32), "deadline": 5, **facts}, None)
        octets = AmpBox({**box, b"_command": b"OpenInbound", b"_ask": b"1"}).serialize()
        end, self.wire = End(self.clock, self.events, Side.CLIENT), Wire()
        end.makeConnection(self.wire)  # type: ignore[arg-type]  # as much of a stream as is needed
        made = calls(lambda: end.dataReceived(octets))
        self.assertEqual(self.boxes(), [{b"_answer": b"1"}])
        self.assertLess(made, 250)

    def test_rest_of_the_chunk_is_not_read(self) -> None:
        """What follows a violation in the same piece of the stream is thrown away."""
        good = AmpBox({b"_command": b"Ping", b"_ask": b"1"}).serialize()
        self.end.dataReceived(b"\x00\x00" + good)
        self.assertEqual(self.wire.value(), b"")

    def test_memory_stays_bounded(self) -> None:
        """Ten megabytes to a tunnel that was ended are not kept."""
        self.end.dataReceived(b"\x01\x00")
        for _ in range(160):
            self.end.dataReceived(bytes(65_536))
        self.assertLess(len(self.end._unfinished), 1_000)


class QuestionTests(BoundedCase):
    """Questions of the peer."""

    def test_answered(self) -> None:
        """A question is answered, and the answer is noted."""
        self.receive(_command=b"Ping", _ask=b"7")
        self.assertEqual(self.boxes(), [{b"_answer": b"7"}])
        self.assertEqual(self.end.well, [Ping])

    def test_every_forbidden_direction(self) -> None:
        """Each command that the table does not list for the peer and phase ends the tunnel."""
        for side in Side:
            for phase in TunnelPhase:
                for name, command in COMMANDS.items():
                    if command in ALLOWED[side.other, phase]:
                        continue
                    self.side = side
                    self.setUp()
                    self.end.answering = phase
                    self.receive(_command=name, _ask=b"1")
                    (event,) = self.events.named("tunnel.violation")
                    self.assertEqual((event["cause"], event["command"]), ("command.forbidden", command.__name__))
                    self.assertEqual(self.wire.value(), b"")
                    self.assertEnded("command.forbidden")

    def test_start_tls(self) -> None:
        """AMP's StartTLS is no command here; the transport is what it was from the first octet."""
        self.receive(_command=b"StartTLS", _ask=b"1")
        self.assertEnded("command.unknown")

    def test_unknown_command_is_quoted(self) -> None:
        """The name of a command that nobody knows stands escaped in the event."""
        self.receive(_command=b"\x1b[2J\n" + b"x" * 500, _ask=b"1")
        (event,) = self.events.named("tunnel.violation")
        detail = str(event["detail"])
        self.assertTrue(detail.isprintable())
        self.assertLess(len(detail), 200)

    def test_simple_string_names_reach_nothing(self) -> None:
        """AMP's dispatch by method name is not there: ``amp_`` methods cannot be called."""
        self.end.amp_PING = lambda box: self.fail("was called")  # type: ignore[attr-defined]  # what AMP would look up
        self.receive(_command=b"ping", _ask=b"1")
        self.assertEnded("command.unknown")

    def test_no_tag(self) -> None:
        """A question that wants no answer is none of ours."""
        self.receive(_command=b"Ping")
        self.assertEnded("question.tag")

    def test_tag_too_long(self) -> None:
        """A tag is short."""
        self.receive(_command=b"Ping", _ask=b"1" * 17)
        self.assertEnded("question.tag")

    def test_tag_twice(self) -> None:
        """A tag that is still unanswered cannot be used again."""
        self.end.answers[SetLevel] = lambda level: Deferred()
        self.receive(_command=b"SetLevel", _ask=b"1", level=b"DEBUG")
        self.receive(_command=b"SetLevel", _ask=b"1", level=b"DEBUG")
        self.assertEnded("question.tag")

    def test_too_many_unanswered(self) -> None:
        """The question after the last place ends the tunnel."""
        self.end.answers[SetLevel] = lambda level: Deferred()
        for number in range(limits.QUESTIONS_MOST):
            self.receive(_command=b"SetLevel", _ask=b"%d" % number, level=b"DEBUG")
        self.assertUp()
        self.receive(_command=b"Ping", _ask=b"p")
        self.assertEnded("question.many")

    def test_malformed_values(self) -> None:
        """A value that is missing, or not in its one form, ends the tunnel."""
        good = {"generation": b"1", "number": b"0", "size": b"1", "digest": bytes(32), "chunk": b"x"}
        bad: list[dict[str, bytes]] = [{"generation": value} for value in (b"", b"-1", b"1.0", b"01", b" 1", b"1" * 20)]
        bad += [{"generation": b"9" * 19}, {"generation": "\u0661".encode()}, {"digest": bytes(31)}]
        bad += [{"chunk": bytes(limits.CHUNK_OCTETS + 1)}]
        for change in bad:
            self.setUp()
            self.receive(_command=b"Configure", _ask=b"1", **{**good, **change})
            self.assertEnded("value.malformed")
        self.setUp()
        self.receive(_command=b"Configure", _ask=b"1")
        self.assertEnded("value.malformed")
        for level in (b"\xff", b"x" * 17, b"foo", b"a\nb", b"a\x00"):
            self.setUp()
            self.receive(_command=b"SetLevel", _ask=b"1", level=level)
            self.assertEnded("value.malformed")

    def test_bug_in_a_responder(self) -> None:
        """A responder that fails is reported, answered without details, and ends nothing."""

        def bug(level: str) -> None:
            raise KeyError("canary")

        self.end.answers[SetLevel] = bug
        self.receive(_command=b"SetLevel", _ask=b"1", level=b"DEBUG")
        (box,) = self.boxes()
        self.assertEqual((box[b"_error"], box[b"_error_code"]), (b"1", b"FAILED"))
        self.assertNotIn("canary", repr(box) + repr(self.events.seen))
        self.assertEqual(len(self.events.named("internal.error")), 1)
        self.receive(_command=b"Ping", _ask=b"2")
        self.assertEqual(self.boxes(), [{b"_answer": b"2"}])
        self.assertUp()

    def test_bug_in_an_answer(self) -> None:
        """A responder whose answer does not fit its command is a bug like any other."""
        self.end.answers[Configure] = lambda **_: {"state": 5, "held": -1}
        self.receive(
            _command=b"Configure", _ask=b"1", generation=b"1", number=b"0", size=b"1", digest=bytes(32), chunk=b"x"
        )
        self.assertEqual(self.boxes()[0][b"_error_code"], b"FAILED")
        self.assertEqual(len(self.events.named("internal.error")), 1)
        self.assertUp()

    def test_late_bug_in_a_responder(self) -> None:
        """The same for one that fails later."""
        later: Deferred[dict[str, object]] = Deferred()
        self.end.answers[SetLevel] = lambda level: later
        self.receive(_command=b"SetLevel", _ask=b"1", level=b"DEBUG")
        later.errback(Failure(ZeroDivisionError()))
        self.assertEqual(self.boxes()[0][b"_error_code"], b"FAILED")
        self.assertUp()

    def test_errors_of_a_command_are_told(self) -> None:
        """An error that the command knows travels with its words."""
        self.end.answers[Configure] = lambda **_: fail(ConfigurationDeclined("no listeners"))
        self.receive(
            _command=b"Configure", _ask=b"1", generation=b"1", number=b"0", size=b"1", digest=bytes(32), chunk=b"x"
        )
        (box,) = self.boxes()
        self.assertEqual((box[b"_error_code"], box[b"_error_description"]), (b"DECLINED", b"no listeners"))
        self.assertEqual(self.events.seen, [])

    def test_error_of_ours_in_odd_words(self) -> None:
        """What an error of ours says is printable on the wire, and short, so that the other end can take it."""
        self.end.answers[Configure] = lambda **chunk: fail(ConfigurationDeclined("a\nb" + "\x1b" * 1_000))
        self.receive(
            _command=b"Configure", _ask=b"1", generation=b"1", number=b"0", size=b"0", digest=bytes(32), chunk=b""
        )
        (box,) = self.boxes()
        words = box[b"_error_description"].decode()
        self.assertTrue(words.startswith(r"a\nb\x1b\x1b"))
        self.assertEqual((len(words), words.isprintable()), (500, True))

    def test_violation_found_by_a_responder(self) -> None:
        """What a responder finds to be against the rules ends the tunnel."""
        self.end.answers[SetLevel] = lambda level: fail(Violation(Cause.CHUNK_ORDER, "wrong"))
        self.receive(_command=b"SetLevel", _ask=b"1", level=b"DEBUG")
        self.assertEnded("chunk.order")

    def test_answers_that_are_not_read(self) -> None:
        """A peer that asks and does not read is ended before its answers fill the memory."""
        self.end.pauseProducing()
        for number in range(limits.ANSWERS_UNREAD_MOST):
            self.receive(_command=b"Ping", _ask=b"%x" % number)
        self.assertUp()
        self.end.resumeProducing()
        self.end.pauseProducing()
        for number in range(limits.ANSWERS_UNREAD_MOST + 1):
            self.receive(_command=b"Ping", _ask=b"%x" % number)
        self.assertEnded("answer.unread")


class AskingTests(BoundedCase):
    """Questions of ours."""

    def ask(self, seconds: float = 10) -> Deferred[dict[str, object]]:
        """A question of ours."""
        return self.end.ask(SeenCrlUrl, seconds=seconds, url="http://ca.example/x.crl", ca="acme-ca")

    def test_answered(self) -> None:
        """The answer reaches who asked."""
        question = self.end.ask(
            OpenInbound, session=SESSION, ticket=bytes(32), deadline=5, **attrs.asdict(FACTS, recurse=False)
        )
        (box,) = self.boxes()
        self.assertEqual((box[b"code"], box[b"level"], box[b"profile"]), (b"O0013ACME", b"5", b"default"))
        self.assertNotIn(b"certificate_sha256", box)
        self.receive(_answer=box[b"_ask"])
        self.assertEqual(self.successResultOf(question), {})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_forbidden_is_not_even_sent(self) -> None:
        """What the table forbids us is refused here."""
        for command in (Configure, Hello, CloseSession):
            self.failureResultOf(self.end.ask(command), NotNow)
        self.assertEqual(self.wire.value(), b"")

    def test_value_that_does_not_fit(self) -> None:
        """A value of ours that is out of bounds fails the question, and nothing else."""
        self.failureResultOf(self.end.ask(SeenCrlUrl, url="x" * 513, ca="acme-ca"), ValueError)
        self.failureResultOf(self.end.ask(SeenCrlUrl, url="x", ca="b" * 70_000), ValueError)
        self.assertEqual(self.wire.value(), b"")
        self.assertUp()

    def test_error_of_the_peer(self) -> None:
        """An error that the peer does not explain is told as such."""
        question = self.ask()
        (box,) = self.boxes()
        self.receive(_error=box[b"_ask"], _error_code=b"FAILED", _error_description="ä".encode() * 500)
        failure = self.failureResultOf(question, QuestionFailed)
        self.assertEqual(str(failure.value), "ä" * 500)

    def test_error_in_odd_words(self) -> None:
        """The sentence of an error may reach a station: one that is no short printable text ends the tunnel."""
        for words in (b"\x1b[2J\r\n\x07", b"x\xff", "\u202e".encode(), b"x" * 501):
            self.setUp()
            self.ask().addErrback(lambda _: None)
            (box,) = self.boxes()
            self.receive(_error=box[b"_ask"], _error_code=b"FAILED", _error_description=words)
            self.assertEnded("value.malformed")

    def test_error_that_the_command_does_not_know(self) -> None:
        """An error code of another command ends the tunnel."""
        self.ask().addErrback(lambda _: None)
        (box,) = self.boxes()
        self.receive(_error=box[b"_ask"], _error_code=b"DECLINED", _error_description=b"x")
        self.assertEnded("answer.error")

    def test_error_without_words(self) -> None:
        """An error box that lacks its parts ends the tunnel."""
        self.ask().addErrback(lambda _: None)
        (box,) = self.boxes()
        self.receive(_error=box[b"_ask"])
        self.assertEnded("answer.error")

    def test_answer_to_nothing(self) -> None:
        """An answer or an error to a question that nobody asked ends the tunnel cleanly."""
        for kind in ("_answer", "_error"):
            self.setUp()
            self.receive(**{kind: b"99", "_error_code": b"FAILED", "_error_description": b""})
            self.assertEnded("answer.unknown")

    def test_answer_twice(self) -> None:
        """A second answer to the same question ends the tunnel."""
        self.ask()
        (box,) = self.boxes()
        self.receive(_answer=box[b"_ask"])
        self.assertUp()
        self.receive(_answer=box[b"_ask"])
        self.assertEnded("answer.unknown")

    def test_malformed_answer(self) -> None:
        """An answer without its values ends the tunnel."""
        self.side = Side.CLIENT
        self.setUp()
        self.end.ask(Configure, generation=1, number=0, size=1, digest=bytes(32), chunk=b"x").addErrback(lambda _: None)
        (box,) = self.boxes()
        self.receive(_answer=box[b"_ask"], state=b"more")
        self.assertEnded("value.malformed")

    def test_deadline(self) -> None:
        """A question that is not answered in time fails; its answer may still come, and changes nothing."""
        question = self.ask(seconds=3)
        self.clock.advance(3)
        self.failureResultOf(question, QuestionExpired)
        (box,) = self.boxes()
        self.receive(_answer=box[b"_ask"])
        self.assertUp()

    def test_cancelled(self) -> None:
        """A question that nobody waits for any more leaves no timer, and its answer changes nothing."""
        question = self.ask()
        question.cancel()
        self.failureResultOf(question, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        (box,) = self.boxes()
        self.receive(_answer=box[b"_ask"])
        self.assertUp()

    def test_places_are_the_peers(self) -> None:
        """No more questions are sent than the peer takes; the last place is kept for the heartbeat."""
        questions = [self.ask() for _ in range(limits.QUESTIONS_MOST + 20)]
        sent = self.boxes()
        self.assertEqual(len(sent), limits.QUESTIONS_MOST - 1)
        self.end.ping()
        self.assertEqual([box[b"_command"] for box in self.boxes()], [b"Ping"])
        self.receive(_answer=sent[0][b"_ask"])
        self.assertNoResult(questions[limits.QUESTIONS_MOST - 1])
        self.receive(_answer=sent[1][b"_ask"])
        self.assertEqual(len(self.boxes()), 1)
        questions[-1].cancel()
        self.failureResultOf(questions[-1], CancelledError)
        self.clock.advance(10)
        for question in questions[2:-1]:
            self.failureResultOf(question, QuestionExpired)
        self.assertUp()

    def test_too_many_wait(self) -> None:
        """The queue of questions has an end; whether the peer is there is asked all the same."""
        for _ in range(limits.QUESTIONS_MOST - 1 + limits.QUESTIONS_WAITING_MOST):
            self.ask().addErrback(lambda _: None)
        self.failureResultOf(self.ask(), QuestionFailed)
        self.boxes()
        ping = self.end.ping()
        sent = self.boxes()
        self.assertEqual([box[b"_command"] for box in sent], [b"Ping"])
        self.assertNoResult(ping)
        self.receive(_answer=sent[0][b"_ask"])
        self.assertTrue(self.successResultOf(ping))

    def test_loss_fails_everything(self) -> None:
        """When the connection is gone, every question fails with the cause, sent or waiting, and every later one."""
        questions = [self.ask() for _ in range(limits.QUESTIONS_MOST + 5)]
        self.end.connectionLost(Failure(ConnectionDone()))
        for question in (*questions, self.ask()):
            self.failureResultOf(question, TunnelLost)
        self.assertEqual(len(self.end.losses), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_loss_cancels_what_answers(self) -> None:
        """A responder that still works is cancelled when the tunnel is lost, and nothing is reported."""
        cancelled: list[Deferred[dict[str, object]]] = []
        self.end.answers[SetLevel] = lambda level: Deferred(cancelled.append)
        self.receive(_command=b"SetLevel", _ask=b"1", level=b"DEBUG")
        self.end.abort(WHY)
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.events.seen, [])
        self.assertTrue(self.wire.aborted)

    def test_ping_never_fails(self) -> None:
        """A ping says whether it was answered."""
        ping = self.end.ping()
        self.receive(_answer=self.boxes()[0][b"_ask"])
        self.assertTrue(self.successResultOf(ping))
        ping = self.end.ping()
        self.clock.advance(limits.PING_ANSWER_SECONDS)
        self.assertFalse(self.successResultOf(ping))
        self.end.abort(WHY)
        self.assertFalse(self.successResultOf(self.end.ping()))

    def test_clean_close(self) -> None:
        """A close that the peer answers needs no abort."""
        self.end.close(WHY)
        self.assertTrue(self.wire.disconnecting)
        self.end.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.end.losses, [WHY])


class FuzzTests(SynchronousTestCase):
    """Anything may come."""

    def test_any_octets_end_well(self) -> None:
        """Random boxes are answered or end the tunnel, without an exception, and the same however they are cut."""
        words = [b"_ask", b"_answer", b"_error", b"_command", b"Ping", b"Configure", b"1", b"level", b"", b"SetLevel"]
        for seed in range(400):
            rng = random.Random(seed)
            stream = b"".join(
                pack(">H", len(word)) + word if rng.random() < 0.9 else rng.randbytes(3)
                for word in rng.choices(words, k=rng.randint(1, 30))
            )
            outcomes = []
            for cut in (len(stream), 1, rng.randint(1, 7)):
                events = Events()
                end = End(Clock(), events)
                end.makeConnection(Wire())  # type: ignore[arg-type]  # as much of a stream as is needed
                for start in range(0, len(stream), cut):
                    end.dataReceived(stream[start : start + cut])
                outcomes.append((end.lost, events.causes("tunnel.violation"), len(end.well)))
            self.assertEqual(outcomes[0], outcomes[1], seed)
            self.assertEqual(outcomes[0], outcomes[2], seed)
            self.assertEqual(self.flushLoggedErrors(), [])
