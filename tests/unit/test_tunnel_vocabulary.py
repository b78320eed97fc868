"""The fixed vocabulary and its direction table."""

import enum

import attrs
from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.client.wanted_calls import CallDenied
from smartproxy.client.words import ClientLink
from smartproxy.logs.severity import Severity
from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy.admission import Denied
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import PartnerUnreachable, Step
from smartproxy.policy.outcomes import Outcome
from smartproxy.policy.penalties import Fault
from smartproxy.relay.openings import CallWish, PartnerTls, SessionFacts, Way
from smartproxy.server.words import NoPlace, ServerLink
from smartproxy.tunnel.boxes import Choice, ChoiceByName, Code, Number, Octets, Plain, PrintableText, Records, line
from smartproxy.tunnel.faults import OpeningFailed, TunnelFault
from smartproxy.tunnel.vocabulary import (
    ALLOWED,
    COMMANDS,
    Configure,
    GenerationState,
    OpenInbound,
    OpenOutbound,
    Side,
    TunnelPhase,
)
from smartproxy.workers.words import by_name

# As the design has it, read off by hand.
TABLE = """
client/before Hello: Hello
client/ready: Configure OpenOutbound CloseSession SetLevel Renewed Moved Drain Ping
client/draining: CloseSession Renewed Ping
server/before Hello:
server/ready: OpenInbound Report SeenCrlUrl Workers Moved Ping
server/draining: Report Workers Ping
"""


class TableTests(SynchronousTestCase):
    """Who may ask what when."""

    def test_as_designed(self) -> None:
        """The table is the design's, cell by cell."""
        designed = {}
        for row in TABLE.strip().splitlines():
            who, _, commands = row.partition(":")
            designed[who] = set(commands.split())
        ours = {f"{s.value}/{p.value}": {each.__name__ for each in commands} for (s, p), commands in ALLOWED.items()}
        self.assertEqual(ours, designed)

    def test_complete(self) -> None:
        """Every side and phase has its cell."""
        self.assertEqual(set(ALLOWED), {(side, phase) for side in Side for phase in TunnelPhase})

    def test_server_cannot_ask_for_anything_secret(self) -> None:
        """No question of the server has an answer: it can take nothing out of the client."""
        for (side, _), commands in ALLOWED.items():
            if side is Side.SERVER:
                self.assertEqual([command for command in commands if command.response], [])

    def test_nothing_changes_the_transport(self) -> None:
        """No command of AMP's that starts TLS or switches the protocol is among ours."""
        for command in COMMANDS.values():
            self.assertFalse(issubclass(command, amp.StartTLS | amp.ProtocolSwitchCommand))
            self.assertIs(command.commandType, amp.Box)
            self.assertIs(command.responseType, amp.Box)

    def test_errors_have_their_own_codes(self) -> None:
        """Within one command no two errors share a code, and each knows that a responder can fail."""
        for command in COMMANDS.values():
            self.assertEqual(len(command.allErrors), len(command.reverseErrors))
            self.assertIn(b"FAILED", command.reverseErrors)

    def test_what_an_error_lacks(self) -> None:
        """An error that lacks a field, or has one that is none, is malformed, whichever daemons or workers talk."""
        errors = {
            kind
            for table in (ALLOWED, ServerLink.allowed, ClientLink.allowed)
            for commands in table.values()
            for command in commands
            for kind in command.reverseErrors.values()
        }
        unreached = PartnerUnreachable(
            rule=Cause.CALL_REFUSED, message="x", step=Step.CONNECT, cause=Cause.CALL_REFUSED
        )
        denied = Denied(rule="quota.sessions", message="x", limit="sessions", value=1)
        samples = (OpeningFailed(unreached), CallDenied(unreached), NoPlace(denied))
        told = [kind for kind in errors if kind.fields is not TunnelFault.fields]
        self.assertEqual(set(told), {type(each) for each in samples})
        for sample in samples:
            fields = sample.fields()
            self.assertEqual(type(sample).read("x", fields).fields(), fields)
            for name in fields:
                self.assertRaises(ValueError, sample.read, "x", {**fields, name: b"\xff"})
                self.assertRaises(ValueError, sample.read, "x", {key: fields[key] for key in fields if key != name})


