"""Two backends on one PostgreSQL: news of a change, one of them on duty, and no statement in a reactor's thread."""

import os
import threading
import time
from datetime import UTC, datetime

from sqlalchemy import text

from smartproxy.backend import settings
from smartproxy.backend.generations import changing
from smartproxy.backend.location import Location
from smartproxy.backend.store import Store
from smartproxy.policy.places import DATABASE_VARIABLE, STORE_KEY_VARIABLE
from tests.databases import Database
from tests.process.backends import TWISTD, BackendProcess, BackendsCase
from tests.process.clock import PATIENCE_SECONDS, queued

NEWS_SECONDS = 1.0
"""So late a change may be known to whoever waits for one at another backend."""

WATCHED = f"""
import sys, threading
from sqlalchemy import event
from sqlalchemy.engine import Engine
from twisted.internet import reactor

def told(connection, cursor, statement, *rest):
    if reactor.running and threading.current_thread() is threading.main_thread():
        print("STATEMENT IN THE REACTOR", " ".join(statement.split())[:200], flush=True)

event.listen(Engine, "before_cursor_execute", told)
{TWISTD}
"""
"""A backend that tells of each statement that it makes in its reactor's thread."""


class Several(BackendsCase):
    """Two backends on one database."""

    database = Database.POSTGRESQL
    both = False

    def setUp(self) -> None:
        """Have both backends use the key that was made with the site."""
        super().setUp()
        self.environment[STORE_KEY_VARIABLE] = str(self.state / "store.key")

    def two(self) -> tuple[BackendProcess, BackendProcess]:
        """Start two backends: the one on duty, and the other."""
        found = [self.backend(self.folder / name) for name in ("one", "two")]
        with_duty = [each for each in found if self.has_duty(each, found)]
        self.assertEqual(len(with_duty), 1)
        (other,) = (each for each in found if each not in with_duty)
        return with_duty[0], other

    def has_duty(self, backend: BackendProcess, among: list[BackendProcess]) -> bool:
        """Whether this backend has taken the duty, once one of them has."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not any(each.lines("backend.duty_taken") for each in among):
            self.assertLess(time.monotonic(), deadline)
            threading.Event().wait(0.05)
        return bool(backend.lines("backend.duty_taken"))

    def test_news(self) -> None:
        """Who waits at one backend learns within a second of a change that was made elsewhere.

        Asking would take longer: a backend that hears asks every ten seconds only.
        """
        _, second = self.two()
        _, etag, _ = self.call(second.port, "/configuration")
        learned: list[tuple[int, float]] = []

        def wait() -> None:
            status, _, _ = self.call(second.port, "/configuration?wait=60", etag=etag)
            learned.append((status, time.monotonic()))

        waiting = threading.Thread(target=wait)
        waiting.start()
        # A call that comes later and waits shorter is answered when the first one has been waiting for long.
        self.assertEqual(self.call(second.port, "/configuration?wait=2", etag=etag)[0], 304)
        store = Store.open(Location.of(str(self.state), self.environment[DATABASE_VARIABLE], {}))
        self.addCleanup(store.close)
        before = queued(second.process.pid) + queued(os.getpid())
        with changing(store, by="alice", what="test", now=datetime.now(UTC)) as change:
            settings.put(change, "server.deadlines.ssid", 45)
        made = time.monotonic()
        waiting.join(PATIENCE_SECONDS)
        ((status, when),) = learned
        self.assertEqual(status, 200)
        self.assertLess(when - made - (queued(second.process.pid) + queued(os.getpid()) - before), NEWS_SECONDS)

    def test_duty_moves(self) -> None:
        """What runs by itself runs in one backend; when that is killed, the other one takes it over."""
        first, second = self.two()
        self.assertIn("here", self.status(first))
        self.assertIn("in another backend", self.status(second))
        first.end()
        second.line("backend.duty_taken")
        self.assertIn("here", self.status(second))

    def test_connections_ended(self) -> None:
        """When the server ends all connections, both go on: one of them is on duty again, and changes are heard of."""
        first, second = self.two()
        store = Store.open(Location.of(str(self.state), self.environment[DATABASE_VARIABLE], {}))
        self.addCleanup(store.close)
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        with store.engine.connect() as connection:
            connection.execute(text(f"SELECT pg_terminate_backend(pid, 5000) {others}"))
        first.line("backend.duty_lost")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(first.lines("backend.duty_taken")) + len(second.lines("backend.duty_taken")) < 2:
            self.assertLess(time.monotonic(), deadline)
            threading.Event().wait(0.05)
        with store.engine.connect() as connection:
            while connection.execute(text(f"SELECT count(*) {others} AND query LIKE 'LISTEN%'")).scalar() != 2:
                self.assertLess(time.monotonic(), deadline)
                connection.rollback()
                threading.Event().wait(0.05)
        _, etag, _ = self.call(second.port, "/configuration")
        self.command("settings", "set", "server.deadlines.ssid", "45")
        self.assertEqual(self.call(second.port, "/configuration?wait=60", etag=etag)[0], 200)

    def status(self, backend: BackendProcess) -> str:
        """The line of ``ctl status`` that says where the hourly work is done."""
        (line,) = (line for line in self.ctl(backend, "status").splitlines() if line.startswith("hourly work"))
        return line


class ReactorThread(BackendsCase):
    """The reactor never waits for the store."""

    def test_no_statement_in_it(self) -> None:
        """No call of the API, no question of ``ctl``, no hourly look and no event makes a statement in the reactor."""
        backend = self.backend(program=WATCHED)
        _, etag, _ = self.call(backend.port, "/configuration")
        event = {"name": "tunnel.down", "time": "2026-11-20T12:00:00Z", "source": "client", "sequence": 1, "cause": "x"}
        for path, body, status in (
            ("/hello", None, 200),
            ("/licences", None, 200),
            ("/trials?wait=1", None, 200),
            ("/events", {"events": [event]}, 200),
            ("/tunnel-certificate", {"csr": "none"}, 400),
            ("/nothing", None, 404),
        ):
            self.assertEqual(self.call(backend.port, path, body)[0], status, path)
        self.assertEqual(self.call(backend.port, "/configuration?wait=1", etag=etag)[0], 304)
        for question in ("status", "generation", "licence", "sessions"):
            self.ctl(backend, question)
        self.assertTrue(self.command("events", "--name", "backend.started", "--json"))
        backend.end()
        self.assertEqual(backend.lines("STATEMENT"), [])
