"""Inputs and answers that many operations share."""

import base64
import contextlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import attrs
from cryptography.x509 import Certificate
from typing_extensions import override

from smartproxy.backend.certificates import certificate_pin, issuer_text, known_key_pin, subject_text
from smartproxy.backend.consequences import Refusal
from smartproxy.backend.states import Difference, EntryKind, EntryPlace
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind, masked
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import NAME, SHA256, Flag, Instant, Line, Lines, Member, ValueKind, Whole, wrong

WARNING_CHARACTERS_MOST = 10_000
WARNINGS_MOST = 1_000
WARNINGS = ListOf(item=Lines(most=WARNING_CHARACTERS_MOST), most=WARNINGS_MOST)
"""What the operator had better know although it was done."""


@attrs.frozen(kw_only=True)
class Nothing:
    """An input that says nothing further."""


@attrs.frozen(kw_only=True)
class Named:
    """Which one.

    :ivar name: its name.
    """

    name: str = attrs.field(metadata=kind(NAME, people=ForPeople(help="its name")))


@attrs.frozen(kw_only=True)
class Removed:
    """What is not there any more.

    :ivar name: its name.
    """

    name: str = attrs.field(metadata=kind(NAME))


@attrs.frozen(kw_only=True)
class Page:
    """Which part of a list.

    :ivar after: the cursor of the answer before; ``None`` for the first part.
    :ivar limit: how many entries.
    """

    after: str | None = attrs.field(
        default=None,
        metadata=kind(Optional(NAME), people=ForPeople(help="the cursor 'next' of the part before")),
    )
    limit: int = attrs.field(
        default=limits.PAGE.default, metadata=kind(Whole(limits.PAGE), people=ForPeople(help="how many entries"))
    )

    def of(self, names: Iterable[str]) -> tuple[list[str], str | None]:
        """The names that are on this page, and the cursor of the next one.

        Sorted here, and not by the database: each has an order of its own for what is not ASCII.
        """
        left = sorted(
            (each for each in names if self.after is None or in_order(each) > in_order(self.after)), key=in_order
        )
        found = left[: self.limit]
        return found, found[-1] if len(left) > self.limit else None


def in_order(name: str) -> tuple[str, str]:
    """By what names are sorted for people: whatever their case."""
    return name.lower(), name


@attrs.frozen
class AnyJson:
    """Any value of JSON: an entry of a kind that the reader need not know."""

    def read(self, value: object, where: str) -> object:
        """Take the value as it is."""
        return value

    def write(self, value: object) -> object:
        """Give the value as it is."""
        return value


@attrs.frozen
class AnyText(ValueKind):
    """Any text: peers may have written it, so whoever shows it has to escape it."""

    @override
    def read(self, value: object, where: str) -> str:
        if not isinstance(value, str):
            raise wrong(value, where, "a text")
        return value

    @override
    def write(self, value: str) -> str:
        return value


@attrs.frozen
class JsonObject(ValueKind):
    """An object of JSON whose members the reader need not know."""

    @override
    def read(self, value: object, where: str) -> object:
        if not isinstance(value, dict):
            raise wrong(value, where, "an object")
        return value

    @override
    def write(self, value: object) -> object:
        return value


@attrs.frozen
class Instantaneous(ValueKind):
    """A moment in UTC with fractions of a second, such as ``2026-11-20T10:00:00.123Z``."""

    @override
    def read(self, value: object, where: str) -> datetime:
        if not isinstance(value, str):
            raise wrong(value, where, "a time such as 2026-11-20T10:00:00Z")
        if re.fullmatch(MOMENT, value, re.ASCII) is not None:
            with contextlib.suppress(ValueError):
                return datetime.fromisoformat(value)
        raise DocumentRefused(
            where=where, cause=Cause.DOCUMENT_VALUE, message="has to be a time in UTC such as 2026-11-20T10:00:00Z"
        )

    @override
    def write(self, value: datetime) -> str:
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z"
"""The form of a moment."""


@attrs.frozen
class Word(ValueKind):
    """One of some words."""

    words: tuple[str, ...]

    @override
    def read(self, value: object, where: str) -> str:
        if isinstance(value, str) and value in self.words:
            return value
        raise DocumentRefused(
            where=where, cause=Cause.DOCUMENT_VALUE, message=f"has to be one of {', '.join(self.words)}"
        )

    @override
    def write(self, value: str) -> str:
        return value


@attrs.frozen
class InBase64(ValueKind):
    """Octets, such as a file's, in base64 (RFC 4648 section 4).

    :ivar most: how many at most.
    """

    most: int

    @override
    def read(self, value: object, where: str) -> bytes:
        if not isinstance(value, str):
            raise wrong(value, where, "octets in base64")
        if len(value) > self.characters_most:
            raise DocumentRefused(where=where, cause=Cause.DOCUMENT_SIZE, message=f"is larger than {self.most} octets")
        try:
            return base64.b64decode(value, validate=True)
        except ValueError:
            raise DocumentRefused(where=where, cause=Cause.DOCUMENT_VALUE, message="has to be base64") from None

    @override
    def write(self, value: bytes) -> str:
        return base64.b64encode(value).decode("ascii")

    @property
    def characters_most(self) -> int:
        """The length of the base64 of so many octets."""
        return (self.most + 2) // 3 * 4