class ArgumentTests(SynchronousTestCase):
    """Every kind of value has one form."""

    def test_round_trips(self) -> None:
        """What is written is what is read."""
        pairs: list[tuple[amp.Argument, object]] = [
            (Number(), 0),
            (Number(), 2**63 - 1),
            (Octets(3), b"abc"),
            (Octets(3, 0), b""),
            (PrintableText(5), "äöü€"),
            (PrintableText(5), ""),
            (Code(), "state.command"),
            (Choice(Level), Level.OFTP_2_0),
            *((Choice(Way), way) for way in Way),
            *((ChoiceByName(Severity), severity) for severity in Severity),
            *((Choice(Fault), fault) for fault in Fault),
        ]
        for argument, value in pairs:
            self.assertEqual(argument.fromString(argument.toString(value)), value)
        events: list[dict[str, Plain]] = [
            {"name": "a", "facts": [1, 2.5, None, True, {"b": "c"}]},
            {"name": "a", "text": "line\nbreak"},
            {"name": "b"},
        ]
        records = Records()
        self.assertEqual(records.fromString(records.toString([line(event) for event in events])), events)

    def test_other_forms_are_refused(self) -> None:
        """Anything but the one form is a ValueError, on the way in."""
        deep = b'{"a":' + b"[" * 40_000 + b"]" * 40_000 + b"}"
        wrong: list[tuple[amp.Argument, list[bytes]]] = [
            (Number(), [b"", b"-1", b"+1", b"1 ", b"01", b"1_0", b"1e3", b"\xd9\xa1", b"9" * 19, b"9" * 5_000]),
            (Octets(3), [b"", b"ab", b"abcd"]),
            (PrintableText(3), [b"abcd", b"a\n", b"\x1b", b"\xff", "a\u2028".encode(), "\u202e".encode()]),
            (Code(), [b"", b"A", b"a b", b"a.", b".a", b"a" * 65, b"a\n", b"\xc3\xa4", b"1"]),
            (ChoiceByName(Severity), [b"", b"foo", b"10", b"debug", b"FATAL", b"\xff"]),
            (Choice(Fault), [b"", b"rudeness", b"IDENTITY", b"effort ", b"\xff"]),
            (Choice(Profile), [b"", b"lax", b"DEFAULT", b"default ", b"\xff"]),
            (Choice(Outcome, Outcome.ABORTED), [b"", b"Completed", b"completed\n", b"x" * 65, b"\xff"]),
            (Records(), [b"", b"{}\n", b"{}\n[]", b"{}\n\n{}", b"[]", b"1", b"{", b"\xff", b'"x"']),
            (
                Records(),
                [
                    b'{"a":1,"a":2}',
                    b'{"a":1e999}',
                    b'{"a":NaN}',
                    b'{"a":Infinity}',
                    deep,
                    b'{"a":' + b"9" * 5_000 + b"}",
                ],
            ),
        ]
        for argument, forms in wrong:
            for form in forms:
                self.assertRaises(ValueError, argument.fromString, form)

    def test_texts_that_are_free(self) -> None:
        """An argument is text only where any text may stand: what is one of few is of a type that says which."""
        free = {"after", "session", "store"}  # Ids.
        free |= {"ca", "client", "code", "name", "partner"}  # Names that people give.
        free |= {"address", "caller", "host", "peer", "proxy_ids", "url"}  # Addresses and keys.
        free |= {"certificate_sha256", "message", "version"}
        # A newer process of the daemon may have more of them: each has a fallback.
        free |= {"fault", "rule"}
        texts = {
            name.decode("ascii")
            for table in (COMMANDS, by_name(ClientLink.allowed), by_name(ServerLink.allowed))
            for command in table.values()
            for name, field in (*command.arguments, *command.response)
            if isinstance(field, PrintableText)
        }
        self.assertEqual(texts, free)

    def test_what_does_not_fit_is_not_sent(self) -> None:
        """Values out of bounds are refused before they are on the wire."""
        self.assertRaises(ValueError, Number().toString, -1)
        self.assertRaises(ValueError, Number().toString, 2**63)
        self.assertRaises(ValueError, Number(99).toString, 100)
        self.assertRaises(ValueError, Number(99).fromString, b"100")
        self.assertRaises(ValueError, Octets(3).toString, b"ab")
        self.assertRaises(ValueError, PrintableText(3).toString, "abcd")
        self.assertRaises(ValueError, Code().toString, "not a code")
        self.assertRaises(ValueError, line, {"a": "x" * 70_000})
        self.assertRaises(ValueError, line, {"a": float("nan")})


class SomeWord(enum.Enum):
    """An enumeration that a newer version has more members of."""

    KNOWN = "known"
    OTHER = "other"


class StructureTests(SynchronousTestCase):
    """What the daemons tell each other of sessions arrives as the value that it was."""

    def crosses(self, command: type[amp.Command], value: attrs.AttrsInstance, **others: object) -> None:
        """A value becomes fields of a question, and the same value at the other end."""
        told = {**attrs.asdict(value, recurse=False), **others}
        read = command.parseArguments(command.makeArguments(told, None), None)
        self.assertEqual(type(value)(**{name: read[name] for name in told if name not in others}), value)

    def test_facts_of_a_session(self) -> None:
        """With all of them, and with none of those that may be missing."""
        others = {"session": "0" * 16, "ticket": bytes(32), "deadline": 20}
        whole = SessionFacts(
            peer="[2001:db8::7]:40112",
            partner="Müller & Söhne",
            profile=Profile.STRICT,
            tls=PartnerTls.TLS_1_3,
            certificate_sha256="a" * 64,
            code="O0013005025" + "X" * 14,
            level=Level.OFTP_1_4,
        )
        for facts in (whole, SessionFacts(peer="unknown")):
            self.crosses(OpenInbound, facts, **others)

    def test_wish_for_a_call(self) -> None:
        """With all that it can say, and for a trial."""
        others = {"session": "0" * 16, "partner": "ACME", "deadline": 20}
        whole = CallWish(way=Way.CONNECT, caller="10.0.0.9:51044", host="mail.example", port=25)
        for wish in (whole, CallWish(way=Way.TRIAL)):
            self.crosses(OpenOutbound, wish, **others)

    def test_every_field_has_a_name_on_the_wire(self) -> None:
        """A fact that is added to a class cannot be forgotten on its way."""
        for command, kind in ((OpenInbound, SessionFacts), (OpenOutbound, CallWish)):
            names = {name.decode("ascii") for name, _ in command.arguments}
            self.assertEqual(set(attrs.fields_dict(kind)) - names, set())

    def test_code_of_a_newer_version(self) -> None:
        """A code that is not known here is taken for what stands in its place; where nothing may, it is refused."""
        self.assertIs(Choice(SomeWord, SomeWord.OTHER).fromString(b"brand_new"), SomeWord.OTHER)
        self.assertRaises(ValueError, Choice(SomeWord).fromString, b"brand_new")
        told = {b"state": b"postponed", b"held": b"3"}
        self.assertEqual(Configure.parseResponse(told, None), {"state": GenerationState.OLD, "held": 3, "store": None})
