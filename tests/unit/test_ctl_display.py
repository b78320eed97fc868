"""The answers of running daemons as an operator reads them."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.ctl import statuses
from smartproxy.ctl.answers import DrainBegun, KilledSession, LevelsInForce, Licences, ListedSessions
from smartproxy.ctl.protocol import AskLicence, AskSessions, AskStatus
from smartproxy.ctl.statuses import InForce
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.tap.commands import ctl_display as display
from tests.unit.answers import as_read

SERVER: dict[str, Any] = {
    "health": "ok",
    "verdict": "ok",
    "advice": "",
    "findings": [],
    "started": "2026-11-20T08:00:00Z",
    "runs_out_next": {"what": "the licence", "until": "2027-12-31T23:59:59Z"},
    "program": "smartproxy-server",
    "version": "0.1.0",
    "pid": 4711,
    "uptime": 93784,
    "pid_file": "/var/lib/smartproxy/smartproxy-server.pid",
    "pid_file_right": True,
    "site": "Muster GmbH",
    "proxy_id": "0" * 64 + "px",
    "internal_listener": "[::]:2878",
    "external_listeners": ["0.0.0.0:6619"],
    "external_listeners_missing": [],
    "tunnels": [
        {
            "client": "inner",
            "peer": "192.0.2.1:4000",
            "version": "0.1.0",
            "since": "2026-11-20T09:00:00Z",
            "sessions": 2,
            "certificate_until": "2026-11-27T10:00:00Z",
        }
    ],
    "generation": 17,
    "generation_since": "2026-11-20T10:00:00Z",
    "generation_from": "inner",
    "licence_until": "2027-12-31T23:59:59Z",
    "sessions": 2,
    "sessions_most": 2000,
    "load": 0.1,
    "workers": [],
    "connections": 3,
    "connections_most": 4000,
    "bans": 0,
    "banned": {},
}
CLIENT: dict[str, Any] = {
    **{name: SERVER[name] for name in ("health", "verdict", "advice", "findings", "version")},
    **{name: SERVER[name] for name in ("pid", "uptime", "pid_file", "pid_file_right", "started")},
    "runs_out_next": None,
    "program": "smartproxy-client",
    "backend": "https://backend.example:8443",
    "station": "192.0.2.20:3305",
    "servers": ["dmz.example:2878"],
    "outbound_listeners": {"any partner": "127.0.0.1:65433", "ACME": None},
    "tunnels": [
        {
            "server": "dmz.example:2878",
            "up": True,
            "peer": "198.51.100.2:2878",
            "version": "0.1.0",
            "since": "2026-11-20T09:00:00Z",
            "generation": 17,
            "data_connections": 3,
            "proxy_id": "0" * 64 + "px",
        }
    ],
    **{name: SERVER[name] for name in ("generation", "generation_since", "generation_from", "sessions")},
    "sessions_most": 2000,
    "load": 0.1,
    "workers": [{"pid": 4712, "sessions": 2, "seconds": 61}],
}
SESSION: dict[str, Any] = {
    "session": "0123456789abcdef",
    "partner": "ACME",
    "peer": "192.0.2.7:33952",
    "code": "O0013000001ACME",
    "direction": "inbound",
    "profile": "default",
    "tls": "TLSv1.3",
    "phase": "transfer",
    "speaker": "partner",
    "agreed": {
        "level": 5,
        "buffer_size": 4096,
        "credit": 64,
        "compression": True,
        "restart": True,
        "authentication": False,
        "senders": "initiator",
    },
    "file": {
        "dataset": "ORDERS",
        "stamp": "20261120 1000000000",
        "originator": "A",
        "destination": "B",
        "link": "in",
        "octets": 1_234_567,
        "size": None,
    },
    "octets_in": 1_240_000,
    "octets_out": 400,
    "files_in": 2,
    "files_out": 0,
    "client": "inner",
    "since": "2026-11-20T10:00:00Z",
    "seconds": 10.0,
    "rate_in": 124_000,
    "rate_out": 40,
}


def status_of(document: dict[str, Any]) -> statuses.Status:
    """A status as it is read."""
    return as_read(AskStatus(), document)


def sessions(*documents: dict[str, Any]) -> ListedSessions:
    """Sessions as they are read."""
    return as_read(AskSessions(), {"sessions": [*documents]})


def licences(document: dict[str, Any]) -> Licences:
    """Licences as they are read."""
    return as_read(AskLicence(), document)


def lines(text: str) -> dict[str, str]:
    """The values of a listing, by their names, which end at the first two blanks."""
    return {name: value.strip() for name, _, value in (line.partition("  ") for line in text.splitlines())}


class Status(SynchronousTestCase):
    """How a daemon is."""

    def test_server(self) -> None:
        """The verdict comes first; then everything that had to be looked up one by one."""
        text = display.status(status_of(SERVER))
        self.assertEqual(text.splitlines()[0].split(), ["verdict", "ok"])
        shown = lines(text)
        self.assertEqual(shown["runs out next"], "the licence, on 2027-12-31T23:59:59Z")
        self.assertEqual(shown["program"], "smartproxy-server 0.1.0, process 4711, up 1d02h")
        self.assertEqual(shown["PID file"], "/var/lib/smartproxy/smartproxy-server.pid")
        self.assertEqual((shown["clients at"], shown["partners at"]), ("[::]:2878", "0.0.0.0:6619"))
        self.assertIn("inner 0.1.0 at 192.0.2.1:4000 since 2026-11-20T09:00:00Z, 2 sessions", shown["tunnels"])
        self.assertEqual(shown["generation"], "17 since 2026-11-20T10:00:00Z, from inner")
        self.assertEqual(shown["sessions"], "2 live of 2000 (0.1 %)")
        self.assertEqual((shown["connections"], shown["banned"]), ("3 of 4000", "none"))
        self.assertNotIn("workers", shown)

    def test_server_in_trouble(self) -> None:
        """What is wrong can be seen where it is, and the verdict says what to do."""
        text = display.status(
            status_of(
                {
                    **SERVER,
                    "health": "down",
                    "verdict": "listener-down",
                    "advice": "see the log",
                    "findings": [
                        {"verdict": "listener-down", "health": "down", "advice": "see the log"},
                        {"verdict": "ran-out", "health": "degraded", "advice": "renew it"},
                    ],
                    "pid_file_right": False,
                    "internal_listener": None,
                    "external_listeners": [],
                    "external_listeners_missing": ["0.0.0.0:6619"],
                    "tunnels": [],
                    "generation": None,
                    "banned": {"192.0.2.0/32": 90},
                }
            )
        )
        shown = lines(text)
        self.assertEqual(shown["verdict"], "down: see the log (listener-down)")
        self.assertEqual(text.splitlines()[1].strip(), "degraded: renew it (ran-out)")
        self.assertTrue(shown["PID file"].endswith("(WRONG)"))
        self.assertEqual((shown["clients at"], shown["partners at"]), ("closed", "0.0.0.0:6619 (NOT OPEN)"))
        self.assertEqual((shown["tunnels"], shown["generation"]), ("none", "none"))
        self.assertEqual(shown["banned"], "192.0.2.0/32 for 1m30s")

    def test_client(self) -> None:
        """Its tunnels, up or down, its backend and its station."""
        shown = lines(display.status(status_of(CLIENT)))
        self.assertIn("198.51.100.2:2878 since 2026-11-20T09:00:00Z, generation 17", shown["tunnels"])
        self.assertEqual((shown["backend"], shown["station"]), (CLIENT["backend"], CLIENT["station"]))
        self.assertEqual((shown["calls at"], shown[""]), ("127.0.0.1:65433 to any partner", "NOT OPEN to ACME"))
        self.assertEqual(shown["workers"], "process 4712: 2 sessions, up 1m01s")
        down = {**CLIENT, "tunnels": [{"server": "dmz.example:2878", "up": False}], "pid_file": None}
        shown = lines(display.status(status_of(down)))
        self.assertEqual((shown["tunnels"], shown["PID file"]), ("dmz.example:2878 (DOWN)", "none"))
        shown = lines(display.status(status_of({**CLIENT, "tunnels": [], "station": None, "sessions_most": None})))
        self.assertEqual(shown["tunnels"], "dmz.example:2878 (not dialled yet)")
        self.assertEqual((shown["station"], shown["sessions"]), ("not known yet", "2 live"))


class SessionTables(SynchronousTestCase):
    """The live sessions."""

    def test_narrow(self) -> None:
        """One line a session that fits a terminal, with the rates since it began."""
        head, row = display.SessionsTable(wide=False).show(sessions(SESSION)).splitlines()
        self.assertEqual(head.split(maxsplit=5)[:5], ["session", "partner", "dir", "phase", "file"])
        for word in ("0123456789abcdef", "ACME", "in", "transfer", "ORDERS >", "124K/s", "40/s", "10s"):
            self.assertIn(word, row)
        self.assertLess(len(row), 100)

    def test_wide(self) -> None:
        """Everything that is known."""
        row = display.SessionsTable(wide=True).show(sessions(SESSION)).splitlines()[1]
        for word in (
            "O0013000001ACME",
            "192.0.2.7:33952",
            " 2.0 ",
            "4096",
            "64",
            "compression,restart",
            "1.23M",
            "TLSv1.3",
        ):
            self.assertIn(word, row)

    def test_session_at_its_beginning(self) -> None:
        """What is not known yet is a hyphen."""
        young = {**SESSION, "code": None, "speaker": None, "agreed": None, "file": None, "client": None}
        row = display.SessionsTable(wide=True).show(sessions(young)).splitlines()[1]
        self.assertEqual(row.split().count("-"), 10)

    def test_rates_between_two_looks(self) -> None:
        """From the second look on, the rate is that since the look before; a session in its place begins anew."""
        table = display.SessionsTable(wide=False)
        table.show(sessions(SESSION))
        later = {**SESSION, "seconds": 12.0, "octets_in": 1_242_000, "rate_in": 103_500}
        self.assertIn("1K/s", table.show(sessions(later)))
        self.assertIn("103K/s", display.SessionsTable(wide=False).show(sessions({**later, "rate_in": 103_400})))

    def test_what_a_peer_chose(self) -> None:
        """A file's name cannot move the cursor: no answer holds one that could."""
        odd = {**SESSION, "file": {**SESSION["file"], "dataset": "A\x1b[2J\n"}}
        self.assertRaises(DocumentRefused, sessions, odd)

    def test_nobody(self) -> None:
        """An empty table says so."""
        self.assertEqual(display.SessionsTable(wide=False).show(sessions()), "no session is live")