FILES_MOST = 100
_FILE_OCTETS = InBase64(most=512 * 1024)


@attrs.frozen(kw_only=True)
class GivenFile:
    """A file that is given to an operation.

    :ivar name: what it is called in messages; nothing is written there.
    :ivar octets: what is in it; it may be secret.
    """

    name: str = attrs.field(metadata=kind(Line(most=4096), people=ForPeople(help="what it is called in messages")))
    octets: bytes = attrs.field(repr=masked, metadata=kind(_FILE_OCTETS, people=ForPeople(help="in base64")))


GIVEN_FILES = ListOf(item=ObjectOf(GivenFile), least=1, most=FILES_MOST)


@attrs.frozen(kw_only=True)
class KnownCertificate:
    """What stands in a certificate.

    :ivar sha256: of the whole certificate.
    :ivar key_sha256: of its key; ``None`` if that cannot be read.
    """

    subject: str = attrs.field(metadata=kind(AnyText()))
    issuer: str = attrs.field(metadata=kind(AnyText()))
    not_before: datetime = attrs.field(metadata=kind(Instant()))
    not_after: datetime = attrs.field(metadata=kind(Instant()))
    sha256: str = attrs.field(metadata=kind(SHA256))
    key_sha256: str | None = attrs.field(metadata=kind(Optional(SHA256)))

    @classmethod
    def of(cls, certificate: Certificate) -> "KnownCertificate":
        """What stands in this certificate."""
        return cls(
            subject=subject_text(certificate),
            issuer=issuer_text(certificate),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            sha256=certificate_pin(certificate),
            key_sha256=known_key_pin(certificate),
        )


_TEXT = Lines(most=WARNING_CHARACTERS_MOST)


@attrs.frozen(kw_only=True)
class EntryDifference:
    """An entry that a change makes different.

    :ivar subject: what kind of entry it is.
    :ivar before: what it is before; ``None`` if it is not there.
    :ivar after: what it is afterwards; ``None`` if it is not there.
    :ivar secret: whether a secret of it changes, too.
    """

    subject: EntryKind = attrs.field(metadata=kind(Member(EntryKind)))
    name: str = attrs.field(metadata=kind(AnyJson()))
    before: object = attrs.field(metadata=kind(AnyJson()))
    after: object = attrs.field(metadata=kind(AnyJson()))
    secret: bool = attrs.field(metadata=kind(Flag()))

    @classmethod
    def of(cls, difference: Difference) -> "EntryDifference":
        """What a difference between two states is."""
        return cls(
            subject=difference.place.subject,
            name=difference.place.name,
            before=difference.before,
            after=difference.after,
            secret=difference.secret,
        )

    def difference(self) -> Difference:
        """The difference between two states."""
        place = EntryPlace(self.subject, self.name)
        return Difference(place=place, before=self.before, after=self.after, secret=self.secret)


@attrs.frozen(kw_only=True)
class ForeseenRefusal:
    """A partner that a change would refuse where it is admitted today.

    :ivar partner: its name; ``*`` for all.
    :ivar why: what would be refused.
    """

    partner: str = attrs.field(metadata=kind(_TEXT))
    why: str = attrs.field(metadata=kind(_TEXT))


@attrs.frozen(kw_only=True)
class Foreseen:
    """What a change would do; nothing was changed.

    :ivar generation: the number that it would have.
    :ivar warnings: what the operator had better know of what was given.
    """

    generation: int = attrs.field(metadata=kind(Whole(limits.GENERATION)))
    differences: tuple[EntryDifference, ...] = attrs.field(
        metadata=kind(ListOf(item=ObjectOf(EntryDifference), most=limits.DOCUMENT_CONTAINERS_MOST))
    )
    refusals: tuple[ForeseenRefusal, ...] = attrs.field(
        metadata=kind(ListOf(item=ObjectOf(ForeseenRefusal), most=limits.DOCUMENT_CONTAINERS_MOST))
    )
    warnings: tuple[str, ...] = attrs.field(default=(), metadata=kind(WARNINGS))

    @classmethod
    def of(
        cls,
        generation: int,
        differences: Iterable[Difference],
        refusals: Iterable[Refusal],
        warnings: Sequence[str] = (),
    ) -> "Foreseen":
        """Of differences between two states, whom the second refuses, and what the change would warn of."""
        return cls(
            generation=generation,
            differences=tuple(map(EntryDifference.of, differences)),
            refusals=tuple(ForeseenRefusal(partner=each.partner, why=each.why) for each in refusals),
            warnings=tuple(warnings),
        )
