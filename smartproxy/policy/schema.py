"""What a document's values may be, declared one field a line on the classes that hold them.

Duty: a frozen attrs class whose fields carry a :class:`Kind` is read from plain JSON values by :func:`read_object` and
written back by :func:`write_object`; each value that does not fit is refused with its place. Unknown keys are refused:
a misspelled setting must not be silently without effect. Trusts nothing about the values.
"""

import datetime
import enum
import ipaddress
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar

import attrs

from smartproxy.policy import limits, pem
from smartproxy.policy.strict_json import WHOLE, DocumentRefused, place

_KIND = "smartproxy.kind"
_KEY = "smartproxy.key"
_REQUIRED = "smartproxy.required"

_T = TypeVar("_T", bound=attrs.AttrsInstance)


class Kind(Protocol):
    """One way of writing values as JSON."""

    def read(self, value: object, where: str) -> Any:
        """The value for the class's field; refused with *where* if it is not of this kind."""

    def write(self, value: Any) -> object:
        """The plain JSON value from which :meth:`read` makes *value*."""


def kind(kind: Kind, *, key: str | None = None, required: bool = False) -> dict[str, object]:
    """The attrs metadata that declares a field's kind.

    :param key: its key in documents, where that is not the field's name.
    :param required: whether a document has to say it although the class has a default.
    """
    return {_KIND: kind, _KEY: key, _REQUIRED: required}


def declared(cls: type[Any]) -> dict[str, Kind]:
    """The keys of the JSON object that *cls* describes, with their kinds."""
    return {
        field.metadata[_KEY] or field.name: field.metadata[_KIND]
        for field in attrs.fields(cls)
        if _KIND in field.metadata
    }


def masked(value: object) -> str:
    """The ``repr`` of a secret field."""
    return "'***'"


def read_object(cls: type[_T], value: object, where: str = WHOLE) -> _T:
    """The instance of *cls* that the JSON object *value* describes."""
    if not isinstance(value, dict):
        raise _wrong(value, where, "an object")
    kinds = {field.metadata[_KEY] or field.name: field for field in attrs.fields(cls) if _KIND in field.metadata}
    arguments = {}
    for key, field in kinds.items():
        if key in value:
            arguments[field.name] = field.metadata[_KIND].read(value[key], place(where, key))
        elif field.default is attrs.NOTHING or field.metadata[_REQUIRED]:
            raise DocumentRefused(where=place(where, key), cause="is missing")
    # Last, so that a document of another version is told apart by its version.
    for key in value:
        if key not in kinds:
            raise _unknown(place(where, key), kinds)
    return cls(**arguments)


def write_object(instance: Any) -> dict[str, object]:
    """The JSON object from which :func:`read_object` makes an equal instance."""
    return {
        field.metadata[_KEY] or field.name: field.metadata[_KIND].write(getattr(instance, field.name))
        for field in attrs.fields(type(instance))
        if _KIND in field.metadata
    }


def unique(keys: Iterable[tuple[str, Hashable]], what: str) -> None:
    """Refuse the second of two equal keys; each comes with its place."""
    first: dict[Hashable, str] = {}
    for where, key in keys:
        if key in first:
            raise DocumentRefused(where=where, cause=f"{what} is already used at {first[key]}")
        first[key] = where


def _unknown(where: str, known: Iterable[str]) -> DocumentRefused:
    return DocumentRefused(where=where, cause=f"no such key; known here: {', '.join(sorted(known))}")


def _wrong(value: object, where: str, right: str) -> DocumentRefused:
    name = {dict: "an object", list: "a list", str: "a text", int: "a number", bool: "true or false"}.get(type(value))
    return DocumentRefused(where=where, cause=f"is {name or 'null'}; has to be {right}")


@attrs.frozen
class Flag:
    """``true`` or ``false``."""

    def read(self, value: object, where: str) -> bool:
        """See :class:`Kind`."""
        if not isinstance(value, bool):
            raise _wrong(value, where, "true or false")
        return value

    def write(self, value: bool) -> object:
        """See :class:`Kind`."""
        return value


