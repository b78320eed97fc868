"""Which events start the event script, how often, and what is told of it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger

from smartproxy.backend import journal, settings
from smartproxy.backend.alerts import ignore_rules, results
from smartproxy.backend.alerts.desk import AlertDesk
from smartproxy.backend.alerts.intake import AlertChannel
from smartproxy.backend.alerts.results import AlertResult
from smartproxy.backend.alerts.script import ScriptRun
from smartproxy.backend.errors import StoreBusy, StoreReadOnly
from smartproxy.backend.rounds import AGAIN_SECONDS, STORE_LOOK_SECONDS
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.logs.record import Record, read
from smartproxy.policy.alerts import IgnoreRule
from smartproxy.policy.causes import Cause
from tests.adapters.api_site import AtOnce
from tests.unit.sites import NOW, SiteCase

PROGRAM = "/usr/local/bin/on-event"
HOUR = timedelta(hours=1)
REQUIRED: dict[str, dict[str, Any]] = {
    "listener.failed": {"port": 6619, "cause": Cause.PORT_IN_USE},
    "certificate.refused": {"cause": Cause.CERTIFICATE_EXPIRED},
}
"""What events have to say."""


class Programs:
    """Stands for the programs: each run waits until a test ends it."""

    def __init__(self) -> None:
        self.runs: list[tuple[dict[str, Value], Deferred[ScriptRun]]] = []
        self.stopped = False

    def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """As a :class:`Runner`: note what is to be run."""
        program, told, seconds = args
        assert (program, seconds) == (PROGRAM, 30.0), args
        done: Deferred[Any] = Deferred()
        self.runs.append((told, done))
        return done

    def stop(self) -> None:
        """As :class:`EventScripts`: end what runs."""
        self.stopped = True
        while self.runs:
            self.end(ScriptRun(exit_status=-9, interrupted=True))

    def end(self, run: ScriptRun | None = None) -> dict[str, Value]:
        """End the run that began first; what it was told."""
        told, done = self.runs.pop(0)
        done.callback(run or ScriptRun(exit_status=0, output="said"))
        return told

    @property
    def told(self) -> list[Value]:
        """The numbers of the events of those that run."""
        return [told["number"] for told, _ in self.runs]


class Desk(SiteCase):
    """A site with an event script."""

    def setUp(self) -> None:
        """Set the program; make the desk."""
        super().setUp()
        self.put("event_script.program", PROGRAM)
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.told: list[dict[str, Value]] = []
        self.events = Events(Logger(), self.told.append, self.clock, source="backend")
        self.sequence = 0
        self.start()

    def start(self) -> None:
        """Start a backend's desk."""
        self.programs = Programs()
        scripts: Any = self.programs
        self.desk = AlertDesk(self.store, AtOnce(), scripts, self.events, self.clock, scripts)
        self.desk.start()
        self.addCleanup(self.desk.stop)

    def put(self, name: str, value: object) -> None:
        """Set a setting of the backend."""
        with self.change() as change:
            settings.put(change, f"backend.{name}", value)

    def event(self, name: str = "listener.failed", age: timedelta = timedelta(), **fields: object) -> Record:
        """A record that arrives now."""
        self.sequence += 1
        happened = NOW + timedelta(seconds=self.clock.seconds() - NOW.timestamp()) - age
        required = REQUIRED.get(name, {})
        told = {"name": name, "time": happened.isoformat(), "source": "server", "sequence": self.sequence}
        return read({**told, **required, **fields})

    def arrive(self, *records: Record, look: bool = True) -> list[int]:
        """Store records as one batch; their numbers."""
        moment = NOW + timedelta(seconds=self.clock.seconds() - NOW.timestamp())
        with self.store.writing() as session:
            before = journal.newest_number(session)
            journal.keep(session, records, moment)
            numbers = list(range(before + 1, journal.newest_number(session) + 1))
        if look:
            self.clock.advance(STORE_LOOK_SECONDS)
        return numbers

    def results(self) -> list[AlertResult]:
        """All that was started."""
        with self.store.reading() as session:
            return list(results.listed(session, AlertChannel.SCRIPT, 1000))

    def states(self) -> list[str]:
        """How far all of it is."""
        return [each.state.value for each in self.results()]

    def names(self) -> list[Value]:
        """The names of the events that the desk told."""
        return [each["name"] for each in self.told]


