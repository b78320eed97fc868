"""The record of a session: who said what when, without content and secrets, in bounds; and what is made of it."""

import gc
import io
import json
import random
import zlib
from datetime import UTC, datetime
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import ladders
from smartproxy.backend.journal import StoredEvent
from smartproxy.logs.fields import Value
from smartproxy.logs.render import escape
from smartproxy.logs.severity import Severity
from smartproxy.oftp2 import codec
from smartproxy.oftp2.commands import BY_NAME, EERP, SFNA
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Level
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.causes import Cause
from smartproxy.policy.packed_record import pack, unpack
from smartproxy.policy.session_record import (
    DATA,
    PACKED_MOST,
    STEPS_FIRST,
    STEPS_LAST,
    Facts,
    RecordedStep,
    SessionRecord,
)
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.relay.events import Arrived, LegOpened, Lost
from smartproxy.relay.intents import Done
from smartproxy.relay.recorder import Recorder
from smartproxy.relay.reports import plain
from smartproxy.relay.session import Session
from smartproxy.tap.commands.recordings import judge
from tests.unit.playbook import (
    CD_,
    CDT_,
    CODE,
    EERP_,
    EFID_5,
    EFPA_N,
    INITIATOR,
    PARTNER_SSID,
    RESPONDER,
    SFPA_0,
    STATION_SSID,
    client,
    data,
    esid,
    framed,
    sfid,
)
from tests.unit.test_session_list import record_document

RTR_ = b"\x10\x00\x00\x05P"


