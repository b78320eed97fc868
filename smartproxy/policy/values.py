"""The kinds of single values in documents: how each is read from JSON, refused, and written back.

Duty: one class for each kind of value: flags, numbers within limits, texts, moments, addresses, PEM, serial numbers. A
value that does not fit is refused with its place; the refusal repeats no value, because it may be a secret. Trusts
nothing about the values. PEM text (RFC 7468) is split into the DER octets of its blocks, so that a certificate in the
configuration can be compared with one on the wire by SHA-256; DER is never parsed.
"""

import base64
import binascii
import datetime
import enum
import hashlib
import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final, Protocol

import attrs
from typing_extensions import override

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.serials import SerialSet
from smartproxy.policy.strict_json import DocumentRefused

_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")


def whole_of(text: str) -> int:
    """The whole number that a text writes as people and programs do: in the digits 0 to 9, with nothing else.

    :raises ValueError: when it writes none, or one of more than 18 digits.
    """
    if _WHOLE.fullmatch(text) is None:
        raise ValueError("not a whole number")
    return int(text)


class ValueKind(Protocol):
    """One way of writing values as JSON."""

    def read(self, value: object, where: str) -> Any:
        """The value for the class's field; refused with *where* if it is not of this kind."""

    def write(self, value: Any) -> object:
        """The plain JSON value from which :meth:`read` makes *value*."""


def wrong(value: object, where: str, right: str) -> DocumentRefused:
    """The refusal of a value that is not of the right JSON type; names the type that it has, never the value."""
    names = {dict: "an object", list: "a list", str: "a text", int: "a number", bool: "true or false"}
    name = "null" if value is None else names.get(type(value), f"a {type(value).__name__}")
    return DocumentRefused(where=where, cause=Cause.DOCUMENT_TYPE, message=f"is {name}; has to be {right}")


class _SameInJson(ValueKind):
    """A kind whose values are written as they are."""

    __slots__ = ()

    def write(self, value: object) -> object:
        """The value itself."""
        return value


@attrs.frozen
class Flag(_SameInJson):
    """``true`` or ``false``."""

    @override
    def read(self, value: object, where: str) -> bool:
        if not isinstance(value, bool):
            raise wrong(value, where, "true or false")
        return value