class Started(Desk):
    """Each event starts it once."""

    def test_once(self) -> None:
        """A critical event of a daemon starts it once, with the event as it lies in the store; what it said is kept."""
        numbers = self.arrive(self.event(partner="ACME"), self.event("session.started", partner="ACME"))
        with self.store.reading() as session:
            stored = journal.of_numbers(session, numbers)[numbers[0]]
        self.assertEqual(self.programs.end(), {**stored.document(), "attempt": 1})
        self.clock.advance(10 * STORE_LOOK_SECONDS)
        self.assertEqual(self.programs.runs, [])
        (result,) = self.results()
        self.assertEqual(
            (result.event, result.state, result.exit_status, result.output, result.attempts),
            (numbers[0], "done", 0, "said", 1),
        )
        self.assertEqual(self.told, [])

    def test_each_of_a_batch(self) -> None:
        """Each event of a batch starts it, at most so many at once, in their order."""
        numbers = self.arrive(*(self.event(port=port) for port in range(1, 6)))
        self.assertEqual(self.programs.told, numbers[:2])
        self.programs.end()
        self.assertEqual(self.programs.told, numbers[1:3])
        for _ in numbers[1:]:
            self.programs.end()
        self.assertEqual(self.states(), ["done"] * 5)

    def test_own_events_of_operators_and_backend(self) -> None:
        """What starts it is what is stored, whoever stores it."""
        self.put("event_script.names", ["settings."])
        self.put("event_script.hours", 24)
        self.clock.advance(STORE_LOOK_SECONDS)
        # Each of the two changes is an event; the second setting is in force within the first change already.
        self.assertEqual([told["name"] for told, _ in self.programs.runs], ["settings.changed"] * 2)

    def test_which(self) -> None:
        """Level, names and partners: what is below the level starts it if it is named, and only of these partners."""
        critical, error = self.event(), self.event("crl.refused", cause=Cause.CRL_UNUSABLE)
        for values, wanted in (
            ({}, [0]),
            ({"level": "error"}, [0, 1]),
            ({"level": "none"}, []),
            ({"names": ["certificate."]}, [0, 2, 3]),
            ({"level": "none", "names": ["certificate.refused"]}, [2, 3]),
            ({"names": ["certificate."], "partners": ["ACME"]}, [0, 2]),
        ):
            for name, value in {"level": "critical", "names": [], "partners": [], **values}.items():
                with self.change() as change, patch.object(settings, "_check_known"):
                    settings.put(change, f"backend.event_script.{name}", value)
            acme = self.event("certificate.refused", partner="ACME")
            bolt = self.event("certificate.refused", partner="BOLT")
            numbers = self.arrive(critical, error, acme, bolt)
            found = []
            while self.programs.runs:
                found.append(self.programs.end()["number"])
            self.assertEqual(found, [numbers[index] for index in wanted], values)

    def test_off(self) -> None:
        """Without a program nothing is started, also later."""
        with self.change() as change:
            settings.reset(change, "backend.event_script.program")
        self.arrive(self.event())
        self.put("event_script.program", PROGRAM)
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual((self.programs.runs, self.results()), ([], []))

    def test_too_old(self) -> None:
        """An event that is older than the bound when it arrives, or when its turn comes, starts nothing."""
        self.arrive(self.event(age=25 * HOUR), self.event(age=23 * HOUR))
        self.assertEqual(len(self.programs.runs), 1)
        self.put("event_script.at_once", 1)
        self.arrive(self.event())
        self.clock.advance(25 * HOUR.total_seconds())
        self.programs.end()
        self.assertEqual((self.programs.runs, self.states()), ([], ["done", "old"]))

    def test_ignored(self) -> None:
        """An event that a rule silences starts nothing; the hit is told at INFO, with the rule's name."""
        with self.change() as change:
            ignore_rules.add(change, IgnoreRule(name="port 7", text="PORT=7", valid_until=NOW + HOUR))
        first, _, last = self.arrive(self.event(port=7), self.event(port=8), self.event(port=7))
        self.assertEqual(self.programs.end()["port"], 8)
        self.assertEqual(self.programs.runs, [])
        (hit,) = self.told
        self.assertEqual(
            (hit["name"], hit["level"], hit["ignored_by"], hit["count"], hit["event"], hit["event_number"]),
            ("ignore.hit", "info", "port 7", 2, "listener.failed", last),
        )
        self.assertLess(first, last)
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual(len(self.told), 1)

    def test_rule_is_over(self) -> None:
        """A rule whose time is over is removed by itself, which is told with its hits; the event starts it again."""
        with self.change() as change:
            ignore_rules.add(change, IgnoreRule(name="works", text="port", valid_until=NOW + HOUR))
        self.arrive(self.event())
        self.clock.advance(HOUR.total_seconds())
        over = self.told[-1]
        self.assertEqual(
            (over["name"], over["level"], over["ignored_by"], over["count"]), ("ignore.expired", "info", "works", 1)
        )
        with self.store.reading() as session:
            self.assertEqual(ignore_rules.listed(session), [])
        self.arrive(self.event())
        self.assertEqual(len(self.programs.runs), 1)


