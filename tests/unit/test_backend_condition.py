"""How the backend says that it is: each state of its store, its clients and its port has its word and its sentence."""

import os
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from sqlalchemy.exc import DBAPIError, OperationalError
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from smartproxy.backend import cas, clients, downloads, identities, licences, revocation
from smartproxy.backend.certificates import fitting
from smartproxy.backend.clients import SILENT
from smartproxy.backend.condition import BackendCondition
from smartproxy.backend.database import in_words
from smartproxy.backend.errors import StoreBusy, StoreFull
from smartproxy.backend.fetching import Fetched
from smartproxy.backend.location import Location
from smartproxy.backend.service import BackendService
from smartproxy.backend.store import Store, StoreThreads
from smartproxy.ctl.answers import Licences
from smartproxy.ctl.protocol import AskStatus, Refused
from smartproxy.policy import limits
from smartproxy.policy.health import Health
from smartproxy.policy.partners import RevocationMode
from smartproxy.tap.commands import ctl_display
from smartproxy.tap.commands.ctl import STATUSES
from smartproxy.testing.pki import TestCa
from tests.adapters.api_site import AtOnce
from tests.unit.answers import on_the_wire
from tests.unit.sites import NOW, PROXY_ID, SiteCase


class Conditions(SiteCase):
    """A backend that runs on a reactor in memory."""

    def setUp(self) -> None:
        """Start it."""
        super().setUp()
        self.patch(StoreThreads, "run", AtOnce.run)
        self.patch(StoreThreads, "start", lambda threads: None)
        self.patch(StoreThreads, "stop", lambda threads: None)
        self.now = NOW
        self.service = BackendService(MemoryReactorClock(), self.location, "127.0.0.1", 8443)
        self.service.startService()
        self.addCleanup(self.service.stopService)
        self.condition = BackendCondition(self.service, lambda: self.now)

    def look(self) -> BackendCondition:
        """Have the store looked into; what tells of it."""
        self.successResultOf(Deferred.fromCoroutine(self.condition.look()))
        return self.condition

    def status(self) -> Any:
        """How the backend is."""
        return on_the_wire(AskStatus(), self.look().status())

    def told(self) -> tuple[str, int, list[str], str]:
        """The worst finding's code, the exit status, all codes, and the worst one's sentence."""
        status: Any = self.status()
        self.assertIn("verdict", ctl_display.status(self.condition.status()))
        codes = [each["verdict"] for each in status["findings"]]
        return status["verdict"], STATUSES[Health(status["health"])], codes, status["advice"]

    def test_failing_download(self) -> None:
        """A list that cannot be downloaded, and that is not there, is a finding, with the cause and the next try."""
        ca = TestCa.root("Odette")
        with self.change() as change:
            cas.add(change, "odette", [ca.credential.certificate], lists=("http://crl.example/ca.crl",))
        self.assertNotIn("list-download", self.told()[2])
        with self.store.writing() as session:
            (due,) = downloads.due(session, NOW)
            downloads.failed(session, due, "its host cannot be reached", NOW, lambda: 0.0)
        self.assertIn("list-download", self.told()[2])
        status = on_the_wire(AskStatus(), self.condition.status())
        (finding,) = [each for each in status["findings"] if each["verdict"] == "list-download"]
        self.assertIn("its host cannot be reached; 1 tries failed, the next one is at 2026-11-20T12:05", str(finding))
        shown = ctl_display.status(self.condition.status())
        self.assertIn("odette from http://crl.example/ca.crl: failed: its host cannot be reached, next try", shown)
        with self.change() as change:
            made = NOW - timedelta(hours=1)
            octets = ca.crl(this_update=made, next_update=NOW + timedelta(days=1))
            (loaded,) = revocation.load(change, revocation.parse(octets, "x"))
            row = revocation.find(change.session, loaded.row)
            downloads.succeeded(change.session, due, Fetched(octets=b""), row, NOW, lambda: 0.0)
            for _ in range(limits.DOWNLOAD_FAILURES_TOLD - 1):
                downloads.failed(change.session, due, "its host cannot be reached", NOW, lambda: 0.0)
        self.assertNotIn("list-download", self.told()[2])
        self.now = NOW + timedelta(days=1)
        self.assertIn("list-download", self.told()[2])
        self.now = NOW
        with self.store.writing() as session:
            downloads.failed(session, due, "its host cannot be reached", NOW, lambda: 0.0)
        self.assertIn("list-download", self.told()[2])
        with self.change() as change:
            cas.alter(change, "odette", revocation=RevocationMode.OFF)
        self.assertNotIn("list-download", self.told()[2])

    def test_table(self) -> None:
        """From an empty site to one that is well, and back."""
        self.assertEqual(self.told()[:3], ("unlicensed", 2, ["unlicensed", "unconfigured", "no-client"]))
        with self.change() as change:
            licences.issue(
                change, PROXY_ID, valid_from=NOW - timedelta(days=1), valid_until=NOW + timedelta(days=60), limits={}
            )
        self.assertEqual(self.told()[2], ["unconfigured", "no-client"])
        shown = TestCa.root("odette").issue("proxy", valid_until=NOW + timedelta(days=30))
        with self.change() as change:
            identities.keep(change, "main", fitting(shown.key, [shown.certificate], "x"))
        self.assertEqual(self.told()[2:], (["no-client"], "no client is registered: smartproxy client add NAME"))
        with self.change() as change:
            clients.add(change, "inner")
        code, exit_status, _, sentence = self.told()
        self.assertEqual((code, exit_status), ("client-silent", 1))
        self.assertIn("the client inner has never called", sentence)
        with self.store.writing() as session:
            clients.note_call(session, "inner", NOW, "0.1.0", "192.0.2.9")
        self.assertEqual(self.told(), ("ok", 0, [], ""))
        status: Any = self.status()
        self.assertEqual(status["runs_out_next"]["what"], "the certificate of our identity main")
        self.assertEqual((status["site"], status["generation"]), ("Muster GmbH", 4))
        self.assertEqual(status["clients"][0]["last_call"], "2026-11-20T12:00:00Z")
        self.now = NOW + SILENT + timedelta(seconds=1)
        self.assertIn("has not called since 2026-11-20T12:00:00Z", self.told()[3])
        self.now = NOW - timedelta(hours=1)
        self.assertIn("client-silent", self.told()[2], "its last call was noted while the clock was ahead")
        with self.change() as change:
            clients.enable(change, "inner", False)
        self.assertEqual(self.told()[:2], ("no-client", 2))
        self.assertIn("smartproxy client enable NAME", self.told()[3])
        self.now = NOW + timedelta(days=31)
        self.assertEqual(self.told()[2], ["no-client", "ran-out"])
        self.now = NOW + timedelta(days=61)
        self.assertEqual(self.told()[2], ["unlicensed", "no-client", "ran-out"])

    def test_store(self) -> None:
        """A store that does not answer is down, in one line; questions about it are refused with the reason."""
        for error, words in (
            (StoreBusy(), "the store cannot be read"),
            (OperationalError("SELECT 1", None, Exception("disk I/O error")), "disk I/O error"),
        ):
            with patch.object(Store, "reading", side_effect=error):
                code, exit_status, codes, sentence = self.told()
                self.assertEqual((code, exit_status, codes), ("store-unreadable", 2, ["store-unreadable"]))
                self.assertIn(words, sentence)
                self.assertNotIn("\n", sentence)
                self.assertEqual(self.condition.partners(), frozenset())
                for ask in (self.condition.generation, self.condition.licence):
                    self.assertIn("cannot be read", str(self.assertRaises(Refused, ask)))

    def test_full(self) -> None:
        """A disk without room is told as such, with what to do, until a change succeeds."""
        store = self.service.store
        assert store is not None
        store.last_write.full = StoreFull("the disk of the database's server")
        self.assertIn("store-full", self.told()[2])
        with store.writing():
            pass
        self.assertNotIn("store-full", self.told()[2])
        with patch.object(Store, "reading", side_effect=StoreFull("the disk of the store x")):
            code, exit_status, codes, sentence = self.told()
        self.assertEqual((code, exit_status, codes), ("store-full", 2, ["store-full"]))
        self.assertIn("the disk of the store x is full: make room", sentence)

    def test_full_before_a_change(self) -> None:
        """SQLite's disk is looked at before it is tried."""
        if self.location.file is None:
            return
        room = os.statvfs_result((1, 1, 9, 9, 9, 0, 0, 0, 0, 255))
        with patch("os.statvfs", return_value=room):
            self.assertIn("store-full", self.told()[2])

    def test_full_server(self) -> None:
        """PostgreSQL's code for a full disk is told as such."""
        location = Location.of(self.mktemp(), "postgresql://u@h/d", {})
        fault = Exception("could not extend file")
        fault.sqlstate = "53100"  # type: ignore[attr-defined]  # as its library has it

        def fail() -> None:
            with in_words(location):
                raise DBAPIError("INSERT", {}, fault)

        self.assertIn("database's server is full", str(self.assertRaises(StoreFull, fail)))

    def test_other_questions(self) -> None:
        """It has no sessions; it tells its generation and the licences."""
        self.assertEqual((self.condition.sessions(), self.condition.kill("0" * 16)), ([], False))
        self.assertEqual(self.look().generation().generation, 1)
        self.assertEqual(self.condition.licence(), Licences(licences=()))
        with self.change() as change:
            licences.issue(change, PROXY_ID, valid_from=NOW, valid_until=NOW + timedelta(days=60), limits={})
        (shown,) = self.look().licence().licences
        self.assertEqual((shown.proxy_id, shown.days_left), (PROXY_ID, 60))

    def test_stopping(self) -> None:
        """While it stops, and after that."""
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.told()[:2], ("draining", 1))
