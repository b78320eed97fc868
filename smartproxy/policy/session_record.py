"""The record of a session: which side said which command when, as the client brings it and the store keeps it.

Duty: the form of a record, and its bounds. No content of a file and no secret is in one: DATA is counted, and what
commands hold is as the codec shows it, passwords masked and octets told by their number only. Trusts no record: it is
read by its declaration.
"""

import re
from collections.abc import Mapping
from typing import Final

import attrs
from typing_extensions import override

from smartproxy.policy.causes import Cause
from smartproxy.policy.limits import Limit
from smartproxy.policy.schema import ListOf, ObjectOf, Optional, kind
from smartproxy.policy.strict_json import DocumentRefused, place
from smartproxy.policy.values import NAME, Line, PeerText, ValueKind, Whole, wrong

STEPS_FIRST: Final = 480
"""The first commands of a session that are kept."""
STEPS_LAST: Final = 20
"""The last commands that are kept of a session with more."""
OCTETS_MOST: Final = 512 * 1024
"""The longest record as JSON."""
PACKED_MOST: Final = 64 * 1024
"""The longest packed record; one that is longer loses commands."""
DATA: Final = "DATA"
"""The step that stands for all Data Exchange Buffers between two other commands, and for their Set Credits."""

SESSION_CHARACTERS: Final = 16
SESSION_PATTERN: Final = f"[0-9a-f]{{{SESSION_CHARACTERS}}}"
SESSION_ID: Final = Line(
    most=SESSION_CHARACTERS,
    pattern=SESSION_PATTERN,
    form="a session: 16 digits of lower case hex",
)
_NUMBER: Final = Whole(Limit(default=0, least=0, most=2**63 - 1, unit="(a count)"))
_MEMBERS_MOST: Final = 40
_TEXT: Final = Line(most=1000)
_NAME: Final = re.compile("[A-Za-z_][A-Za-z0-9_]{0,31}")
_RETURNS: Final = frozenset({"\r", "\x8d", "\n"})
"""What the last field of SSRM, SSID and ESID holds."""


@attrs.frozen(kw_only=True)
class FieldText(PeerText):
    """The text of a field of a command, which may be a carriage return."""

    @override
    def read(self, value: object, where: str) -> str:
        return value if isinstance(value, str) and value in _RETURNS else super().read(value, where)

    @override
    def write(self, value: str) -> str:
        return value if value in _RETURNS else super().write(value)


FACT: Final = FieldText(most=1000)
"""A text in a record: the longest field of a command has 999 octets."""


@attrs.frozen
class Facts(ValueKind):
    """An object of texts, whole numbers and truth values, by names such as the RFC's of fields."""

    @override
    def read(self, value: object, where: str) -> dict[str, str | int]:
        if not isinstance(value, dict) or len(value) > _MEMBERS_MOST:
            raise wrong(value, where, f"an object of at most {_MEMBERS_MOST} members")
        return {self._named(key, where): self._fact(each, place(where, key)) for key, each in value.items()}

    @override
    def write(self, value: Mapping[str, str | int]) -> object:
        return {name: FACT.write(each) if isinstance(each, str) else each for name, each in value.items()}

    @staticmethod
    def _named(name: str, where: str) -> str:
        if _NAME.fullmatch(name) is None:
            raise DocumentRefused(where=where, cause=Cause.DOCUMENT_KEY_UNKNOWN, message="has a key that is no name")
        return name

    @staticmethod
    def _fact(value: object, where: str) -> str | int:
        match value:
            case bool():
                return value
            case str():
                return FACT.read(value, where)
            case int():
                return _NUMBER.read(value, where)
            case _:
                raise wrong(value, where, "a text or a whole number")


@attrs.frozen(kw_only=True)
class RecordedStep:
    """A command, or the DATA between two commands.

    :ivar at: milliseconds since the session began, when it was let pass.
    :ivar by: who sent it: ``partner`` or ``station``.
    :ivar command: its name.
    :ivar fields: its fields by the RFC's names; of DATA ``buffers``, ``octets`` (of the file) and ``credits`` (CDT).
    """

    at: int = attrs.field(metadata=kind(_NUMBER))
    by: str = attrs.field(metadata=kind(Line(most=7, pattern="partner|station", form="partner or station")))
    command: str = attrs.field(metadata=kind(Line(most=4, pattern="[A-Z]{2,4}", form="the name of a command")))
    fields: dict[str, str | int] = attrs.field(metadata=kind(Facts()))


@attrs.frozen(kw_only=True)
class SessionRecord:
    """A session that is over, as the client saw it.

    :ivar began: when, in ISO 8601.
    :ivar initiator: who called: ``partner`` or ``station``.
    :ivar lasted: milliseconds until it was over.
    :ivar setup: milliseconds until both SSIDs were exchanged; ``None`` if that did not happen.
    :ivar agreed: what the two SSIDs agreed on.
    :ivar held_partner: milliseconds in which the partner was not read because the station did not take more.
    :ivar held_station: milliseconds in which the station was not read because the partner did not take more.
    :ivar left_out: commands that are not among the steps; they stood before the last :data:`STEPS_LAST`.
    """

    session: str = attrs.field(metadata=kind(SESSION_ID))
    partner: str | None = attrs.field(metadata=kind(Optional(NAME)))
    peer: str = attrs.field(metadata=kind(_TEXT))
    began: str = attrs.field(metadata=kind(Line(most=40)))
    initiator: str = attrs.field(metadata=kind(Line(most=7, pattern="partner|station", form="partner or station")))
    lasted: int = attrs.field(metadata=kind(_NUMBER))
    setup: int | None = attrs.field(metadata=kind(Optional(_NUMBER)))
    outcome: str = attrs.field(metadata=kind(Line(most=32)))
    cause: str = attrs.field(metadata=kind(Line(most=64)))
    agreed: dict[str, str | int] | None = attrs.field(metadata=kind(Optional(Facts())))
    held_partner: int = attrs.field(metadata=kind(_NUMBER))
    held_station: int = attrs.field(metadata=kind(_NUMBER))
    steps: tuple[RecordedStep, ...] = attrs.field(
        metadata=kind(ListOf(item=ObjectOf(RecordedStep), most=STEPS_FIRST + STEPS_LAST))
    )
    left_out: int = attrs.field(metadata=kind(_NUMBER))
