"""Documents as classes: all that is wrong is found at once."""

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.schema import ListOf, ObjectOf, PartOf, kind, read_object
from smartproxy.policy.strict_json import FAULTS_MOST, DocumentRefused
from smartproxy.policy.values import NAME, Flag


@attrs.frozen
class Leaf:
    """An inner object."""

    name: str = attrs.field(metadata=kind(NAME))
    good: bool = attrs.field(default=True, metadata=kind(Flag()))


@attrs.frozen
class Tree:
    """An outer object."""

    leaves: tuple[Leaf, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(Leaf), first=1)))
    good: bool = attrs.field(default=True, metadata=kind(Flag()))


class Faults(SynchronousTestCase):
    """What a refusal tells."""

    def refused(self, value: object) -> DocumentRefused:
        """The refusal of a document."""
        refused: DocumentRefused = self.assertRaises(DocumentRefused, read_object, Tree, value)
        return refused

    def test_all_faults_are_told(self) -> None:
        """In the order in which they were found; the first is the refusal itself."""
        refused = self.refused({"leaves": [{"name": 1, "good": 1}, {}, {"name": "x"}], "good": None, "tall": 1.5})
        places = ["leaves[1].name", "leaves[1].good", "leaves[2].name", "good", "tall"]
        self.assertEqual([each.where for each in (refused, *refused.others)], places)
        self.assertTrue(all(not each.others for each in refused.others))
        self.assertEqual(str(refused), "leaves[1].name: is a number; has to be a text")

    def test_not_more_than_anybody_reads(self) -> None:
        """A document of nothing but faults ends the search."""
        refused = self.refused({"leaves": [{}] * (FAULTS_MOST * 2)})
        self.assertEqual(len(refused.others), FAULTS_MOST - 1)
        refused = self.refused({"leaves": [], **{f"key{number}": 1 for number in range(FAULTS_MOST * 2)}})
        self.assertEqual(len(refused.others), FAULTS_MOST - 1)

    def test_values_that_json_does_not_have(self) -> None:
        """A value of TOML is named by its type, and null is null."""
        self.assertEqual(self.refused({"leaves": 1.5}).message, "is a float; has to be a list")
        self.assertEqual(self.refused({"leaves": None}).message, "is null; has to be a list")


class Parts(SynchronousTestCase):
    """Some fields of an object."""

    def test_read_and_written(self) -> None:
        """What is there is read by its kind, what is not there stays out, and it is written as it was read."""
        part = PartOf(cls=Leaf)
        for value in ({}, {"good": False}, {"name": "x", "good": True}):
            self.assertEqual(part.read(value, "leaf"), value)
            self.assertEqual(part.write(value), value)

    def test_refused(self) -> None:
        """What has to be there and is not, what is not taken, and what is of another kind."""
        part = PartOf(cls=Leaf, required=frozenset({"good"}), without=frozenset({"name"}))
        refused = self.assertRaises(DocumentRefused, part.read, {"name": "x"}, "leaf")
        self.assertEqual([each.where for each in (refused, *refused.others)], ["leaf.good", "leaf.name"])
        self.assertEqual(list(part.kinds), ["good"])
        refused = self.assertRaises(DocumentRefused, part.read, {"good": 1}, "leaf")
        self.assertEqual(str(refused), "leaf.good: is a number; has to be true or false")
