"""Between the octets of one Command Exchange Buffer and a command.

:class:`Reader` judges a command while its octets arrive, field by field; :func:`decode` is the same on a whole buffer,
:func:`encode` its inverse for the commands that are made here (ESID, the test kit). What is relayed is never encoded
again. Trusts no octet; raises nothing but :class:`~smartproxy.oftp2.errors.ProtocolError` while reading.

Standards: RFC 5024 sections 5.2, 5.3, 7.2; RFC 2204 section 5.3.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from smartproxy.oftp2 import grammars, stream, subrecords
from smartproxy.oftp2.commands import BY_OCTET, DATA, ESID, EXCHANGE_BUFFER_LEAST, SSID, Command
from smartproxy.oftp2.errors import Anomaly, BadLength, EsidReason, ProtocolError, UnknownCommand, note
from smartproxy.oftp2.fields import Field, Layout, Rule
from smartproxy.oftp2.roles import Level, Profile

#: Octets of the Stream Transmission Header in front of what this module sees; error offsets include it.
HEADER: Final = stream.HEADER_LENGTH


def _layouts(kind: type[Command], level: Level | None, profile: Profile) -> tuple[Layout, ...]:
    if level is None and kind is ESID:
        found: tuple[Layout, ...] = (ESID.LAYOUTS[Level.OFTP_2_0], ESID.LAYOUTS[Level.OFTP_1_4])
        return found if profile is Profile.STRICT else (*found, ESID.TOLERATED[Level.OFTP_1_4][1])
    level = level or Level.OFTP_2_0
    return (kind.LAYOUTS[level],) if profile is Profile.STRICT else (kind.LAYOUTS[level], *kind.TOLERATED[level])


#: The longest reason text: its length has three digits (RFC 5024 section 5.3.11).
_REASON_OCTETS_MOST: Final = 999
_ESID_OCTETS: Final = 7
"""An ESID without its reason text (RFC 5024 section 5.3.11)."""

#: The rule that a command with a length in it ends where its buffer ends.
_FITTING: Final = "length.field"

#: The layouts that a command may have, the RFC's first, by name, release level and profile. The level is the agreed
#: one, ``None`` before there is one: then ESID may come in either layout.
LAYOUTS: Final[Mapping[tuple[str, Level | None, Profile], tuple[Layout, ...]]] = {
    (kind.NAME, level, profile): _layouts(kind, level, profile)
    for profile in Profile
    for level in (None, *Level)
    for kind in BY_OCTET[level or Level.OFTP_2_0].values()
}


def refusal(kind: type[Command], field: Field, rule: Rule, name: str, offset: int | None = None) -> ProtocolError:
    """Make the error of a field that breaks a rule.

    :param name: the rule's name, if it has none of its own.
    """
    section = rule.section or kind.SECTION
    return rule.error(
        rule=rule.name or name,
        message=f"{field.name} is not what section {section} allows here",
        section=section,
        command=kind.NAME,
        field=field.name,
        offset=offset,
    )


class Reader:
    """Judges one Command Exchange Buffer, octet by octet or whole.

    The command octet has been judged; DATA is not read by this class.

    :ivar values: the fields read so far, by attribute.
    :ivar anomalies: the departures let pass so far.
    """

    __slots__ = ("_kind", "_layouts", "_length", "_limits", "_next", "_position", "_profile", "anomalies", "values")

    def __init__(
        self,
        kind: type[Command],
        length: int,
        level: Level | None,
        profile: Profile = Profile.DEFAULT,
        limits: Mapping[str, Rule] | None = None,
    ) -> None:
        """Judge the length against the command.

        :param length: octets of the Exchange Buffer, as its header declares.
        :param limits: further rules by attribute: what the state of the session leaves of a field's values.
        :raise BadLength: if no such command is that long.
        """
        self._kind = kind
        self._length = length
        self._profile = profile
        self._limits = limits or {}
        self._layouts = [
            found for found in LAYOUTS[kind.NAME, level, profile] if found.shortest <= length <= found.longest
        ]
        if not self._layouts:
            raise BadLength(
                rule="length.command",
                message=_too_short(kind, level or Level.OFTP_2_0, length)
                or f"{kind.NAME} cannot be {length} octets long",
                section=kind.SECTION,
                command=kind.NAME,
                offset=HEADER,
            )
        self._next = 1
        self._position = 1
        self.values: dict[str, Any] = {}
        self.anomalies: list[Anomaly] = []

    def judge(self, octets: bytes | bytearray, start: int = 0, have: int | None = None) -> bool:
        """Judge what has arrived, from where the last call stopped.

        :param octets: what the Exchange Buffer stands in.
        :param start: index of its command octet.
        :param have: index behind its last octet that has arrived; all that is there without.
        :return: whether the command is complete.
        :raise ProtocolError: with the offset of the first octet that makes it wrong.
        """
        have = len(octets) if have is None else have
        while True:
            fields = self._layouts[0].fields
            if self._next == len(fields):
                return self._finished()
            field = fields[self._next]
            width = self._width(field, fields[self._next - 1])
            begin = start + self._position
            end = begin + width
            complete = have >= end
            if not complete and field.format == "U" and not field.number:
                return False
            found = bytes(octets[begin : min(end, have)])
            rules = self._rules(field)
            self._check(field, rules, found, width)
            if not complete:
                return False
            self._take(field, rules, found)
            self._position += width
            self._next += 1

    def command(self) -> Command:
        """Return the command that was read."""
        return self._kind(**{name: self.values.get(name) for name in self._kind.GIVEN})

    @property
    def level(self) -> Level | None:
        """The release level that an SSID has named so far."""
        return Level(self.values["lev"]) if "lev" in self.values else None

    def _finished(self) -> bool:
        number = self._layouts[0].anomaly
        if number is not None:
            self.anomalies.append(note(number, "length.command", self._kind.SECTION, self._kind.NAME))
        return True

    def _width(self, field: Field, before: Field) -> int:
        if field.width is not None:
            return field.width
        return int(self.values[before.attribute])

    def _rules(self, field: Field) -> tuple[Rule, ...]:
        rules: tuple[Rule, ...] = (field.rule,)
        if field.counts is not None:
            rules += (self._fitting(field),)
        if field.depends is not None and (further := field.depends(self.values)) is not None:
            rules += (further,)
        if field.attribute in self._limits:
            rules += (self._limits[field.attribute],)
        return rules

    def _fitting(self, field: Field) -> Rule:
        """A length may only be one with which the command ends where its buffer ends."""
        remaining = self._length - self._position - (field.width or 0)
        ranges = tuple(found.counts(self._next, remaining) for found in self._layouts if self._next < len(found.fields))
        grammar = grammars.Binary(ranges) if field.number else grammars.Decimal(ranges)
        return Rule(grammar=grammar, error=BadLength, name=_FITTING)

    def _check(self, field: Field, rules: tuple[Rule, ...], octets: bytes, width: int) -> None:
        if len(rules) == 1 and rules[0].applied(self._profile).fault(octets, width) is None:
            return
        first: tuple[int, Rule, str] | None = None
        # Digits come first: a number's value is judged by the session's limits only when all its digits are there, so
        # that a field which holds something else than digits is invalid data, however the stream was cut.
        late = self._limits.get(field.attribute) if field.format == "9" else None
        for rule in rules:
            grammar = rule.applied(self._profile)
            fault = grammar.fault(octets, width)
            if fault is not None and rule is late:
                fault = width - 1 if len(octets) == width else None
            if fault is not None and (first is None or fault < first[0]):
                first = fault, rule, grammar.rule
        if first is not None:
            refused = refusal(self._kind, field, first[1], first[2], HEADER + self._position + first[0])
            if first[1].name == _FITTING and (behind := self._layouts[0].fields[self._next + 2 :]):
                refused.message = f"{field.name} leaves no room for {_named(behind)}"
            raise refused

    def _take(self, field: Field, rules: tuple[Rule, ...], octets: bytes) -> None:
        value = self.values[field.attribute] = field.decode(octets)
        for rule in rules:
            if rule.anomaly is not None and rule.departs(octets):
                name, section = rule.name or rule.grammar.rule, rule.section or self._kind.SECTION
                self.anomalies.append(note(rule.anomaly, name, section, self._kind.NAME, field.name))
        if self._kind is SSID and field.attribute == "lev":
            self._layouts = [SSID.LAYOUTS[Level(value)]]
        elif field.counts is not None and len(self._layouts) > 1:
            remaining = self._length - self._position - len(octets)
            self._layouts = [
                found for found in self._layouts if (span := found.counts(self._next, remaining))[0] <= value <= span[1]
            ]


def _too_short(kind: type[Command], level: Level, length: int) -> str | None:
    """What is said of a command that is as long as one in a known short form: which fields it has no room for."""
    whole = kind.LAYOUTS[level].fields
    for short in kind.TOLERATED[level]:
        width = len(short.fields)
        if short.shortest <= length <= short.longest and whole[:width] == short.fields:
            return f"{kind.NAME} of {length} octets has no room for {_named(whole[width:])}"
    return None


def _named(fields: Sequence[Field]) -> str:
    *others, last = [field.name for field in fields]
    return f"{', '.join(others)} and {last}" if others else last


def decode(octets: bytes, level: Level, profile: Profile = Profile.DEFAULT) -> Command:
    """Read one whole Exchange Buffer, without its Stream Transmission Header.

    :param level: the agreed release level; an SSID is read by its own.
    :raise ProtocolError: if it is not a command of that level.
    """
    kind = BY_OCTET[level].get(octets[0]) if octets else None
    if kind is None:
        raise UnknownCommand(
            rule="command.unknown",
            message="the command octet names no command of this release level",
            section="5.3",
            offset=HEADER,
        )
    if kind is DATA:
        try:
            subrecords.check(octets)
        except ProtocolError as error:
            error.offset = HEADER + (error.offset or 0)
            raise
        return DATA(buf=bytes(octets[1:]))
    reader = Reader(kind, len(octets), level, profile)
    reader.judge(octets)
    return reader.command()


def encode(command: Command, level: Level = Level.OFTP_2_0) -> bytes:
    """Write a command as one Exchange Buffer, without its Stream Transmission Header.

    :param level: the release level to write it at; an SSID is written at its own.
    :raise ValueError: if its values do not fit, or if it would not be read back as what it is.
    """
    kind = type(command)
    if isinstance(command, SSID):
        level = Level(command.lev)
    if isinstance(command, DATA):
        octets = command.OCTET + bytes(command.buf)
    else:
        octets = b"".join(_written(command, _fitting(command, level)))
    try:
        same = decode(octets, level) == command
    except ProtocolError as error:
        raise ValueError(f"{kind.NAME} with values that the protocol does not allow: {error}") from error
    if not same:
        raise ValueError(f"{kind.NAME} with values that would not be read back as they are")
    return octets


def _fitting(command: Command, level: Level) -> Layout:
    kind = type(command)
    if level not in kind.LAYOUTS:
        raise ValueError(f"{kind.NAME} does not exist at release level {level:d}")
    possible = LAYOUTS[kind.NAME, level, Profile.DEFAULT]
    present = {name for name in kind.GIVEN if getattr(command, name) is not None}
    for found in possible:
        if found.attributes.intersection(kind.GIVEN) == present:
            return found
    odd = sorted(possible[0].attributes.intersection(kind.GIVEN) ^ present)
    raise ValueError(f"{kind.NAME} at release level {level:d}: missing or surplus: {', '.join(odd)}")


def _written(command: Command, found: Layout) -> list[bytes]:
    return [command.OCTET] + [field.encode(getattr(command, field.attribute)) for field in found.fields[1:]]


def esid(reason: EsidReason, text: str = "", level: Level = Level.OFTP_2_0, most: int = EXCHANGE_BUFFER_LEAST) -> bytes:
    """Return an ESID with its Stream Transmission Header, ready to be sent.

    Whatever the text is, there is an ESID: what is not printable is replaced, and what does not fit is cut off.

    :param text: left out at the levels that have no reason text.
    :param most: the octets of the Exchange Buffer that its reader takes.
    """
    said = _sayable(text, min(_REASON_OCTETS_MOST, most - _ESID_OCTETS)) if level is Level.OFTP_2_0 else None
    return stream.frame(encode(ESID(reas=int(reason), reast=said), level))


def _sayable(text: str, most: int) -> str:
    """What fits in a reason text, up to the end of a character."""
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return shown.encode()[:most].decode(errors="ignore")
