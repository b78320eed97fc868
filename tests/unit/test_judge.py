"""``smartproxy judge``: what it prints of a recording, and how it ends."""

import io
import json
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.commands import EFID, ESID, SFPA, Command
from smartproxy.oftp2.stream import SSRM_BUFFER, frame
from smartproxy.tap.commands.console import CommandFailed
from smartproxy.tap.commands.recordings import judge
from tests.unit.samples import STATION, eerp, sfid, ssid

SESSION: list[tuple[str, Command | bytes]] = [
    ("r2i", SSRM_BUFFER[4:]),
    ("i2r", ssid(pswd="CANARY")),
    ("r2i", ssid(STATION)),
    ("i2r", sfid(dsn="orders.1")),
    ("r2i", SFPA(acnt=0)),
    ("i2r", b"D\x82ab"),
    ("i2r", EFID(rcnt=0, ucnt=2)),
    ("i2r", ESID(reas=99, reast="\x1b[31mred\u202e")),
]


def recording(reads: list[tuple[str, Command | bytes]], **members: object) -> str:
    """Return reads as JSON lines."""
    lines = []
    for direction, command in reads:
        octets = frame(command if isinstance(command, bytes) else encode(command))
        lines.append(json.dumps({"t": 1.5, "dir": direction, "hex": octets.hex(), **members}) + "\n")
    return "".join(lines)


