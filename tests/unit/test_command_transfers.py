"""``smartproxy transfers``."""

from datetime import UTC, datetime, timedelta
from typing import Any

from smartproxy.backend import journal
from smartproxy.backend.operations.operation import Transaction
from smartproxy.backend.operations.transfer import TransferPart, TransfersWanted, listed
from smartproxy.backend.store import Store
from smartproxy.logs.record import read
from smartproxy.policy.outcomes import TransferOutcome
from tests.unit.commands import CommandCase

NIGHT = datetime(2026, 11, 20, 2, tzinfo=UTC)
INVOICES = {
    "link": "in",
    "dataset": "INVOICES",
    "stamp": "20261120 0200000001",
    "originator": "O0013ACME",
    "destination": "O0013MUSTER",
}
ORDERS = {
    "link": "out",
    "dataset": "ORDERS",
    "stamp": "20261120 0200000002",
    "originator": "O0013MUSTER",
    "destination": "O0013ACME",
}


class Transfers(CommandCase):
    """What was transferred, from stored events."""

    def setUp(self) -> None:
        """A site, and no event yet."""
        super().setUp()
        self.events: list[dict[str, Any]] = []

    def tell(self, name: str, seconds: float, **fields: object) -> None:
        """Note an event of so many seconds after the night's begin."""
        time = (NIGHT + timedelta(seconds=seconds)).isoformat()
        always = {"source": "client", "sequence": 1, "session": "a" * 16, "partner": "ACME"}
        self.events.append({**always, "name": name, "time": time, **fields})

    def transfer(self, file: dict[str, str], begin: float, end: float, outcome: str, **fields: object) -> None:
        """Note the begin and the end of a file."""
        about = {name: fields[name] for name in ("session", "partner", "source") if name in fields}
        self.tell("file.started", begin, **file, **about)
        self.tell("file.ended", end, outcome=outcome, **file, **fields)

    def response(self, command: str, seconds: float, file: dict[str, str], **fields: object) -> None:
        """Note an end response to a file: the other way, to its originator."""
        link = "out" if file["link"] == "in" else "in"
        turned = {"originator": file["destination"], "destination": file["originator"]}
        self.tell("file.response", seconds, **{**file, "link": link, **turned, "command": command, **fields})

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        """The transfers, as JSON; those of the night unless the arguments say otherwise."""
        self.store()
        since = () if "--since" in arguments else ("--since", "2026-11-20")
        found: list[dict[str, Any]] = self.do("transfers", *since, *arguments, "--json").json
        return found

    def store(self) -> None:
        """Store what was noted, in the reverse order: batches arrive as they like."""
        events, self.events = self.events[::-1], []
        store = Store.open(self.location)
        try:
            with store.writing() as session:
                journal.keep(session, [read(each) for each in events], NIGHT, "inner")
        finally:
            store.close()

    def test_received(self) -> None:
        """A file of the partner: octets, rate, outcome, and the station's EERP, that of a later session included."""
        self.transfer(INVOICES, 10, 14.5, "completed", octets=9_000_000)
        self.response("EERP", 3600, INVOICES, session="b" * 16)
        (found,) = self.listed()
        self.assertEqual(
            {key: found[key] for key in ("time", "partner", "direction", "dataset", "octets", "seconds", "rate")},
            {
                "time": "2026-11-20T02:00:14Z",
                "partner": "ACME",
                "direction": "received",
                "dataset": "INVOICES",
                "octets": 9_000_000,
                "seconds": 4.5,
                "rate": 2_000_000,
            },
        )
        self.assertEqual(
            (found["outcome"], found["session"], found["stamp"]), ("completed", "a" * 16, INVOICES["stamp"])
        )
        self.assertEqual(
            found["response"],
            {"command": "EERP", "time": "2026-11-20T03:00:00Z", "answer": None, "reason_text": None},
        )

    def test_sent(self) -> None:
        """A file of the station, with the partner's NERP and its reason."""
        self.transfer(ORDERS, 0, 2, "completed", octets=3000)
        self.response("NERP", 60, ORDERS, originator="O0013CLEARING", answer=13, reason_text="duplicate")
        (found,) = self.listed()
        self.assertEqual((found["direction"], found["rate"]), ("sent", 1500))
        self.assertEqual(found["response"]["command"], "NERP")
        self.assertEqual((found["response"]["answer"], found["response"]["reason_text"]), (13, "duplicate"))

    def test_broken(self) -> None:
        """A file that was lost, or sent whole and not confirmed, has the cause of its session's end."""
        self.transfer(INVOICES, 0, 1, "lost", octets=50)
        self.tell("session.ended", 1, outcome="lost", cause="leg.lost")
        self.tell("session.ended", 2, source="server", outcome="lost", cause="tunnel.lost")
        self.transfer(ORDERS, 20, 21, "unconfirmed", octets=70, session="b" * 16)
        self.tell("session.ended", 21, outcome="expired", cause="deadline.inactivity", session="b" * 16)
        lost, unconfirmed = self.listed()
        self.assertEqual((lost["outcome"], lost["cause"], lost["octets"]), ("lost", "leg.lost", 50))
        self.assertEqual((unconfirmed["outcome"], unconfirmed["cause"]), ("unconfirmed", "deadline.inactivity"))

    def test_refused(self) -> None:
        """A file that was refused at once has the reason, and no rate."""
        self.tell("file.ended", 3, outcome="refused", octets=0, answer=13, reason_text="duplicate", **ORDERS)
        (found,) = self.listed()
        self.assertEqual((found["outcome"], found["answer"], found["reason_text"]), ("refused", 13, "duplicate"))
        self.assertEqual((found["rate"], found["seconds"], found["response"]), (None, None, None))

    def test_running(self) -> None:
        """A file without an end runs; it is lost when the server, or the next file, shows that it is over."""
        self.tell("file.started", 0, **INVOICES)
        self.assertEqual([(each["outcome"], each["rate"]) for each in self.listed()], [("running", None)])
        self.tell("session.ended", 5, source="server", outcome="lost", cause="tunnel.lost")
        self.assertEqual([(each["outcome"], each["cause"]) for each in self.listed()], [("lost", "tunnel.lost")])
        self.transfer(ORDERS, 6, 7, "completed", octets=1)
        self.assertEqual([each["outcome"] for each in self.listed()], ["lost", "completed"])

    def test_once(self) -> None:
        """The server's events of the same session are not counted again."""
        for source in ("client", "server"):
            self.transfer(INVOICES, 0, 1, "completed", octets=5, source=source)
        self.assertEqual(len(self.listed()), 1)

    def test_again(self) -> None:
        """An end response stands at the attempt that it can belong to, and the newest counts."""
        self.transfer(INVOICES, 0, 1, "unconfirmed", octets=5)
        self.transfer(INVOICES, 10, 11, "completed", octets=5, session="b" * 16)
        self.transfer(INVOICES, 20, 21, "refused", octets=0, session="c" * 16)
        self.response("NERP", 30, INVOICES, answer=1)
        self.response("EERP", 31, INVOICES)
        self.assertEqual(
            [each["response"] and each["response"]["command"] for each in self.listed()], [None, "EERP", None]
        )

    def test_others(self) -> None:
        """An end response for another name, stamp, originator or direction, or of another partner, confirms nothing."""
        self.transfer(ORDERS, 0, 1, "completed", octets=5)
        self.response("EERP", 2, {**ORDERS, "dataset": "ORDERS2"})
        self.response("EERP", 2, {**ORDERS, "stamp": "20261120 0200000003"})
        self.response("EERP", 2, {**ORDERS, "originator": "O0013OTHER"})
        self.response("EERP", 2, {**ORDERS, "link": "in"})
        self.response("EERP", 2, ORDERS, partner="BOLT")
        self.response("EERP", -5, ORDERS)
        self.assertEqual([each["response"] for each in self.listed()], [None])

    def test_filters(self) -> None:
        """By partner, outcome and time; a begin before --since still counts for the rate."""
        self.transfer(INVOICES, -10, 10, "completed", octets=200)
        self.transfer(ORDERS, 20, 30, "lost", octets=100, partner="BOLT", session="b" * 16)
        self.assertEqual([each["rate"] for each in self.listed("--since", "2026-11-20T02:00")], [10, 10])
        for arguments, partners in (
            (("--partner", "BOLT"), ["BOLT"]),
            (("--outcome", "completed"), ["ACME"]),
            (("--until", "2026-11-20T02:00:30"), ["ACME"]),
            (("--since", "2026-11-20T02:00:30"), ["BOLT"]),
            (("--since", "2026-11-20T02:00:31"), []),
        ):
            self.assertEqual([each["partner"] for each in self.listed(*arguments)], partners, arguments)
        self.assertIn("did you mean 'lost'?", self.refused("transfers", "--outcome", "lst", status=2))

    def part(self, after: str | None, limit: int = 2, **wanted: Any) -> TransferPart:
        """A part of the transfers of the night, as the administrators' API gives it."""
        self.store()
        store = Store.open(self.location)
        try:
            with store.reading() as session:
                look = Transaction(session=session, now=NIGHT + timedelta(hours=1), by="alice")
                return listed.work(look, TransfersWanted(after=after, limit=limit, **wanted))
        finally:
            store.close()

    def test_parts(self) -> None:
        """Nothing is lost and nothing told twice between two parts, whatever ends meanwhile."""
        files = [{**INVOICES, "dataset": f"FILE{number}"} for number in range(5)]
        self.tell("file.started", 0, **files[0], session="b" * 16)
        for number in (1, 2, 3):
            self.transfer(files[number], number, number + 0.5, "completed", octets=1)
        first = self.part(None)
        self.assertEqual([each.dataset for each in first.items], ["FILE0", "FILE1"])
        self.tell("file.ended", 60, outcome="completed", **files[0], session="b" * 16)
        self.transfer(files[4], 0.5, 0.7, "completed", octets=1, session="c" * 16)
        second = self.part(first.next)
        self.assertEqual([each.dataset for each in second.items], ["FILE2", "FILE3"])
        self.assertIsNone(second.next)
        whole = self.part(None, 10)
        self.assertEqual([each.dataset for each in whole.items], ["FILE4", "FILE1", "FILE2", "FILE3", "FILE0"])

    def test_parts_of_one_time(self) -> None:
        """Transfers that ended at one time are each in one part."""
        for number in range(5):
            self.transfer({**ORDERS, "dataset": f"FILE{number}"}, 1, 2, "completed", octets=1, session=f"{number:016}")
        found: list[str] = []
        part = self.part(None)
        while part.next is not None:
            found += [each.dataset for each in part.items]
            part = self.part(part.next)
        found += [each.dataset for each in part.items]
        self.assertEqual(sorted(found), [f"FILE{number}" for number in range(5)])

    def test_yesterday(self) -> None:
        """Without --since, those of yesterday and today."""
        now = datetime.now(UTC)
        for days in (0, 3):
            time = (now - timedelta(days=days) - NIGHT).total_seconds()
            self.transfer(INVOICES, time - 1, time, "completed", octets=1)
        self.store()
        for arguments in ((), ("--since", "yesterday")):
            self.assertEqual(len(self.do("transfers", *arguments, "--json").json), 1)

    def test_table(self) -> None:
        """For people: a table, in which what peers chose is escaped."""
        self.assertEqual(self.do("transfers").out, "no transfers\n")
        self.transfer(INVOICES, 0, 12, "completed", octets=31_457_280)
        self.response("EERP", 67, INVOICES)
        hostile = {**ORDERS, "dataset": "ORD\x1b[2J"}
        self.transfer(hostile, 20, 20.05, "unconfirmed", octets=81_920)
        self.tell("session.ended", 21, outcome="lost", cause="leg.lost")
        self.tell("file.ended", 30, outcome="refused", octets=0, answer=3, **{**ORDERS, "dataset": "DELFOR"})
        self.store()
        self.assertEqual(
            self.do("transfers", "--since", "2026-11-20").out.splitlines(),
            [
                "TIME                 PARTNER  DIRECTION  FILE        OCTETS    RATE       OUTCOME                 "
                "EERP",
                "2026-11-20 02:00:12  ACME     received   INVOICES    31457280  2.62 MB/s  completed               "
                "EERP 2026-11-20 02:01 UTC",
                r"2026-11-20 02:00:20  ACME     sent       ORD\x1b[2J  81920     1.64 MB/s  unconfirmed (leg.lost)  -",
                "2026-11-20 02:00:30  ACME     sent       DELFOR      0         -          refused (03)            -",
            ],
        )

    def test_outcomes(self) -> None:
        """The argument takes each outcome."""
        for outcome in TransferOutcome:
            self.do("transfers", "--outcome", outcome)