class Others(SynchronousTestCase):
    """Licences, levels and what was done."""

    def test_licences(self) -> None:
        """Each is a paragraph; one that is not good says why; none says so."""
        good = {
            "proxy_id": "0px",
            "site": "Muster GmbH",
            "valid_from": "2026-11-20T10:00:00Z",
            "valid_until": "2026-12-20T10:00:00Z",
            "days_left": 30,
            "in_force": True,
            "limits": {"sessions": 5},
        }
        text = display.licence(licences({"licences": [good, {"proxy_id": "1px", "refused": "damaged"}]}))
        first, second = (lines(part) for part in text.split("\n\n"))
        self.assertEqual((first["in force"], first["limits"]), ("yes", "sessions 5"))
        self.assertEqual(first["valid until"], "2026-12-20T10:00:00Z (30 days left)")
        for days, words in ((1, "1 day left"), (0, "0 days left"), (-1, "ended")):
            of_days = lines(display.licence(licences({"licences": [{**good, "days_left": days}]})))
            self.assertEqual(of_days["valid until"], f"2026-12-20T10:00:00Z ({words})")
        self.assertEqual(second["refused"], "damaged")
        ended = lines(display.licence(licences({"licences": [{**good, "in_force": False, "limits": {}}]})))
        self.assertEqual((ended["in force"], ended["limits"]), ("NO", "none"))
        self.assertEqual(display.licence(licences({"licences": []})), "no licence")

    def test_levels_and_deeds(self) -> None:
        """What is logged, what drains, who was ended."""
        text = display.levels(LevelsInForce(levels={"*": "info", "partner ACME": "trace"}))
        self.assertEqual(
            [line.split() for line in text.splitlines()], [["everything", "info"], ["partner", "ACME", "trace"]]
        )
        self.assertIn("3 sessions", display.draining(DrainBegun(sessions=3)))
        self.assertIn("session x is ended", display.killed(KilledSession(killed="x")))
        shown = display.generation(InForce())
        self.assertEqual(shown.split(), ["generation", "none"])

    def test_short_numbers(self) -> None:
        """Octets and times are short, at every size."""
        self.assertEqual(
            [display.octets(count) for count in (0, 999, 4100, 999_600, 12_000_000, 7 * 10**9, 5 * 10**12)],
            ["0", "999", "4.1K", "1M", "12M", "7G", "5T"],
        )
        self.assertEqual(
            [display.span(s) for s in (0, 59.9, 187, 18_720, 273_600)], ["0s", "59s", "3m07s", "5h12m", "3d04h"]
        )
