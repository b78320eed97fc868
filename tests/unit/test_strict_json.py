"""Tests of :mod:`smartproxy.policy.strict_json`: what :mod:`json` lets through and a configuration must not contain."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.policy.strict_json import DocumentRefused, place, read


class StrictJsonTests(SynchronousTestCase):
    """Octets are JSON without surprises, or refused with the place of the first one."""

    def refused(self, octets: bytes) -> DocumentRefused:
        """The refusal of *octets*."""
        refusal: DocumentRefused = self.assertRaises(DocumentRefused, read, octets)
        return refusal

    def test_reads_plain_values(self) -> None:
        """What is no surprise comes through as :mod:`json` reads it."""
        text = '{"a": [1, -2, "ü\\u00fc", true, false, null, {}, []]}'
        self.assertEqual(read(text.encode()), json.loads(text))

    def test_size(self) -> None:
        """More octets than allowed are refused before anything is read, exactly as many are not."""
        self.assertEqual(read(b"[]   ", octets_most=5), [])
        refusal = self.assertRaises(DocumentRefused, read, b"[]    ", octets_most=5)
        self.assertEqual(str(refusal), "document: 6 octets; at most 5 are allowed")
        self.assertIn("at most 33554432", self.refused(b" " * (limits.DOCUMENT_OCTETS_MOST + 1)).message)

    def test_not_json(self) -> None:
        """Octets that are not JSON are refused with line and column."""
        for octets in (b"", b"{", b"{'a': 1}", b'{"a": 1,}', b"[1] 2", b"\xef\xbb\xbf[]", b'["\x01"]'):
            self.assertIn("not JSON at line 1, column", self.refused(octets).message)

    def test_not_utf8(self) -> None:
        """Octets that are not UTF-8, other Unicode encodings included, are refused."""
        self.assertEqual(self.refused(b'"abc\xff"').message, "not UTF-8 at octet 4")
        self.refused('{"a": 1}'.encode("utf-16"))

    def test_duplicate_keys(self) -> None:
        """A key that stands twice is refused with the place of its object; :mod:`json` would take the last one."""
        refusal = self.refused(b'{"server": {"partners": [{}, {"name": "A", "name": "B"}]}}')
        self.assertEqual(refusal.where, "server.partners[1]")
        self.assertEqual(refusal.message, "the key 'name' appears twice")

    def test_constants(self) -> None:
        """NaN and the infinities, which are not JSON, are refused with their place."""
        for word in (b"NaN", b"Infinity", b"-Infinity"):
            refusal = self.refused(b'{"server": {"limits": {"sessions": ' + word + b"}}}")
            self.assertEqual(refusal.where, "server.limits.sessions")
            self.assertEqual(refusal.message, f"{word.decode()} is not a number of JSON")

    def test_fractions(self) -> None:
        """Numbers with a fraction or an exponent, of which ``1e999`` would be infinite, are refused."""
        for number in (b"1.5", b"1.0", b"1e3", b"1e999"):
            refusal = self.refused(b'{"a": [0, ' + number + b"]}")
            self.assertEqual(refusal.where, "a[1]")
            self.assertIn("a fraction or an exponent", refusal.message)

    def test_fractions_where_they_are_allowed(self) -> None:
        """Where fractions are allowed they are read as such, and a number beyond every number is refused."""
        self.assertEqual(read(b'{"a": 1.5, "b": -2e3}', fractions=True), {"a": 1.5, "b": -2000.0})
        refusal: DocumentRefused = self.assertRaises(DocumentRefused, read, b'{"a": [1e999]}', fractions=True)
        self.assertEqual((refusal.where, "too large" in refusal.message), ("a[0]", True))

    def test_item_by_item(self) -> None:
        """Item by item, a refusal stands in place of a wrong item of an outermost list; what else is wrong refuses."""
        deep = b"[" * (limits.DOCUMENT_DEPTH_MOST - 2)
        octets = b'{"a": [1, NaN, {"b": 1, "b": 2}, {"c": [1.5]}, %b%b, %b[]%b]}' % (
            deep,
            deep.replace(b"[", b"]"),
            deep,
            deep.replace(b"[", b"]"),
        )
        value: Any = read(octets, item_by_item=True)
        self.assertEqual(value["a"][0], 1)
        places = [each.where for each in value["a"] if isinstance(each, DocumentRefused)]
        self.assertEqual(places, ["a[1]", "a[2]", "a[3].c[0]", "a[5]" + "[0]" * (limits.DOCUMENT_DEPTH_MOST - 2)])
        for whole in (b'{"a": NaN}', b'{"a": {"b": [NaN]}}', b'{"a": [1], "a": [2]}', b"[NaN]", b"NaN"):
            self.assertRaises(DocumentRefused, read, whole, item_by_item=True)
        self.assertRaises(DocumentRefused, read, b'{"a": [{]}', item_by_item=True)

    def test_digits(self) -> None:
        """A number has so many digits at most, its sign aside; :class:`int` of very many would take seconds."""
        most = limits.DOCUMENT_DIGITS_MOST
        self.assertEqual(read(b"[-" + b"9" * most + b"]"), [-(10**most) + 1])
        refusal = self.refused(b"[" + b"9" * (most + 1) + b"]")
        self.assertEqual(
            (refusal.where, refusal.message), ("document[0]", "a number of 20 digits; at most 19 are allowed")
        )
        self.refused(b"9" * 100_000)

    def test_depth(self) -> None:
        """So many levels of lists and objects, and not one more."""
        most = limits.DOCUMENT_DEPTH_MOST
        read(b"[" * most + b"]" * most)
        read(b"[" * most + b"1" + b"]" * most)
        self.assertIn("more than 16 levels", self.refused(b"[" * (most + 1) + b"]" * (most + 1)).message)
        read(b'{"a":' * most + b"1" + b"}" * most)
        self.assertIn("more than 16 levels", self.refused(b'{"a":' * (most + 1) + b"1" + b"}" * (most + 1)).message)

    def test_nesting_bomb(self) -> None:
        """Nesting that would exhaust the parser's stack is refused like any other that is too deep."""
        self.assertIn("more than 16 levels", self.refused(b"[" * 200_000 + b"]" * 200_000).message)

    def test_containers(self) -> None:
        """Empty lists by the million would take thirty times their size in memory: refused before they are made."""
        octets = b"[" + b"[]," * limits.DOCUMENT_CONTAINERS_MOST + b"[]]"
        self.assertIn("more than 1000000 lists and objects", self.refused(octets).message)

    def test_odd_keys(self) -> None:
        """Keys in a place are escaped and cut, so that a place can be logged."""
        self.assertEqual(place("document", "server"), "server")
        self.assertEqual(place("server", "partners"), "server.partners")
        self.assertEqual(place("server", "a\nb"), "server.'a\\nb'")
        self.assertEqual(place("server", "ü" * 100), "server.'" + "\\xfc" * 64 + "'")
        self.assertEqual(place("document", "x" * 65), "'" + "x" * 64 + "'")

    @given(st.binary(max_size=200) | st.text('[]{}",:0123456789.eE-+truefalsn NaIity\\u', max_size=200).map(str.encode))
    @example(b"[1" * 50)
    def test_any_octets(self, octets: bytes) -> None:
        """Any octets give a value or the one refusal, never another exception."""
        try:
            value = read(octets)
        except DocumentRefused:
            return
        self.assertEqual(value, json.loads(octets.decode()))
