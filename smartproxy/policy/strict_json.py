"""JSON read strictly: from octets to plain values, or a refusal that names the place.

Duty: refuse everything that :mod:`json` lets through and a configuration must not contain: more octets, levels,
containers or digits than allowed, duplicate keys, ``NaN`` and ``Infinity``, numbers with a fraction or an exponent,
octets that are not UTF-8. Trusts nothing about the octets. Never repeats a value in a refusal (it may be a secret).
"""

import functools
import json
import math
from collections.abc import Iterator, Sequence

import attrs

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause


@attrs.define(kw_only=True, eq=False, auto_exc=True, str=False)
class DocumentRefused(Exception):
    """A document is not what it has to be.

    :ivar where: the place, such as ``server.partners[3].codes``; ``document`` for the whole.
    :ivar cause: what kind of thing is wrong there: one of ``document.*``.
    :ivar message: what is wrong there and what would be right, without the value itself if it may be secret.
    :ivar others: what else is wrong with the document, as far as it was looked at.
    :ivar also: another place that the message names, if it names one.
    """

    where: str
    cause: Cause
    message: str
    others: "tuple[DocumentRefused, ...]" = ()
    also: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


FAULTS_MOST = 100
"""Faults of one document that are told."""


def together(faults: Sequence[DocumentRefused]) -> DocumentRefused:
    """One refusal for several faults: the first, with the others beside it."""
    found = [each for fault in faults for each in (fault, *fault.others)][:FAULTS_MOST]
    for fault in found:
        fault.others = ()
    found[0].others = tuple(found[1:])
    return found[0]


WHOLE = "document"


@attrs.frozen
class _Flaw:
    """Stands where the parser met something that is JSON, or nearly, but is refused."""

    message: str


_WORTH_A_LOOK = frozenset({dict, list, _Flaw})
_DIGITS = bytes(0x30 if 0x30 <= octet <= 0x39 else 0x20 for octet in range(256))
_LONG = b"0" * (limits.DOCUMENT_DIGITS_MOST + 1)


def place(where: str, key: str) -> str:
    """The place of *key* in the object at *where*; a key that is no plain word is quoted, escaped and cut."""
    word = key if key.isascii() and key.isidentifier() and len(key) <= 64 else ascii(key[:64])
    return word if where == WHOLE else f"{where}.{word}"


def read(
    octets: bytes,
    *,
    octets_most: int = limits.DOCUMENT_OCTETS_MOST,
    fractions: bool = False,
    item_by_item: bool = False,
) -> object:
    """The value that *octets* hold.

    :param fractions: whether numbers may have a fraction or an exponent, as in events.
    :param item_by_item: whether the items of the lists in the outermost object stand or fall alone, as events do: in
        place of an item that is JSON and is refused stands its :class:`DocumentRefused`.

    :raises DocumentRefused: if they are not JSON, or JSON that :mod:`this module <smartproxy.policy.strict_json>`
        refuses.
    """
    if len(octets) > octets_most:
        raise DocumentRefused(
            where=WHOLE, cause=Cause.DOCUMENT_SIZE, message=f"{len(octets)} octets; at most {octets_most} are allowed"
        )
    if octets.count(b"[") + octets.count(b"{") > limits.DOCUMENT_CONTAINERS_MOST:
        raise DocumentRefused(
            where=WHOLE,
            cause=Cause.DOCUMENT_SIZE,
            message=f"more than {limits.DOCUMENT_CONTAINERS_MOST} lists and objects in one document",
        )
    # The digits of each number are counted only where so many stand in a row at all.
    long = _LONG in octets.translate(_DIGITS)
    try:
        value = _decoder(long, fractions).decode(octets.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DocumentRefused(
            where=WHOLE, cause=Cause.DOCUMENT_JSON, message=f"not UTF-8 at octet {error.start}"
        ) from None
    except json.JSONDecodeError as error:
        raise DocumentRefused(
            where=WHOLE,
            cause=Cause.DOCUMENT_JSON,
            message=f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}",
        ) from None
    except RecursionError:
        raise _too_deep(WHOLE) from None
    whole = value
    if item_by_item and isinstance(value, dict):
        value = _judged_alone(value)
        # Each item of the lists has been judged.
        whole = {key: member for key, member in value.items() if not isinstance(member, list)}
    if (fault := _fault(whole, WHOLE, 0)) is not None:
        raise fault
    return value


@functools.cache
def _decoder(long: bool, fractions: bool) -> json.JSONDecoder:
    """What reads documents.

    :param long: whether the digits of numbers have to be counted.
    """
    return json.JSONDecoder(
        parse_int=_whole if long else int,
        parse_float=_measured if fractions else _fraction,
        parse_constant=_constant,
        object_pairs_hook=_object,
    )


def _whole(digits: str) -> int | _Flaw:
    if len(digits.lstrip("-")) > limits.DOCUMENT_DIGITS_MOST:
        return _Flaw(f"a number of {len(digits)} digits; at most {limits.DOCUMENT_DIGITS_MOST} are allowed")
    return int(digits)


def _fraction(digits: str) -> _Flaw:
    return _Flaw("a number with a fraction or an exponent; only whole numbers are allowed")


def _measured(digits: str) -> float | _Flaw:
    number = float(digits)
    return number if math.isfinite(number) else _Flaw("a number that is too large")


def _constant(word: str) -> _Flaw:
    return _Flaw(f"{word} is not a number of JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object] | _Flaw:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return _Flaw(f"the key {key[:64]!a} appears twice")
        seen.add(key)
    raise AssertionError("fewer members than keys, and no key twice")


def _too_deep(where: str) -> DocumentRefused:
    return DocumentRefused(
        where=where,
        cause=Cause.DOCUMENT_SIZE,
        message=f"more than {limits.DOCUMENT_DEPTH_MOST} levels of lists and objects",
    )


def _judged_alone(value: dict[str, object]) -> dict[str, object]:
    """The outermost object with the refusal of each wrong item in its lists in that item's place."""
    judged = dict(value)
    for key, member in value.items():
        if isinstance(member, list):
            where = place(WHOLE, key)
            judged[key] = [_fault(item, f"{where}[{index}]", 2) or item for index, item in enumerate(member)]
    return judged


def _fault(value: object, where: str, depth: int) -> DocumentRefused | None:
    """The refusal of the first flaw in a value, or of whatever lies deeper than allowed.

    :param depth: how many lists and objects of the document hold the value.
    """
    shallow = depth < limits.DOCUMENT_DEPTH_MOST
    if shallow and value.__class__ is dict and _WORTH_A_LOOK.isdisjoint(map(type, value.values())):
        # Most documents are events, or lists of them, which are flat.
        return None
    level: list[tuple[str, object]] = [(where, value)]
    while level:
        for at, item in level:
            if isinstance(item, _Flaw):
                return DocumentRefused(where=at, cause=Cause.DOCUMENT_JSON, message=item.message)
            if depth == limits.DOCUMENT_DEPTH_MOST and isinstance(item, dict | list):
                return _too_deep(at)
        level = [inner for at, item in level for inner in _children(at, item)]
        depth += 1
    return None


def _children(where: str, item: object) -> Iterator[tuple[str, object]]:
    """What lies directly in *item* and is worth a look: containers and flaws, with their places."""
    if isinstance(item, dict):
        for key, inner in item.items():
            if inner.__class__ in _WORTH_A_LOOK:
                yield place(where, key), inner
    elif isinstance(item, list):
        for index, inner in enumerate(item):
            if inner.__class__ in _WORTH_A_LOOK:
                yield f"{where}[{index}]", inner