class Failing(Desk):
    """What does not go well is told, and starts nothing itself."""

    def test_failed(self) -> None:
        """A failure is an event with cause, path, the event's number and the end of what it wrote."""
        (number,) = self.arrive(self.event(partner="ACME"))
        self.programs.end(
            ScriptRun(cause=Cause.SCRIPT_STATUS, message="it failed", exit_status=3, output="begin\nthe\x1bend")
        )
        (told,) = self.told
        self.assertEqual(
            (told["name"], told["level"], told["cause"]), ("event_script.failed", "error", "script.status")
        )
        self.assertEqual(
            (told["event"], told["event_number"], told["path"], told["exit_status"], told["partner"]),
            ("listener.failed", number, PROGRAM, 3, "ACME"),
        )
        self.assertEqual(told["detail"], "begin | the\\x1bend")
        self.assertEqual(self.states(), ["failed"])

    def test_never_again(self) -> None:
        """Its own failures never start it, whatever is selected."""
        self.put("event_script.level", "warning")
        self.put("event_script.names", ["event_script.", "ignore."])
        cause = Cause.SCRIPT_STATUS
        self.arrive(
            self.event("event_script.failed", event="x", event_number=1, cause=cause),
            self.event("event_script.dropped", count=1, cause=cause),
        )
        self.assertEqual(self.programs.runs, [])

    def test_queue(self) -> None:
        """More than may wait are dropped, and counted in one event."""
        self.put("event_script.waiting", 3)
        self.arrive(*(self.event(port=port) for port in range(1, 9)))
        (told,) = self.told
        self.assertEqual((told["name"], told["count"], told["cause"]), ("event_script.dropped", 5, "script.queue"))
        while self.programs.runs:
            self.programs.end()
        self.assertEqual(self.states(), ["done"] * 3 + ["lost"] * 5)
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual(len(self.told), 1)

    def test_busy_store(self) -> None:
        """A store that is busy is asked again; an end that could not be noted is noted later."""
        with patch.object(self.store.__class__, "reading", side_effect=StoreBusy):
            self.clock.advance(STORE_LOOK_SECONDS)
        self.arrive(self.event())
        with patch.object(self.store.__class__, "writing", side_effect=StoreBusy):
            self.programs.end()
            self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual(self.states(), ["waiting"])
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual(self.states(), ["done"])
        self.assertEqual(self.told, [])

    def test_clock_jumps(self) -> None:
        """What runs is not begun again when the clock jumps beyond its time limit, and lets others begin."""
        self.arrive(self.event())
        self.clock.advance(HOUR.total_seconds())
        self.assertEqual(len(self.programs.runs), 1)
        with patch.object(self.store.__class__, "writing", side_effect=AssertionError("there is nothing to write")):
            self.clock.advance(STORE_LOOK_SECONDS)
        self.arrive(self.event())
        self.assertEqual([told["attempt"] for told, _ in self.programs.runs], [1, 1])
        self.programs.end()
        self.programs.end()
        self.assertEqual((self.states(), self.told), (["done"] * 2, []))

    def test_store_is_away(self) -> None:
        """What has ended while the store was away for long is not begun again before that is noted."""
        self.arrive(self.event())
        with patch.object(self.store.__class__, "writing", side_effect=StoreBusy):
            self.programs.end()
        # It is noted at the next try, which comes after the desk has looked.
        self.clock.rightNow += HOUR.total_seconds()
        Deferred.fromCoroutine(self.desk.look())
        self.assertEqual(self.programs.runs, [])
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual((self.states(), self.told), (["done"], []))

    def test_store_takes_no_changes(self) -> None:
        """What has ended while the store took no changes is noted when it does, and is not begun again."""
        self.arrive(self.event())
        with patch.object(self.store.__class__, "writing", side_effect=StoreReadOnly):
            self.programs.end()
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual((self.states(), self.told), (["done"], []))
        self.clock.advance(HOUR.total_seconds())
        self.assertEqual(self.programs.runs, [])

    def test_bug(self) -> None:
        """A bug is told once a minute, and does not end the work."""
        self.arrive(self.event(), look=False)
        with patch.object(ignore_rules, "take_expired", side_effect=ZeroDivisionError):
            self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual(self.names(), ["internal.error"])
        self.flushLoggedErrors(ZeroDivisionError)
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(len(self.programs.runs), 1)


