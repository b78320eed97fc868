"""The fixed vocabulary and its direction table."""

from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.tunnel.boxes import Facts, Number, Octets, Record, Records, Text, line
from smartproxy.tunnel.vocabulary import ALLOWED, COMMANDS, Phase, Side

# As the design has it, read off by hand.
TABLE = """
client/before Hello: Hello
client/ready: Configure OpenOutbound CloseSession SetLevel Drain Ping
client/draining: CloseSession Ping
server/before Hello:
server/ready: OpenInbound SessionEnded Report SeenCrlUrl Ping
server/draining: SessionEnded Report Ping
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
        self.assertEqual(set(ALLOWED), {(side, phase) for side in Side for phase in Phase})

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


class ArgumentTests(SynchronousTestCase):
    """Every kind of value has one form."""

    def test_round_trips(self) -> None:
        """What is written is what is read."""
        pairs: list[tuple[amp.Argument, object]] = [
            (Number(), 0),
            (Number(), 2**63 - 1),
            (Octets(3), b"abc"),
            (Octets(3, 0), b""),
            (Text(5), "äöü€"),
            (Text(5), ""),
            (Facts(), {"code": "O0013 'x'", "ü": "\n"}),
            (Record(), {"a": [1, 2.5, None, True, {"b": "c"}]}),
        ]
        for argument, value in pairs:
            self.assertEqual(argument.fromString(argument.toString(value)), value)
        events = [{"name": "a", "text": "line\nbreak"}, {"name": "b"}]
        records = Records()
        self.assertEqual(records.fromString(records.toString([line(event) for event in events])), events)

    def test_other_forms_are_refused(self) -> None:
        """Anything but the one form is a ValueError, on the way in."""
        deep = b'{"a":' + b"[" * 40_000 + b"]" * 40_000 + b"}"
        wrong: list[tuple[amp.Argument, list[bytes]]] = [
            (Number(), [b"", b"-1", b"+1", b"1 ", b"01", b"1_0", b"1e3", b"\xd9\xa1", b"9" * 19, b"9" * 5_000]),
            (Octets(3), [b"", b"ab", b"abcd"]),
            (Text(3), [b"abcd", b"a\n", b"\x1b", b"\xff", "a\u2028".encode(), "\u202e".encode()]),
            (Facts(), [b"", b"[]", b'{"a":1}', b'{"a":null}', b"{", b"\xff", deep, b'"x"']),
            (Record(), [b"", b"[]", b"1", b'{"a":NaN}', b'{"a":Infinity}', deep, b'{"a":' + b"9" * 5_000 + b"}"]),
            (Records(), [b"", b"{}\n", b"{}\n[]", b"{}\n\n{}"]),
        ]
        for argument, forms in wrong:
            for form in forms:
                self.assertRaises(ValueError, argument.fromString, form)

    def test_what_does_not_fit_is_not_sent(self) -> None:
        """Values out of bounds are refused before they are on the wire."""
        self.assertRaises(ValueError, Number().toString, -1)
        self.assertRaises(ValueError, Number().toString, 2**63)
        self.assertRaises(ValueError, Octets(3).toString, b"ab")
        self.assertRaises(ValueError, Text(3).toString, "abcd")
        self.assertRaises(ValueError, Record().toString, {"a": "x" * 70_000})
        self.assertRaises(ValueError, Record().toString, {"a": float("nan")})