class Recorded(SynchronousTestCase):
    """A session of the client that is recorded, on a clock of the test."""

    def setUp(self) -> None:
        """Come to where the station has greeted."""
        self.now = 100.0
        self.session: Session = client()
        session = self.session
        session.recorder = Recorder(session.session, session._opening, session._monitor, lambda: self.now)
        session.start()
        session.receive(LegOpened(RESPONDER))
        self.done: Done | None = None
        self.say((0.004, RESPONDER, SSRM_BUFFER), (0.001, INITIATOR, PARTNER_SSID), (0.002, RESPONDER, STATION_SSID))

    def say(self, *said: tuple[float, object, bytes]) -> None:
        """Octets arrive, each so many seconds after the ones before."""
        for seconds, role, octets in said:
            self.now += seconds
            for intent in self.session.receive(Arrived(role, octets)):  # type: ignore[arg-type]  # a role
                if isinstance(intent, Done):
                    self.done = intent

    def end(self, reason: EsidReason = EsidReason.NORMAL, by: object = INITIATOR) -> SessionRecord:
        """A side ends the session, and its record is made, packed and unpacked."""
        self.say((0.5, by, esid(reason)))
        return self.over()

    def over(self) -> SessionRecord:
        """Both connections go away."""
        for role in (INITIATOR, RESPONDER):
            for intent in self.session.receive(Lost(role, "closed")):
                if isinstance(intent, Done):
                    self.done = intent
        assert self.done is not None and self.session.recorder is not None
        return unpack(pack(self.session.recorder.document(self.done.summary, "2026-11-20T12:00:00.000Z")))

    def file(self, windows: int = 1) -> None:
        """The partner sends a file of 5 octets in each DATA, three DATA in a window."""
        self.say((0.01, INITIATOR, sfid()), (0.012, RESPONDER, SFPA_0))
        for _ in range(windows - 1):
            self.say((0.1, INITIATOR, data() * 3), (0.1, RESPONDER, CDT_))
        self.say((0.1, INITIATOR, data() + EFID_5 if windows == 1 else data()))

    def test_a_file(self) -> None:
        """Every command with its sender, its time in milliseconds and its fields; DATA as counts."""
        self.file()
        self.say((0.02, RESPONDER, EFPA_N), (0, INITIATOR, CD_), (2.1, RESPONDER, EERP_), (0.01, INITIATOR, RTR_))
        self.say((0, RESPONDER, CD_))
        record = self.end()
        told = [(step.by, step.command) for step in record.steps]
        self.assertEqual(
            told,
            [
                ("station", "SSRM"),
                ("partner", "SSID"),
                ("station", "SSID"),
                ("partner", "SFID"),
                ("station", "SFPA"),
                ("partner", "DATA"),
                ("partner", "EFID"),
                ("station", "EFPA"),
                ("partner", "CD"),
                ("station", "EERP"),
                ("partner", "RTR"),
                ("station", "CD"),
                ("partner", "ESID"),
            ],
        )
        self.assertEqual([step.at for step in record.steps[:6]], [4, 5, 7, 17, 29, 129])
        self.assertEqual(record.steps[5].fields, {"buffers": 1, "octets": 5, "credits": 0})
        self.assertEqual((record.steps[1].fields["SSIDCODE"], record.steps[1].fields["SSIDPSWD"]), (CODE, "***"))
        self.assertEqual((record.setup, record.lasted, record.initiator), (7, 2759, "partner"))
        self.assertEqual((record.outcome, record.cause, record.left_out), ("completed", "session.completed", 0))
        assert record.agreed is not None
        self.assertEqual(record.agreed["credit"], 3)

    def test_windows(self) -> None:
        """Set Credit is counted with the DATA that it lets through, and is no step of its own."""
        self.file(windows=4)
        record = self.end(EsidReason.UNSPECIFIED_ABORT)
        steps = [step for step in record.steps if step.command in ("DATA", "CDT")]
        self.assertEqual([step.fields for step in steps], [{"buffers": 10, "octets": 50, "credits": 3}])

    def test_text_of_a_peer(self) -> None:
        """A text that could act on its reader is written out in the record, which the backend takes therefore."""
        self.say((0.01, INITIATOR, sfid()), (0.01, RESPONDER, framed(SFNA(reas=99, rrtr="N", reast="no\nroom \u202e"))))
        said = self.end().steps[4].fields
        self.assertEqual(said["SFNAREAST"], "no\\nroom \\u202e")

    def test_traced(self) -> None:
        """Where each DATA is told to the log, it is counted once all the same."""
        self.session.reporter.ask(lambda name, session, partner: True)
        self.file()
        self.say((0, RESPONDER, EFPA_N))
        record = self.end(EsidReason.UNSPECIFIED_ABORT)
        self.assertEqual([step.fields["buffers"] for step in record.steps if step.command == "DATA"], [1])

    def test_lost_in_a_file(self) -> None:
        """DATA before the end is counted although no command followed."""
        self.file(windows=2)
        record = self.over()
        self.assertEqual((record.steps[-1].command, record.steps[-1].fields["buffers"]), ("DATA", 4))
        self.assertEqual(record.outcome, "lost")
        step = attrs.evolve(record.steps[-1], fields={"buffers": 1200, "octets": 48_965})
        shown = ladders.rungs(attrs.evolve(record, steps=(step,)), ())[0].words
        self.assertEqual(shown, "\N{MULTIPLICATION SIGN} 1 200 \N{MIDDLE DOT} 48 965 B")
        self.assertEqual(escape(shown), shown)

    def test_no_secret(self) -> None:
        """The password is in no record, and in nothing that is made of it."""
        self.file()
        record = self.end(EsidReason.UNSPECIFIED_ABORT)
        lines = list(ladders.recording(record))
        self.assertNotIn("SECRET", repr(record) + "".join(map(repr, ladders.rungs(record, ()))))
        self.assertNotIn(b"SECRET".hex(), "".join(lines))
        self.assertTrue(any(b"MASKED".hex() in line for line in lines))

    def test_held(self) -> None:
        """How long a side was not read because of the other is told, also if that lasted until the end."""
        recorder = self.session.recorder
        assert recorder is not None
        recorder.released(RESPONDER)
        recorder.held(INITIATOR)
        self.now += 3
        recorder.released(INITIATOR)
        recorder.held(RESPONDER)
        self.now += 1
        record = self.over()
        self.assertEqual((record.held_partner, record.held_station), (3000, 1000))

    def test_bounds(self) -> None:
        """Of a session with more commands the first and the last ones are kept, and the others counted."""
        for number in range(STEPS_FIRST):
            self.say((0.001, INITIATOR, sfid(f"FILE{number}")), (0, RESPONDER, b"\x10\x00\x00\x0b302N000"))
        record = self.end()
        self.assertEqual(len(record.steps), STEPS_FIRST + STEPS_LAST)
        self.assertEqual(len(record.steps) + record.left_out, 3 + 2 * STEPS_FIRST + 1)
        self.assertEqual(record.steps[-1].command, "ESID")
        self.assertLess(len(pack({"steps": [], "left_out": 0})), 100)

    def test_octets_are_not_kept(self) -> None:
        """Signatures of 16 KB are kept by their number only, in the memory as in the record."""
        recorder = self.session.recorder
        assert recorder is not None
        for number in range(STEPS_FIRST + STEPS_LAST):
            response = EERP(
                dsn=f"FILE{number}",
                date=20261120,
                time=1215300001,
                dest=CODE,
                orig="O0013000002ME",
                hsh=bytes(20),
                sig=bytes(16_000),
            )
            self.say((0, INITIATOR, framed(response)), (0, RESPONDER, RTR_))
        kept: list[object] = [recorder._first, recorder._last]
        seen: set[int] = set()
        held: list[int] = []
        while kept:
            each = kept.pop()
            if id(each) not in seen and not isinstance(each, type):
                seen.add(id(each))
                held += [len(each)] if isinstance(each, bytes) else []
                kept += gc.get_referents(each)
        self.assertEqual([length for length in held if length > 64], [])
        fields = self.end().steps[3].fields
        self.assertEqual((fields["EERPHSHL"], fields["EERPSIGL"], fields["EERPSIG"]), (20, 16_000, "16000 octets"))

    def test_recording(self) -> None:
        """A recording of it is judged as the session was: nothing is wrong, the counts are right, and it says so."""
        self.file(windows=4)
        self.say(
            (0, INITIATOR, b"\x10\x00\x00\x27T" + b"0" * 17 + b"50".rjust(17, b"0")),
            (0, RESPONDER, EFPA_N),
            (0, INITIATOR, CD_),
        )
        record = self.end(by=RESPONDER)
        path = Path(self.mktemp())
        path.write_text("\n".join(ladders.recording(record)))
        out = io.StringIO()
        self.assertEqual(judge(str(path), profile="strict", as_json=False, out=out), 0, out.getvalue())
        self.assertIn("zeros were judged in its place", out.getvalue())
        self.assertIn("Initiator: ", out.getvalue())
        self.assertIn("1 files confirmed", out.getvalue())
        out = io.StringIO()
        self.assertEqual(judge(str(path), profile="default", as_json=True, out=out), 0)
        summary = json.loads(out.getvalue().splitlines()[-1])
        self.assertTrue(summary["filled"])
        self.assertEqual(summary["summary"]["I"]["buffers"] - summary["summary"]["I"]["commands"], 10)