class JudgeTests(SynchronousTestCase):
    """A recording in, lines and an exit status out."""

    def judged(self, text: str | bytes, profile: str = "default", as_json: bool = False) -> tuple[int, str]:
        """Judge a recording; return the exit status and what was printed."""
        path = Path(self.mktemp())
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        out = io.StringIO()
        return judge(str(path), profile=profile, as_json=as_json, out=out), out.getvalue()

    def documents(self, text: str, profile: str = "default") -> tuple[int, list[dict[str, Any]]]:
        """Judge a recording; return the exit status and the JSON documents."""
        status, printed = self.judged(text, profile, as_json=True)
        return status, [json.loads(line) for line in printed.splitlines()]

    def test_reader_gone(self) -> None:
        """A reader of the output who has seen enough, such as head, is not taken for a recording that is unreadable."""

        class Closed(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError(32, "Broken pipe")

        path = Path(self.mktemp())
        path.write_text(recording(SESSION))
        with self.assertRaises(BrokenPipeError):
            judge(str(path), profile="default", as_json=False, out=Closed())

    def test_one_line_per_command(self) -> None:
        """Each command is a line with its sender, its name, the state it led to and its fields."""
        status, printed = self.judged(recording(SESSION))
        self.assertEqual(status, 0)
        lines = printed.splitlines()
        commands = [line.split()[:3] for line in lines if line[:2] in ("I ", "R ")]
        self.assertEqual(
            commands,
            [
                ["R", "SSRM", "AWAIT_I_SSID"],
                ["I", "SSID", "AWAIT_R_SSID"],
                ["R", "SSID", "IDLE"],
                ["I", "SFID", "OPENING"],
                ["R", "SFPA", "SENDING"],
                ["I", "DATA", "SENDING"],
                ["I", "EFID", "CLOSING"],
                ["I", "ESID", "ENDING"],
            ],
        )
        self.assertIn("SSIDCODE='O0099PARTNER' SSIDPSWD='***' SSIDSDEB=2048", printed)
        self.assertIn("I DATA SENDING      4 octets", lines)
        self.assertIn("  anomaly 8: SFIDDSN: the dataset name", printed)
        self.assertIn("[field.alphanumeric, RFC 5024 section 5.3.3]", printed)
        self.assertEqual(lines[-1], "Verdict: nothing is wrong; state ENDING")

    def test_nothing_of_the_peer_acts_on_the_terminal(self) -> None:
        """Controls and direction marks are escaped, secrets are not printed, in both forms."""
        for as_json in (False, True):
            _, printed = self.judged(recording(SESSION), as_json=as_json)
            self.assertNotIn("CANARY", printed)
            self.assertNotIn("\x1b", printed)
            self.assertNotIn("\u202e", printed)

    def test_violation(self) -> None:
        """A violation is named with rule, section, place and the answer it would get; the status is 1."""
        status, printed = self.judged(recording(SESSION), profile="strict")
        self.assertEqual(status, 1)
        self.assertIn("I VIOLATION in IDLE: SFIDDSN is not what section 5.3.3 allows here\n", printed)
        self.assertIn("  [field.alphanumeric, RFC 5024 section 5.3.3]\n", printed)
        self.assertIn("  at octet 70 of this direction; the proxy would answer ESID 06 Command contained", printed)
        self.assertEqual(printed.count("VIOLATION"), 1)
        self.assertIn("Verdict: a violation; state IDLE", printed)

    def test_json(self) -> None:
        """Scripts get one document per command, per violation and at the end."""
        status, documents = self.documents(recording(SESSION))
        self.assertEqual((status, len(documents)), (0, 9))
        self.assertEqual(documents[3]["fields"]["SFIDDSN"], "orders.1")
        self.assertEqual(documents[3]["anomalies"][0]["number"], 8)
        self.assertEqual((documents[5]["command"], documents[5]["length"]), ("DATA", 4))
        self.assertEqual(documents[-1]["summary"]["I"]["buffers"], 5)
        self.assertIs(documents[-1]["violated"], False)
        status, documents = self.documents(recording(SESSION), "strict")
        self.assertEqual((status, documents[-1]["violated"]), (1, True))
        violation = documents[-2]
        self.assertEqual(
            (violation["violation"], violation["octet"], violation["reason"]), ("field.alphanumeric", 70, 6)
        )

    def test_octets_as_hexadecimal(self) -> None:
        """Binary fields are printed in hexadecimal, cut short."""
        reads: list[tuple[str, Command | bytes]] = [
            *SESSION[:3],
            ("i2r", eerp(hsh=bytes(range(20)), sig=b"\xfe" * 500)),
        ]
        _, printed = self.judged(recording(reads))
        self.assertIn("EERPHSHL=20 EERPHSH=000102030405060708090a0b0c0d0e0f10111213 EERPSIGL=500 EERPSIG=fefe", printed)
        self.assertNotIn("fe" * 45, printed)
        _, documents = self.documents(recording(reads))
        self.assertEqual(documents[3]["fields"]["EERPSIG"], "fe" * 500)

    def test_several_connections(self) -> None:
        """Each connection of a trace is a session of its own; a violation in one does not hide the others."""
        first = recording(SESSION[:3], c=1)
        second = recording([*SESSION[:1], ("i2r", b"Z"), ("i2r", b"Z")], c=2)
        status, printed = self.judged(second + first)
        self.assertEqual(status, 1)
        self.assertEqual(printed.count("VIOLATION"), 1)
        self.assertIn("2: Verdict: a violation; state AWAIT_I_SSID\n", printed)
        self.assertIn("1: Verdict: nothing is wrong; state IDLE\n", printed)

    def test_standard_input(self) -> None:
        """``-`` reads standard input."""
        self.patch(sys, "stdin", io.StringIO(recording(SESSION)))
        out = io.StringIO()
        self.assertEqual(judge("-", profile="default", as_json=False, out=out), 0)
        self.assertIn("nothing is wrong", out.getvalue())

    def test_byte_order_mark(self) -> None:
        """A byte order mark at the beginning is no fault, in a file and on standard input."""
        text = "\ufeff" + recording(SESSION)
        self.assertEqual(self.judged(text)[0], 0)
        self.patch(sys, "stdin", io.StringIO(text))
        self.assertEqual(judge("-", profile="default", as_json=False, out=io.StringIO()), 0)

    def test_output_is_full(self) -> None:
        """An output that cannot be written is not taken for a recording that cannot be read."""

        class Full(io.StringIO):
            def write(self, text: str) -> int:
                raise OSError(28, "No space left on device")

        path = Path(self.mktemp())
        path.write_text(recording(SESSION))
        self.assertRaises(OSError, judge, str(path), profile="default", as_json=False, out=Full())

    def test_blank_lines_and_ends(self) -> None:
        """Blank lines and reads without octets are nothing."""
        text = recording(SESSION[:2]) + '\n  \n{"dir": "i2r", "hex": ""}\n' + recording(SESSION[2:])
        self.assertEqual(self.judged(text)[0], 0)

    def test_what_is_no_recording(self) -> None:
        """What cannot be read is said with its line, and what would be right."""
        good = recording(SESSION[:1])
        for bad in (
            "no json",
            "[]",
            "7",
            '{"dir": "i2r"}',
            '{"dir": "both", "hex": ""}',
            '{"dir": [], "hex": ""}',
            '{"dir": "i2r", "hex": "0"}',
            '{"dir": "i2r", "hex": 7}',
            '{"dir": "r2i", "data": {"buffers": "x"}}',
            '{"dir": "r2i", "data": {"buffers": Infinity}}',
            '{"dir": "r2i", "data": {"buffers": 1, "credits": null}}',
            '{"dir": "r2i", "data": {"buffers": 1.5}}',
            '{"dir": "r2i", "data": {"buffers": true}}',
            f'{{"dir": "r2i", "data": {{"buffers": 1{"0" * 30}, "octets": 5}}}}',
            '{"dir": "r2i", "data": {"buffers": 1, "octets": -5}}',
            '{"dir": "r2i", "data": null}',
            "[" * 100000,
        ):
            error = self.assertRaises(CommandFailed, self.judged, good + bad + "\n")
            self.assertIn("line 2: not a recorded read; expected", str(error))
            self.assertEqual(error.status, 2)
        error = self.assertRaises(CommandFailed, self.judged, b"\xff\xfe\n")
        self.assertIn("line 1: not a recorded read", str(error))

    def test_no_recording_at_all(self) -> None:
        """An empty file and a missing one are failures, not good sessions."""
        error = self.assertRaises(CommandFailed, self.judged, "")
        self.assertIn("holds no recorded data", str(error))
        self.assertEqual(error.status, 2)
        missing = self.mktemp()
        error = self.assertRaises(CommandFailed, judge, missing, profile="default", as_json=False, out=io.StringIO())
        self.assertEqual(str(error), f"cannot read {missing}: No such file or directory")
        self.assertEqual(error.status, 2)
