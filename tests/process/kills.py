"""Backends and changes that are killed in the middle of their writes, and what is in the store afterwards."""

import random
import signal
import subprocess
import sys
import threading
from http.client import HTTPException

import attrs

from smartproxy.backend import history, settings
from smartproxy.backend.journal import Filter, find
from smartproxy.backend.location import Location
from smartproxy.backend.store import Store
from smartproxy.policy.places import DATABASE_VARIABLE
from tests.process.backends import BackendProcess, BackendsCase
from tests.process.clock import PATIENCE_SECONDS

EVENTS_A_CALL = 40
SEED = 20261127
CHANGES = """
import sys
from datetime import UTC, datetime
from smartproxy.backend import settings
from smartproxy.backend.generations import changing
from smartproxy.backend.location import Location
from smartproxy.backend.store import Store

store = Store.open(Location.of(sys.argv[1]))
with store.reading() as session:
    last = settings.value_of(session, "server.deadlines.ssid")
for number in range(10_000):
    value = last = 20 + (last - 19) % 40
    with changing(store, by="killed", what=str(value), now=datetime.now(UTC)) as change:
        settings.put(change, "server.deadlines.ssid", value)
        generation = change.generation
    print(generation, value, flush=True)
"""
"""Changes one setting again and again; prints each generation, and what it set, when it is made."""


@attrs.define
class Counted:
    """What came of it.

    :ivar kills: backends and changers that were killed.
    :ivar told: events that the client knows to be stored.
    :ivar made: generations that a changer said it made.
    """

    kills: int = 0
    told: int = 0
    made: dict[int, int] = attrs.field(factory=dict)


class KillsCase(BackendsCase):
    """A client that sends events, and an operator whose program makes changes, while both are killed."""

    def kill_often(self, times: int) -> Counted:
        """Kill a backend and a changer so many times; see that nothing is lost and nothing is there twice."""
        chance, counted = random.Random(SEED), Counted()
        backend = self.backend()
        for _ in range(times):
            changer = subprocess.Popen(
                [sys.executable, "-c", CHANGES, str(self.state)],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert changer.stdout is not None and changer.stderr is not None
            first = changer.stdout.readline()
            killer = threading.Timer(chance.uniform(0.02, 0.3), self._kill, (backend, changer))
            killer.start()
            self._send_until_it_dies(backend, counted)
            killer.join(PATIENCE_SECONDS)
            said, faults = first + changer.stdout.read(), changer.stderr.read()
            self.assertEqual(faults, "")
            changer.wait(PATIENCE_SECONDS)
            changer.stdout.close()
            changer.stderr.close()
            for line in said.splitlines(keepends=True):
                if line.endswith("\n"):
                    generation, value = map(int, line.split())
                    self.assertNotIn(generation, counted.made)
                    counted.made[generation] = value
            counted.kills += 2
            backend = self.backend()
            self._send(backend, counted)
        backend.end()
        self._judge(counted)
        return counted

    def _kill(self, backend: BackendProcess, changer: "subprocess.Popen[str]") -> None:
        backend.process.send_signal(signal.SIGKILL)
        changer.send_signal(signal.SIGKILL)

    def _send_until_it_dies(self, backend: BackendProcess, counted: Counted) -> None:
        while True:
            try:
                self._send(backend, counted)
            except (OSError, HTTPException):  # it was killed before its answer, or in it
                return

    def _send(self, backend: BackendProcess, counted: Counted) -> None:
        """Send the next events; those that were not answered for come again, as a client sends them again."""
        always = {"name": "tunnel.down", "time": "2026-11-20T12:00:00Z", "source": "client", "cause": "x"}
        numbers = range(counted.told, counted.told + EVENTS_A_CALL)
        events = [{**always, "sequence": number} for number in numbers]
        status, _, _ = self.call(backend.port, "/events", {"events": events})
        if status == 200:
            counted.told += EVENTS_A_CALL
        else:
            self.assertEqual(status, 503)

    def _judge(self, counted: Counted) -> None:
        store = Store.open(Location.of(str(self.state), self.environment.get(DATABASE_VARIABLE), {}))
        self.addCleanup(store.close)
        with store.reading() as session:
            sequences = [each.fields["sequence"] for each in find(session, Filter(name="tunnel.down"))]
            made = history.listed(session, 1_000_000)
            value = settings.value_of(session, "server.deadlines.ssid")
        self.assertEqual(sorted(map(int, map(str, sequences))), list(range(len(sequences))), "lost, or there twice")
        # Of the batch that was under way at the end, all is there or nothing.
        self.assertEqual(len(sequences), counted.told)
        self.assertEqual([each.number for each in made], list(range(1, len(made) + 1)))
        changes = {each.number: int(each.change) for each in made if each.made_by == "killed"}
        self.assertLessEqual(counted.made.items(), changes.items())
        # What was made and not told: the last of each changer at most.
        self.assertLessEqual(len(changes) - len(counted.made), counted.kills // 2)
        self.assertEqual(value, changes[max(changes)])
