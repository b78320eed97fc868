"""The demonstration's verdicts: a line that is not as it should be says so."""

import hashlib
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.errors import EsidReason
from smartproxy.testing.demo import attacks
from smartproxy.testing.demo.attacks import Attack, Attempt, station_saw
from smartproxy.testing.demo.files import one_of_each, real_text, write
from smartproxy.testing.demo.operations import judged
from smartproxy.testing.demo.partners import DemoPartner
from smartproxy.testing.demo.transfers import DemoEnds, DemoTransfer, compare
from smartproxy.testing.hostile import Attacker, Seen
from smartproxy.testing.pki import CredentialFiles
from smartproxy.testing.virtual_file import Format

OCTETS = b"some octets"


class TransferTests(SynchronousTestCase):
    """Lines of the table of files."""

    def setUp(self) -> None:
        """Make a file, and the records of its transfer as both ends print them."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.file = write(self.folder, "ORDER", OCTETS, Format.TEXT)
        self.arrived = self.folder / "arrived"
        self.arrived.write_bytes(OCTETS)
        digest = hashlib.sha256(OCTETS).hexdigest()
        identity = {"dataset": "ORDER"}
        self.sender: list[dict[str, Any]] = [
            {"event": "FileStarted", "identity": identity, "sending": True, "from_position": 0, "time": 1.0},
            {"event": "FileSent", "identity": identity, "sha256": digest, "time": 3.0},
            {"event": "EndResponseReceived", "identity": identity, "kind": "EERP", "reason": 0, "text": ""},
            {"event": "Closed", "tls": "TLSv1.3"},
        ]
        self.receiver: list[dict[str, Any]] = [
            {"event": "FileReceived", "identity": identity, "sha256": digest, "path": str(self.arrived)}
        ]

    def compared(self, response: str = "EERP") -> DemoTransfer:
        """The line about the file."""
        return compare(
            DemoEnds(self.sender, self.receiver), self.file, partner="ACME", outgoing=False, response=response
        )

    def test_right(self) -> None:
        """A file that arrived as it left, and was answered as it should be, makes a line without a fault."""
        line = self.compared()
        self.assertEqual(line.faults, ())
        self.assertEqual(line.cells(), ["ACME", "ORDER", "to station", "T", "11", "-", "TLSv1.3", "equal, EERP"])

    def test_speed(self) -> None:
        """The speed of a large file is what was transferred by the time it took; a restarted one carried less."""
        self.file = attrs.evolve(self.file, octets=8_000_000)
        self.assertEqual(self.compared().speed, 4.0)
        self.sender[0]["from_position"] = 4_000_000 // 1024
        self.assertAlmostEqual(self.compared().speed or 0, 2.0, places=3)

    def test_other_octets(self) -> None:
        """Octets that differ on disk, or in what an end says of them, are a fault."""
        self.arrived.write_bytes(OCTETS[:-1])
        self.assertEqual(self.compared().faults, ("the two ends hold different octets",))
        self.arrived.write_bytes(OCTETS)
        self.receiver[0]["sha256"] = "00"
        self.assertIn("WRONG: the two ends hold different octets", self.compared().cells())

    def test_what_is_missing(self) -> None:
        """A file that was not sent, not received or not answered is a fault, and so is the other answer."""
        answer = self.sender.pop(2)
        self.assertEqual(self.compared().faults, ("EERP expected, nothing came",))
        self.sender.append({**answer, "kind": "NERP", "reason": 34, "text": "no"})
        self.assertEqual(self.compared().faults, ("EERP expected, NERP came",))
        self.assertEqual(self.compared("NERP").result, "equal, NERP 34 no")
        self.receiver.clear()
        self.assertEqual(self.compared("NERP").faults, ("not received",))
        self.sender.clear()
        self.assertEqual(self.compared("NERP").faults, ("not sent", "NERP expected, nothing came"))


class AttackTests(SynchronousTestCase):
    """Lines of the table of attacks."""

    def attempt(self, event: dict[str, Any] | None, faults: list[str]) -> Attempt:
        """An attack that was made."""

        def run(_attacker: Attacker) -> Deferred[Seen]:
            return succeed(seen)

        files = CredentialFiles(certificate=Path("x"), key=Path("x"))
        seen = Seen(
            address="127.0.0.1:1",
            tls=None,
            alert=None,
            reason=EsidReason.PROTOCOL_VIOLATION,
            text="no",
            heard=(),
            cause="",
        )
        attack = Attack(
            name="attack",
            run=run,
            partner=DemoPartner(name="ACME", code="X", files=files, tls="1.3"),
            credential=files,
            saw=EsidReason.PROTOCOL_VIOLATION,
            event="session.violation",
            check="state.command",
        )
        return Attempt(attack=attack, seen=seen, station="nothing", faults=faults, event=event)

    def test_right(self) -> None:
        """The cause is told with rule and section."""
        event = {"rule": "state.command", "section": "9", "message": "SFID too early"}
        made = self.attempt(event, [])
        self.assertEqual(made.wrong, [])
        self.assertEqual(made.cells(), ["attack", "ESID 02 no", "nothing"])
        self.assertEqual(made.cause(), "session.violation: SFID too early [state.command, RFC 5024 9]")

    def test_wrong(self) -> None:
        """No event, another rule, or anything else that is not as it should be, is said in the line."""
        self.assertEqual(self.attempt(None, []).cause(), "WRONG: no event session.violation")
        self.assertIn("does not name state.command", self.attempt({"rule": "length.header"}, []).cause())
        self.assertEqual(self.attempt({"rule": "state.command"}, ["bad"]).cause(), "WRONG: bad")

    def test_what_the_station_saw(self) -> None:
        """A connection where there should be none, missing or surplus octets, another ESID: each is a fault."""
        broken = {"event": "FileBroken", "octets": 10}
        ended = {"event": "SessionOver", "reason": 99}
        for records, octets, right in (
            ([], None, True),
            ([{"event": "Opened"}], None, False),
            ([broken, ended], 10, True),
            ([broken, ended], 15, False),
            ([broken, {**ended, "reason": 0}], 10, False),
            ([ended], 10, False),
            ([], 10, False),
        ):
            words, faults = station_saw(records, octets)
            self.assertEqual(not faults, right, (records, octets))
            self.assertEqual(words.startswith("nothing"), records == [] or octets is not None)

    def test_causes_of_certificates(self) -> None:
        """Dates of certificates and lists stand in the line."""
        expired = {"message": "it has expired", "cause": "certificate.expired", "not_after": "2026-11-19"}
        self.assertEqual(attacks.cause_of(expired), "it has expired: 2026-11-19")
        revoked = {
            "message": "it is revoked",
            "cause": "certificate.revoked",
            "list": "CN=CA",
            "this_update": "2026-11-20",
        }
        self.assertEqual(attacks.cause_of(revoked), "it is revoked: list of CN=CA of 2026-11-20")
        self.assertEqual(attacks.cause_of({"cause": "none"}), "none")


class OperationTests(SynchronousTestCase):
    """Lines of the table of operations."""

    def test_right(self) -> None:
        """A line whose counts are as they have to be shows them and has no fault."""
        line = judged("drain", "4 of 4", {"sessions": (4, 4), "status": (0, 0)})
        self.assertEqual((line.cells(), line.faults), (["drain", "4 of 4"], ()))

    def test_wrong(self) -> None:
        """Each count that is another is said in the line, with what it should be."""
        line = judged("drain", "3 of 4", {"sessions": (3, 4), "status": (0, 0), "refused": (0, 3)})
        self.assertEqual(line.faults, ("sessions: 3, not 4", "refused: 0, not 3"))
        self.assertEqual(line.cells()[1], "WRONG: sessions: 3, not 4; refused: 0, not 3; 3 of 4")


class FileTests(SynchronousTestCase):
    """What the demonstration sends."""

    def test_sizes_and_formats(self) -> None:
        """There are 0 B, 1 B, 63 B, 5 KB, a real text and 50 MB, in formats U, T, F and V, all of them sound."""
        folder = Path(self.mktemp())
        folder.mkdir()
        files = one_of_each(folder, "X")
        self.assertEqual({file.format for file in files}, set(Format))
        self.assertTrue({0, 1, 63, 5120, 50_000_000} < {file.octets for file in files})
        for file in files:
            self.assertEqual(file.path.stat().st_size, file.octets)
            if file.format is not Format.UNSTRUCTURED:
                self.assertTrue(file.specification(restart=1).startswith(f"{file.path},name={file.dataset},format="))

    def test_text_is_a_text(self) -> None:
        """The text is as RFC 5024 section 1.5.3 has it: ASCII, lines of 2048 characters at most, CR LF behind each."""
        text = real_text()
        self.assertGreater(len(text), 20_000)
        self.assertTrue(text.isascii())
        lines = text.split(b"\r\n")
        self.assertEqual(lines.pop(), b"")
        self.assertTrue(all(len(line) <= 2048 and b"\r" not in line and b"\n" not in line for line in lines))