@attrs.frozen
class Whole(_SameInJson):
    """A whole number within a :class:`~smartproxy.policy.limits.Limit`."""

    limit: limits.Limit

    @override
    def read(self, value: object, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong(value, where, f"a number of {self.limit.unit}")
        if not self.limit.admits(value):
            raise DocumentRefused(
                where=where,
                cause=Cause.DOCUMENT_VALUE,
                message=f"is {value}; has to be between {self.limit.least} and {self.limit.most} {self.limit.unit}",
            )
        return value


@attrs.frozen
class Fixed(_SameInJson):
    """One number and no other: the version of a document's form."""

    number: int

    @override
    def read(self, value: object, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong(value, where, f"the number {self.number}")
        if value != self.number:
            raise DocumentRefused(
                where=where,
                cause=Cause.DOCUMENT_VERSION,
                message=f"is {value}; this version of SmartProxy reads {self.number} only: update the older of the two",
            )
        return value


def _text(value: object, where: str, most: int) -> str:
    """A text that is not empty and has at most so many characters."""
    if not isinstance(value, str):
        raise wrong(value, where, "a text")
    if not 1 <= len(value) <= most:
        message = f"has {len(value)} characters; has to have between 1 and {most}"
        raise DocumentRefused(
            where=where,
            cause=Cause.DOCUMENT_SIZE,
            message=message if value else f"is empty; has to have between 1 and {most} characters",
        )
    return value


@attrs.frozen(kw_only=True)
class Lines(_SameInJson):
    """A text of several lines."""

    most: int

    @override
    def read(self, value: object, where: str) -> str:
        text = _text(value, where, self.most)
        if not text.replace("\r", "").replace("\n", "").replace("\t", "").isprintable():
            raise DocumentRefused(where=where, cause=Cause.DOCUMENT_VALUE, message="has control characters in it")
        return text


@attrs.frozen(kw_only=True)
class Line(_SameInJson):
    """A text of printable characters.

    :ivar pattern: what the whole text has to match, if anything.
    :ivar form: the pattern in words, for the refusal.
    """

    most: int = limits.NAME_CHARACTERS_MOST
    pattern: str | None = None
    form: str = "another form"

    @override
    def read(self, value: object, where: str) -> str:
        text = _text(value, where, self.most)
        if not text.isprintable() or text != text.strip():
            raise DocumentRefused(
                where=where, cause=Cause.DOCUMENT_VALUE, message="has control characters in it or blanks around it"
            )
        if self.pattern is not None and re.fullmatch(self.pattern, text) is None:
            raise DocumentRefused(where=where, cause=Cause.DOCUMENT_VALUE, message=f"has to be {self.form}")
        return text


def visible(text: str, most: int) -> str:
    r"""Write what could act on a reader as ``\n``, ``\xNN`` or ``\uNNNN`` and cut the text short, marked by ``…``.

    That is all that Unicode does not call printable: controls, separators other than the blank, direction marks,
    characters without width, surrogates. Doing it twice changes nothing, so that a text may pass several daemons.
    """
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return cut if cut.isprintable() else "".join(map(_visible, cut))


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()


@attrs.frozen(kw_only=True)
class PeerText(ValueKind):
    """A text that a peer may have chosen: it is written with everything made visible that could act on a reader.

    :ivar most: its characters; a longer one is cut.
    """

    most: int

    @override
    def read(self, value: object, where: str) -> str:
        if not isinstance(value, str):
            raise wrong(value, where, "a text")
        if len(value) > self.most:
            raise DocumentRefused(
                where=where,
                cause=Cause.DOCUMENT_SIZE,
                message=f"has {len(value)} characters; at most {self.most} are allowed",
            )
        if not value.isprintable():
            raise DocumentRefused(where=where, cause=Cause.DOCUMENT_VALUE, message="has control characters in it")
        return value

    @override
    def write(self, value: str) -> str:
        return visible(visible(value, self.most), self.most)


#: A name that an operator gives to a thing.
NAME: Final = Line()


#: A file that a daemon reads.
FILE: Final = Line(most=limits.PATH_CHARACTERS_MOST, pattern=r"/.*[^/]", form="the absolute path of a file")


#: A certificate or a key, by the SHA-256 of its DER octets.
SHA256: Final = Line(pattern="[0-9a-f]{64}", form="a SHA-256: 64 digits of lower case hex")


@attrs.frozen
class Member(ValueKind):
    """The value of a member of an enumeration.

    :ivar words: what people call its members, in their order, where that is not the value.
    """

    members: type[enum.Enum]
    words: tuple[str, ...] = ()

    def word(self, member: enum.Enum) -> str:
        """What people call a member."""
        return self.words[list(self.members).index(member)] if self.words else str(member.value)

    @override
    def read(self, value: object, where: str) -> enum.Enum:
        for member in self.members:
            # ``True == 1``: a boolean must not pass for a number.
            if member.value == value and not isinstance(value, bool):
                return member
        words = ", ".join(str(member.value) for member in self.members)
        raise DocumentRefused(where=where, cause=Cause.DOCUMENT_VALUE, message=f"has to be one of {words}")

    @override
    def write(self, value: enum.Enum) -> object:
        return value.value


@attrs.frozen
class Instant(ValueKind):
    """A moment in UTC, such as ``2026-11-20T10:00:00Z``, to the second.

    :ivar years: the years that it may be in.
    """

    years: range = range(datetime.MINYEAR, datetime.MAXYEAR + 1)

    @override
    def read(self, value: object, where: str) -> datetime.datetime:
        if not isinstance(value, str):
            raise wrong(value, where, "a time such as 2026-11-20T10:00:00Z")
        try:
            moment = datetime.datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC)
        except ValueError:
            moment = None
        if moment is None or moment.year not in self.years or self.write(moment) != value:
            raise DocumentRefused(
                where=where, cause=Cause.DOCUMENT_VALUE, message="has to be a time in UTC such as 2026-11-20T10:00:00Z"
            )
        return moment

    def write(self, value: datetime.datetime) -> str:
        """The moment in UTC to the second, as documents have it; a fraction of a second is cut off."""
        return value.astimezone(datetime.UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def minute(moment: datetime.datetime) -> str:
    """A moment as people read it, such as ``2026-11-20 10:00 UTC``; the year has four digits always."""
    return f"{moment.astimezone(datetime.UTC).isoformat(' ', 'minutes')[:16]} UTC"


def shifted(moment: datetime.datetime, by: datetime.timedelta) -> datetime.datetime:
    """The moment *by* after *moment*, or the first or last moment that a date can have.

    Dates in certificates, lists and licences reach to the ends of time (RFC 5280 section 4.1.2.5: 99991231235959Z).
    """
    try:
        return moment + by
    except OverflowError:
        end = datetime.datetime.max if by > datetime.timedelta() else datetime.datetime.min
        return end.replace(tzinfo=moment.tzinfo)


@attrs.frozen
class Address(_SameInJson):
    """An IPv4 or IPv6 address, in digits."""

    @override
    def read(self, value: object, where: str) -> str:
        return _parsed(ipaddress.ip_address, value, where, "an IPv4 or IPv6 address such as 192.0.2.1 or 2001:db8::1")


@attrs.frozen
class Network(_SameInJson):
    """An IPv4 or IPv6 network, such as ``192.0.2.0/24``."""

    @override
    def read(self, value: object, where: str) -> str:
        return _parsed(ipaddress.ip_network, value, where, "a network such as 192.0.2.0/24 or 2001:db8::/48")


def _parsed(parse: Callable[[str], object], value: object, where: str, right: str) -> str:
    if not isinstance(value, str):
        raise wrong(value, where, right)
    try:
        parse(value)
    except ValueError:
        raise DocumentRefused(where=where, cause=Cause.DOCUMENT_VALUE, message=f"has to be {right}") from None
    return value


@attrs.frozen(kw_only=True)
class Pem(_SameInJson):
    """Text of one or more PEM blocks of one label, and of no other."""

    label: str
    most: int

    @override
    def read(self, value: object, where: str) -> str:
        if not isinstance(value, str):
            raise wrong(value, where, f"PEM text of a {self.label}")
        if len(value) > limits.PEM_CHARACTERS_MOST:
            raise DocumentRefused(
                where=where,
                cause=Cause.DOCUMENT_SIZE,
                message=f"has {len(value)} characters; at most {limits.PEM_CHARACTERS_MOST} are allowed",
            )
        try:
            found = blocks(value, self.label)
        except NotPem as error:
            raise DocumentRefused(where=where, cause=Cause.DOCUMENT_VALUE, message=str(error)) from None
        if len(found) > self.most:
            raise DocumentRefused(
                where=where,
                cause=Cause.DOCUMENT_SIZE,
                message=f"holds {len(found)} blocks; at most {self.most} are allowed",
            )
        return value


_SERIAL = re.compile("[0-9a-f]{1,40}")


@attrs.frozen
class Serials(ValueKind):
    """Certificate serial numbers: a list in hex, or a set whose octets stood beside the document."""

    @override
    def read(self, value: object, where: str) -> SerialSet:
        if isinstance(value, SerialSet):
            return value
        if not isinstance(value, list):
            raise wrong(value, where, "a list")
        if len(value) > limits.SERIALS_PER_ISSUER_MOST:
            raise DocumentRefused(
                where=where,
                cause=Cause.DOCUMENT_SIZE,
                message=f"has {len(value)} entries; at most {limits.SERIALS_PER_ISSUER_MOST} are allowed",
            )
        for index, item in enumerate(value):
            if not isinstance(item, str) or _SERIAL.fullmatch(item) is None:
                raise DocumentRefused(
                    where=f"{where}[{index}]",
                    cause=Cause.DOCUMENT_VALUE,
                    message="has to be a serial number: 1 to 40 digits of lower case hex",
                )
        return SerialSet.of(int(item, 16) for item in value)

    def write(self, value: SerialSet) -> object:
        """The numbers in hex, in their order; a long set is left as it is, for :mod:`~smartproxy.policy.packing`."""
        if len(value) > limits.SERIALS_IN_TEXT_MOST:
            return value
        return [f"{serial:x}" for serial in value]


_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s([A-Za-z0-9+/=\s]+)-----END \1-----")


class NotPem(ValueError):
    """The text is not made of PEM blocks of the wanted label."""


def blocks(text: str, label: str) -> tuple[bytes, ...]:
    """The DER octets of all blocks of *text*, in their order; text between blocks is ignored (RFC 7468 section 5.2).

    :raises NotPem: if there is no block, one that is broken, or one of another label.
    """
    found = list(_BLOCK.finditer(text))
    if not found:
        raise NotPem(f"holds no PEM block; it has to begin with -----BEGIN {label}-----")
    if len(found) != text.count("-----BEGIN ") or len(found) != text.count("-----END "):
        raise NotPem("holds a PEM block that is cut or broken")
    for number, block in enumerate(found, 1):
        if block[1] != label:
            raise NotPem(f"PEM block {number} is a {block[1][:40]}; all have to be {label}")
    try:
        return tuple(base64.b64decode("".join(block[2].split()), validate=True) for block in found)
    except binascii.Error:
        raise NotPem("holds a PEM block that is not base64") from None


def sha256(der: bytes) -> str:
    """The SHA-256 in lower case hex, as certificates and keys are named in the configuration."""
    return hashlib.sha256(der).hexdigest()