@attrs.frozen
class Whole:
    """A whole number within a :class:`~smartproxy.policy.limits.Limit`."""

    limit: limits.Limit

    def read(self, value: object, where: str) -> int:
        """See :class:`Kind`."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(value, where, f"a number of {self.limit.unit}")
        if not self.limit.admits(value):
            raise DocumentRefused(
                where=where,
                cause=f"is {value}; has to be between {self.limit.least} and {self.limit.most} {self.limit.unit}",
            )
        return value

    def write(self, value: int) -> object:
        """See :class:`Kind`."""
        return value


@attrs.frozen
class Fixed:
    """One number and no other: the version of a document's form."""

    number: int

    def read(self, value: object, where: str) -> int:
        """See :class:`Kind`."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(value, where, f"the number {self.number}")
        if value != self.number:
            raise DocumentRefused(
                where=where,
                cause=f"is {value}; this version of SmartProxy reads {self.number} only: update the older of the two",
            )
        return value

    def write(self, value: int) -> object:
        """See :class:`Kind`."""
        return value


@attrs.frozen(kw_only=True)
class Lines:
    """A text of several lines."""

    most: int

    def read(self, value: object, where: str) -> str:
        """See :class:`Kind`."""
        if not isinstance(value, str):
            raise _wrong(value, where, "a text")
        if not 1 <= len(value) <= self.most:
            raise DocumentRefused(
                where=where, cause=f"has {len(value)} characters; has to have between 1 and {self.most}"
            )
        if not value.replace("\r", "").replace("\n", "").replace("\t", "").isprintable():
            raise DocumentRefused(where=where, cause="has control characters in it")
        return value

    def write(self, value: str) -> object:
        """See :class:`Kind`."""
        return value


@attrs.frozen(kw_only=True)
class Text:
    """A text of printable characters.

    :ivar pattern: what the whole text has to match, if anything.
    :ivar form: the pattern in words, for the refusal.
    """

    most: int = limits.NAME_CHARACTERS_MOST
    pattern: str | None = None
    form: str = "another form"

    def read(self, value: object, where: str) -> str:
        """See :class:`Kind`."""
        if not isinstance(value, str):
            raise _wrong(value, where, "a text")
        if not 1 <= len(value) <= self.most:
            raise DocumentRefused(
                where=where, cause=f"has {len(value)} characters; has to have between 1 and {self.most}"
            )
        if not value.isprintable() or value != value.strip():
            raise DocumentRefused(where=where, cause="has control characters in it or blanks around it")
        if self.pattern is not None and re.fullmatch(self.pattern, value) is None:
            raise DocumentRefused(where=where, cause=f"has to be {self.form}")
        return value

    def write(self, value: str) -> object:
        """See :class:`Kind`."""
        return value


#: A name that an operator gives to a thing.
NAME: Final = Text()
#: A certificate or a key, by the SHA-256 of its DER octets.
SHA256: Final = Text(pattern="[0-9a-f]{64}", form="a SHA-256: 64 digits of lower case hex")


@attrs.frozen
class Member:
    """The value of a member of an enumeration."""

    members: type[enum.Enum]

    def read(self, value: object, where: str) -> enum.Enum:
        """See :class:`Kind`."""
        for member in self.members:
            # ``True == 1``: a boolean must not pass for a number.
            if member.value == value and not isinstance(value, bool):
                return member
        words = ", ".join(str(member.value) for member in self.members)
        raise DocumentRefused(where=where, cause=f"has to be one of {words}")

    def write(self, value: enum.Enum) -> object:
        """See :class:`Kind`."""
        return value.value


@attrs.frozen
class Instant:
    """A moment in UTC, such as ``2026-11-20T10:00:00Z``, to the second."""

    def read(self, value: object, where: str) -> datetime.datetime:
        """See :class:`Kind`."""
        if not isinstance(value, str):
            raise _wrong(value, where, "a time such as 2026-11-20T10:00:00Z")
        try:
            moment = datetime.datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC)
        except ValueError:
            moment = None
        if moment is None or self.write(moment) != value:
            raise DocumentRefused(where=where, cause="has to be a time in UTC such as 2026-11-20T10:00:00Z")
        return moment

    def write(self, value: datetime.datetime) -> str:
        """See :class:`Kind`; a fraction of a second is cut off."""
        return value.astimezone(datetime.UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


@attrs.frozen
class Address:
    """An IPv4 or IPv6 address, in digits."""

    def read(self, value: object, where: str) -> str:
        """See :class:`Kind`."""
        return _parsed(ipaddress.ip_address, value, where, "an IPv4 or IPv6 address such as 192.0.2.1 or 2001:db8::1")

    def write(self, value: str) -> object:
        """See :class:`Kind`."""
        return value


@attrs.frozen
class Network:
    """An IPv4 or IPv6 network, such as ``192.0.2.0/24``."""

    def read(self, value: object, where: str) -> str:
        """See :class:`Kind`."""
        return _parsed(ipaddress.ip_network, value, where, "a network such as 192.0.2.0/24 or 2001:db8::/48")

    def write(self, value: str) -> object:
        """See :class:`Kind`."""
        return value


def _parsed(parse: Callable[[str], object], value: object, where: str, right: str) -> str:
    if not isinstance(value, str):
        raise _wrong(value, where, right)
    try:
        parse(value)
    except ValueError:
        raise DocumentRefused(where=where, cause=f"has to be {right}") from None
    return value


@attrs.frozen(kw_only=True)
class Pem:
    """Text of one or more PEM blocks of one label, and of no other."""

    label: str
    most: int

    def read(self, value: object, where: str) -> str:
        """See :class:`Kind`."""
        if not isinstance(value, str):
            raise _wrong(value, where, f"PEM text of a {self.label}")
        if len(value) > limits.PEM_CHARACTERS_MOST:
            raise DocumentRefused(
                where=where, cause=f"has {len(value)} characters; at most {limits.PEM_CHARACTERS_MOST} are allowed"
            )
        try:
            blocks = pem.blocks(value, self.label)
        except pem.NotPem as error:
            raise DocumentRefused(where=where, cause=str(error)) from None
        if len(blocks) > self.most:
            raise DocumentRefused(where=where, cause=f"holds {len(blocks)} blocks; at most {self.most} are allowed")
        return value

    def write(self, value: str) -> object:
        """See :class:`Kind`."""
        return value


@attrs.frozen
class Optional:
    """``null`` for ``None``, or a value of the kind within."""

    within: Kind

    def read(self, value: object, where: str) -> Any:
        """See :class:`Kind`."""
        return None if value is None else self.within.read(value, where)

    def write(self, value: Any) -> object:
        """See :class:`Kind`."""
        return None if value is None else self.within.write(value)


@attrs.frozen(kw_only=True)
class ListOf:
    """A list of values of one kind, as a tuple."""

    item: Kind
    least: int = 0
    most: int = limits.DOCUMENT_ENTRIES_MOST

    def read(self, value: object, where: str) -> tuple[Any, ...]:
        """See :class:`Kind`."""
        if not isinstance(value, list):
            raise _wrong(value, where, "a list")
        if not self.least <= len(value) <= self.most:
            raise DocumentRefused(
                where=where, cause=f"has {len(value)} entries; has to have between {self.least} and {self.most}"
            )
        return tuple(self.item.read(item, f"{where}[{index}]") for index, item in enumerate(value))

    def write(self, value: tuple[Any, ...]) -> object:
        """See :class:`Kind`."""
        return [self.item.write(item) for item in value]


_SERIAL = re.compile("[0-9a-f]{1,40}")


@attrs.frozen
class Serials:
    """A list of certificate serial numbers in hex, as a set."""

    def read(self, value: object, where: str) -> frozenset[int]:
        """See :class:`Kind`."""
        if not isinstance(value, list):
            raise _wrong(value, where, "a list")
        if len(value) > limits.SERIALS_PER_ISSUER_MOST:
            raise DocumentRefused(
                where=where, cause=f"has {len(value)} entries; at most {limits.SERIALS_PER_ISSUER_MOST} are allowed"
            )
        for index, item in enumerate(value):
            if not isinstance(item, str) or _SERIAL.fullmatch(item) is None:
                raise DocumentRefused(
                    where=f"{where}[{index}]", cause="has to be a serial number: 1 to 40 digits of lower case hex"
                )
        return frozenset(int(item, 16) for item in value)

    def write(self, value: frozenset[int]) -> object:
        """See :class:`Kind`."""
        return [f"{serial:x}" for serial in sorted(value)]


@attrs.frozen
class Counts:
    """An object of numbers, each within the limit of its name."""

    limits: Mapping[str, limits.Limit]

    def read(self, value: object, where: str) -> dict[str, int]:
        """See :class:`Kind`."""
        if not isinstance(value, dict):
            raise _wrong(value, where, "an object")
        for key in value:
            if key not in self.limits:
                raise _unknown(place(where, key), self.limits)
        return {key: Whole(self.limits[key]).read(number, place(where, key)) for key, number in value.items()}

    def write(self, value: Mapping[str, int]) -> object:
        """See :class:`Kind`."""
        return dict(value)


@attrs.frozen
class ObjectOf:
    """An object that an attrs class describes."""

    cls: type[Any]

    def read(self, value: object, where: str) -> Any:
        """See :class:`Kind`."""
        return read_object(self.cls, value, where)

    def write(self, value: Any) -> object:
        """See :class:`Kind`."""
        return write_object(value)


@attrs.frozen
class Tagged:
    """An object whose *key* says which of several classes describes the rest of it.

    Each class carries its word as a class variable of the key's name.
    """

    key: str
    classes: tuple[type[Any], ...]

    @property
    def _words(self) -> Mapping[object, type[Any]]:
        return {getattr(cls, self.key): cls for cls in self.classes}

    def read(self, value: object, where: str) -> Any:
        """See :class:`Kind`."""
        if not isinstance(value, dict):
            raise _wrong(value, where, "an object")
        word = value.get(self.key)
        cls = self._words.get(word) if isinstance(word, str) else None
        if cls is None:
            words = ", ".join(str(known) for known in self._words)
            raise DocumentRefused(where=place(where, self.key), cause=f"has to be one of {words}")
        return read_object(cls, {key: inner for key, inner in value.items() if key != self.key}, where)

    def write(self, value: Any) -> object:
        """See :class:`Kind`."""
        return {self.key: getattr(value, self.key), **write_object(value)}
