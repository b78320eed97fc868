"""Tests of :mod:`smartproxy.policy.crowd`: who makes room for a newcomer."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.crowd import Crowd


class Crowds(SynchronousTestCase):
    """So many have a place."""

    def setUp(self) -> None:
        """Nobody is there."""
        self.crowd: Crowd[str] = Crowd(5)

    def enter(self, *members: str) -> list[str | None]:
        """Enter; the part before the dash is the network."""
        return [self.crowd.enter(member, member.partition("-")[0]) for member in members]

    def test_room(self) -> None:
        """While there are places, nobody has to leave."""
        self.assertEqual(self.enter("a-1", "a-2", "b-1", "b-2", "b-3"), [None] * 5)
        self.assertEqual((len(self.crowd), self.crowd.of("a"), self.crowd.of("c")), (5, 2, 0))
        self.assertEqual(self.crowd.all(), ("a-1", "a-2", "b-1", "b-2", "b-3"))

    def test_most_crowded_makes_room(self) -> None:
        """The oldest of the network that has most leaves; between equal ones, of the one that came first."""
        self.enter("a-1", "b-1", "a-2", "b-2", "b-3")
        self.assertEqual(self.enter("c-1", "c-2", "c-3"), ["b-1", "a-1", "b-2"])
        self.assertEqual(self.crowd.all(), ("a-2", "b-3", "c-1", "c-2", "c-3"))

    def test_flood_from_everywhere(self) -> None:
        """Where every network has one, the oldest leaves."""
        self.enter("a-1", "b-1", "c-1", "d-1", "e-1")
        self.assertEqual(self.enter("f-1", "g-1"), ["a-1", "b-1"])

    def test_leaving(self) -> None:
        """A place is given back once."""
        self.enter("a-1")
        self.assertEqual([self.crowd.leave("a-1"), self.crowd.leave("a-1"), len(self.crowd)], [True, False, 0])

    def test_naming(self) -> None:
        """The oldest of a network, and of the most crowded one that is not spared, are named and stay."""
        self.enter("a-1", "b-1", "b-2")
        self.assertEqual([self.crowd.oldest_of("b"), self.crowd.oldest_of("c")], ["b-1", None])
        self.assertEqual([self.crowd.oldest_of_most(), self.crowd.oldest_of_most({"b"})], ["b-1", "a-1"])
        self.assertIsNone(self.crowd.oldest_of_most({"a", "b"}))
        self.assertEqual(len(self.crowd), 3)