class Packed(SynchronousTestCase):
    """What is taken as a record, and what is not."""

    def test_refused(self) -> None:
        """What is no packed record, or has another form, is refused; so is one that unpacks to too much."""
        for octets in (b"", b"x", b"not compressed", pack({"steps": [], "left_out": 0})):
            self.assertRaises(DocumentRefused, unpack, octets)
        self.assertRaises(DocumentRefused, unpack, pack({"steps": [], "left_out": 0, "x": "0" * 10_000_000}))

    def test_facts(self) -> None:
        """Fields are texts and whole numbers by names, in bounds, and not too many."""
        kind, facts = Facts(), {"a": "b", "c_1": 1, "d": True, "E": "", "f": "x" * 1000, "g": 2**63 - 1, "SSIDCR": "\r"}
        self.assertEqual(kind.write(kind.read(facts, "x")), facts)
        refused: tuple[object, ...] = (
            [],
            {"a": None},
            {"a": {}},
            {"a": 1.5},
            {"a": -1},
            {"a": 2**63},
            {"a": "x" * 1001},
            {"a": "\x1b[2J"},
            {"a": "\u202e"},
            {"a": "\ud800"},
            {"": 1},
            {"1": 1},
            {"a b": 1},
            {"\x1b": 1},
            {"x" * 33: 1},
            {f"a{number}": 1 for number in range(100)},
        )
        for wrong in refused:
            self.assertRaises(DocumentRefused, kind.read, wrong, "x")

    def test_too_long(self) -> None:
        """Of a record that is too long, commands in the middle are left out, and counted."""
        chance = random.Random(1)
        steps = [{"at": number, "by": "partner", "fields": {"x": chance.randbytes(400).hex()}} for number in range(500)]
        packed = pack({"steps": steps, "left_out": 7})
        self.assertLessEqual(len(packed), PACKED_MOST)
        kept = json.loads(zlib.decompress(packed))
        self.assertEqual(kept["steps"][0]["at"], 0)
        self.assertEqual([each["at"] for each in kept["steps"][-STEPS_LAST:]], list(range(480, 500)))
        self.assertEqual(kept["left_out"] + len(kept["steps"]), 507)
        self.assertGreater(kept["left_out"], 7)

    def test_odd_fields(self) -> None:
        """Whatever stands in the fields of a command, a ladder is shown and a recording is made of it."""
        odd: tuple[str | int, ...] = (
            *("", "x", "***", "5", "-1", "\ud800", "\x1b", "y" * 2000, "7 octets", "99999 octets", f"{10**15} octets"),
            *(0, 1, -1, 5, 99, 2**63, True),
        )
        record = unpack(pack(record_document()))
        for command in (*BY_NAME, DATA, "XXXX"):
            kind = BY_NAME.get(command)
            names = [shown for _, shown, _ in kind.SHOWN] if kind else ["buffers", "octets", "credits"]
            all_odd = [dict.fromkeys(names, value) for value in odd]
            for fields in (*all_odd, {}, *({name: value} for name in names for value in odd)):
                step = RecordedStep(at=1, by="partner", command=command, fields=fields)
                told = attrs.evolve(record, steps=(step, step))
                self.assertEqual(len(ladders.rungs(told, ())), 2)
                self.assertEqual(len(list(ladders.recording(told))), 3)

    def test_octets(self) -> None:
        """Octets that were not kept are zeros in the recording, as many as the field in front of them says."""

        def signed(hsh: bytes, sig: bytes) -> EERP:
            return EERP(dsn="X", date=20261120, time=1200000000, dest="O1", orig="O2", hsh=hsh, sig=sig)

        shown = signed(b"h" * 20, b"s" * 300).shown()
        fields: dict[str, str | int] = {name: plain(value) or "" for name, value in shown.items()}
        fields |= {"EERPHSH": "a text for people", "EERPSIG": "another"}
        step = RecordedStep(at=1, by="partner", command="EERP", fields=fields)
        line = list(ladders.recording(attrs.evolve(unpack(pack(record_document())), steps=(step,))))[1]
        made = codec.decode(bytes.fromhex(json.loads(line)["hex"])[4:], Level.OFTP_2_0)
        self.assertEqual(made, signed(bytes(20), bytes(300)))

    def test_refused_station(self) -> None:
        """The station's SSID came to the proxy only where the server refused it; an answer of the partner's came on."""

        def refused(cause: str) -> list[StoredEvent]:
            fields: dict[str, Value] = {"cause": cause, "code": "O0013000002ME", "told_station": "ESID 12"}
            return [
                StoredEvent(
                    number=1,
                    time=datetime(2026, 11, 20, tzinfo=UTC),
                    level=Severity.ERROR,
                    name="identity.refused",
                    source="server",
                    fields=fields,
                )
            ]

        document = record_document(initiator="station")
        greeting, ssid = document["steps"]
        steps = [{**greeting, "by": "partner"}, {**ssid, "by": "station"}]
        record = unpack(pack({**document, "steps": steps}))
        for cause, to in (
            (Cause.IDENTITY_STATION_AUTHENTICATION, "proxy"),
            (Cause.IDENTITY_STATION_LEVEL, "proxy"),
            (Cause.IDENTITY_CODE, "partner"),
        ):
            found = ladders.rungs(record, refused(cause))
            self.assertEqual([(each.by, each.to) for each in found[:2]], [("partner", "station"), ("station", to)])
        told = [(each.by, each.to, each.command) for each in found[2:]]
        self.assertEqual(told, [("proxy", "station", "ESID")])
        told = [(each.by, each.to, each.command) for each in ladders.rungs(None, refused(Cause.IDENTITY_STATION_LEVEL))]
        self.assertEqual(told, [("proxy", "station", "ESID")])

    def test_ladder_without_a_record(self) -> None:
        """A step that the codec does not know is a note in the recording, and is shown as it is."""
        step = RecordedStep(at=1, by="partner", command="XXXX", fields={})
        record = unpack(
            pack(
                {
                    "session": "0123456789abcdef",
                    "partner": None,
                    "peer": "192.0.2.7:1",
                    "began": "2026-11-20T12:00:00.000Z",
                    "initiator": "partner",
                    "lasted": 1,
                    "setup": None,
                    "outcome": "lost",
                    "cause": "leg.lost",
                    "agreed": None,
                    "held_partner": 0,
                    "held_station": 0,
                    "steps": [{"at": 1, "by": "partner", "command": "XXXX", "fields": {}}],
                    "left_out": 0,
                }
            )
        )
        self.assertEqual(record.steps, (step,))
        self.assertIn("XXXX cannot be written", list(ladders.recording(record))[1])
        self.assertEqual(ladders.rungs(record, ())[0].command, "XXXX")
