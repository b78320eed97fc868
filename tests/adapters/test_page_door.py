"""Who may try to log in: those that guess wait, and keep nobody else out."""

from collections.abc import Callable
from unittest.mock import Mock

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.page.door import Door
from smartproxy.policy import limits


class Crowded(SynchronousTestCase):
    """Many try at once."""

    def setUp(self) -> None:
        """A password is compared when a test says so."""
        self.clock = Clock()
        self.comparing: list[tuple[Deferred[bool], Callable[[], bool]]] = []
        self.door = Door(self.clock, Mock(run=self.run_later))

    def run_later(self, check: Callable[[], bool]) -> Deferred[bool]:
        """Part of ``Runner``."""
        done = Deferred[bool]()
        self.comparing.append((done, check))
        return done

    def tries(self, address: str, name: str, good: bool) -> "Deferred[bool | None]":
        """Somebody tries a password."""
        return Deferred.fromCoroutine(self.door.opens(address, name, lambda: good))

    def compare(self) -> None:
        """All passwords are compared that wait for it."""
        comparing, self.comparing = self.comparing, []
        for done, check in comparing:
            done.callback(check())

    def test_guesses_from_some_networks(self) -> None:
        """While four networks have as many tries wait as they may, a right password from another one is let in."""
        for number in range(4):
            for _ in range(limits.GUESSES_FREE):
                self.tries(f"10.0.{number}.1", f"user{number}", good=False)
                self.compare()
        sleeping = [
            self.tries(f"10.0.{number}.1", f"user{number}", good=False)
            for number in range(4)
            for _ in range(limits.GUESSES_HELD_MOST)
        ]
        self.assertEqual((len(sleeping), self.comparing), (limits.LOGINS_WAITING_MOST, []))
        self.assertIsNone(self.successResultOf(self.tries("10.0.0.1", "anybody", good=True)))
        entering = self.tries("192.0.2.7", "alice", good=True)
        self.compare()
        self.assertIs(self.successResultOf(entering), True)
        self.clock.advance(limits.GUESS_SECONDS_MOST)
        self.compare()
        self.assertEqual([self.successResultOf(each) for each in sleeping], [False] * len(sleeping))

    def test_comparing(self) -> None:
        """So many wait until their password is compared, wherever they come from; one more is sent away."""
        entering = [
            self.tries(f"10.0.{number}.1", f"user{number}", good=True) for number in range(limits.LOGINS_WAITING_MOST)
        ]
        self.assertIsNone(self.successResultOf(self.tries("192.0.2.7", "alice", good=True)))
        self.compare()
        self.assertEqual([self.successResultOf(each) for each in entering], [True] * len(entering))
        self.tries("192.0.2.7", "alice", good=True)
        self.assertEqual(len(self.comparing), 1)
