"""A backend on PostgreSQL goes on hearing of changes, whatever became of the connection on which it hears them."""

from collections.abc import Callable
from unittest.mock import Mock

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import several
from smartproxy.backend.database import Lone, engine_of
from smartproxy.backend.errors import StoreUnreachable
from smartproxy.backend.location import Location
from smartproxy.backend.several import Hearing
from smartproxy.policy.limits import RETRY_SECONDS_FIRST
from smartproxy.policy.places import DATABASE_VARIABLE

AWAY = StoreUnreachable("the database cannot be reached: test; try again")


class Hears(SynchronousTestCase):
    """On connections that come and go."""

    def setUp(self) -> None:
        """Hear on the first one."""
        self.reactor = MemoryReactorClock()
        self.lines = [Mock(socket=number) for number in range(9)]
        self.made = Mock(side_effect=self.lines)
        self.patch(several, "Lone", self.made)
        self.told, self.hears, self.failed = Mock(), Mock(), Mock()

        def run(work: Callable[..., object], *arguments: object) -> Deferred[object]:
            return maybeDeferred(work, *arguments)

        store, runner = Mock(), Mock(run=run)
        store.location.is_postgresql = True
        self.hearing = Hearing(store, runner, self.reactor, self.told, self.hears, self.failed)
        self.hearing.start()
        self.addCleanup(self.hearing.stop)

    def assertHears(self, number: int) -> None:
        """Changes are heard on this connection, and on no other."""
        (reader,) = self.reactor.getReaders()
        self.assertEqual(reader.fileno(), number)
        self.assertEqual(self.hears.call_args.args, (True,))

    def test_ends(self) -> None:
        """The connection ended: by what it raises, or because the reactor says so, alone or as well."""
        self.assertHears(0)
        self.lines[0].notified.side_effect = AWAY
        (reader,) = self.reactor.getReaders()
        reader.doRead()
        reader.connectionLost(Failure(ConnectionLost()))
        self.assertEqual((self.hears.call_args.args, self.reactor.getReaders()), ((False,), []))
        self.reactor.advance(RETRY_SECONDS_FIRST)
        self.assertHears(1)
        (reader,) = self.reactor.getReaders()
        reader.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.lines[1].close.call_count, 1)
        self.reactor.advance(RETRY_SECONDS_FIRST)
        self.assertHears(2)
        self.failed.assert_not_called()

    def test_no_connection(self) -> None:
        """It tries again while there is none, and after what nobody expected, which is told."""
        bug = RuntimeError("test")
        self.made.side_effect = [AWAY, bug, self.lines[1]]
        (reader,) = self.reactor.getReaders()
        reader.connectionLost(Failure(ConnectionLost()))
        for number in range(3):
            self.reactor.advance(RETRY_SECONDS_FIRST * 2**number)
        self.assertHears(1)
        ((failure,),) = [call.args for call in self.failed.call_args_list]
        self.assertIs(failure.value, bug)


class Away(SynchronousTestCase):
    """A database that is not there."""

    def test_in_our_words(self) -> None:
        """What psycopg raises where there is no connection is told as a store that cannot be reached."""
        location = Location.of("state", None, {DATABASE_VARIABLE: "postgresql://u@/d?host=/nowhere"})
        engine = engine_of(location)
        self.addCleanup(engine.dispose)
        told = self.assertRaises(StoreUnreachable, Lone, engine, location)
        self.assertIn("the database cannot be reached", str(told))