class Restarted(Desk):
    """An event is not lost when the backend ends."""

    def test_before_it_began(self) -> None:
        """What arrived just before the end starts it after the restart, once."""
        self.desk.stop()
        self.arrive(self.event(), self.event(), look=False)
        self.start()
        self.assertEqual(len(self.programs.runs), 2)
        self.programs.end()
        self.programs.end()
        self.clock.advance(HOUR.total_seconds())
        self.assertEqual((self.programs.runs, self.states()), ([], ["done", "done"]))

    def test_stopped_while_it_ran(self) -> None:
        """The end of the backend ends the program; after the restart it is started as for the first time."""
        self.arrive(self.event())
        stopped = self.desk.stop()
        self.assertTrue(self.programs.stopped)
        self.successResultOf(stopped)
        self.start()
        self.assertEqual(self.programs.end()["attempt"], 1)
        self.assertEqual(self.states(), ["done"])

    def test_killed_while_it_ran(self) -> None:
        """After a kill it is started again when its time limit is over, once; then that is told."""
        (number,) = self.arrive(self.event())
        programs: Any = self.programs
        for attempt in (2, None):
            # The desk of a process that was killed notes nothing any more.
            self.desk._clock = Clock()
            self.desk = AlertDesk(self.store, AtOnce(), programs, self.events, self.clock, programs)
            self.programs.runs.clear()
            self.desk.start()
            self.addCleanup(self.desk.stop)
            self.assertEqual(self.programs.runs, [])
            self.clock.advance(59)
            self.assertEqual(self.programs.runs, [])
            self.clock.advance(2)
            self.assertEqual([told["attempt"] for told, _ in self.programs.runs], [attempt] if attempt else [])
        self.assertEqual(self.states(), ["failed"])
        self.assertEqual((self.told[-1]["cause"], self.told[-1]["event_number"]), ("script.interrupted", number))

    def test_two_backends(self) -> None:
        """Two backends on one store start it once for each event."""
        first = self.programs
        self.start()
        numbers = self.arrive(*(self.event() for _ in range(4)))
        self.assertEqual(sorted(map(str, first.told + self.programs.told)), sorted(map(str, numbers)))

    def test_forgotten(self) -> None:
        """With old events, what they started is deleted; one that still waits starts nothing."""
        self.put("event_script.at_once", 1)
        self.arrive(self.event(), self.event())
        with self.store.writing() as session:
            journal.forget(session, NOW + 2 * HOUR)
        self.programs.end()
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual((self.programs.runs, self.results()), ([], []))
