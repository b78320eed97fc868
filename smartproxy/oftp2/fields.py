"""The vocabulary in which the commands are declared: one line a field, in the RFC's own letters.

``F_``/``V_`` (fixed set of values, variable within a range) and ``X``/``9``/``U``/``T`` are the format letters of
RFC 5024 section 5.3. A declaration says where the field lies at each release level; :class:`Layout` is what comes
out: the fields of one command at one level, with their positions checked at import. Knows nothing of streams or states.

Standards: RFC 5024 sections 5.1 to 5.3; RFC 2204 section 5.3.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

import attrs

from smartproxy.oftp2 import grammars
from smartproxy.oftp2.errors import BadField, ProtocolError
from smartproxy.oftp2.roles import Level, Profile

#: A number for all levels, or numbers from a level upwards.
PerLevel = int | Mapping[int, int | None]
#: What a field may be, given the values of the fields in front of it.
Dependence = Callable[[Mapping[str, Any]], "Rule | None"]

METADATA: Final = "smartproxy.oftp2"
MOST: Final = {"9": lambda width: 10**width - 1, "U": lambda width: 256**width - 1}


@attrs.frozen(kw_only=True)
class Rule:
    """One thing that a field must be.

    :ivar grammar: what the RFC allows.
    :ivar tolerated: what the default profile lets pass, if that is more.
    :ivar anomaly: the number in the list of tolerated departures (``docs``: anomalies).
    :ivar error: what breaking the rule is.
    :ivar name: the rule's name if the grammar's does not say it.
    :ivar section: of RFC 5024, if it is not the command's own.
    """

    grammar: grammars.Grammar
    tolerated: grammars.Grammar | None = None
    anomaly: int | None = None
    error: type[ProtocolError] = BadField
    name: str | None = None
    section: str | None = None

    def applied(self, profile: Profile) -> grammars.Grammar:
        """Return the grammar that counts in this profile."""
        return self.grammar if self.tolerated is None or profile is Profile.STRICT else self.tolerated

    def departs(self, octets: bytes) -> bool:
        """Tell whether a value that was let pass is outside what the RFC allows."""
        return self.tolerated is not None and self.grammar.fault(octets, len(octets)) is not None


@attrs.frozen(kw_only=True)
class Field:
    """One field of one command at one release level.

    :ivar name: the RFC's name, such as ``SSIDLEV``.
    :ivar attribute: the attribute of the command that holds it; empty for the command octet.
    :ivar position: offset in the Command Exchange Buffer; ``None`` behind a field of variable length.
    :ivar kind: ``F`` or ``V``.
    :ivar format: ``X``, ``9``, ``U`` or ``T``.
    :ivar width: octets; ``None`` if another field says how many.
    :ivar counts: the attribute whose length this field holds.
    :ivar number: whether the value is a number.
    :ivar secret: whether the value must not be shown.
    """

    name: str
    attribute: str
    position: int | None
    kind: str
    format: str
    width: int | None
    rule: Rule
    depends: Dependence | None = None
    counts: str | None = None
    number: bool = False
    secret: bool = False

    def describe(self) -> str:
        """Return the format as the RFC prints it, such as ``V X(25)``."""
        return f"{self.kind} {self.format}({'n' if self.width is None else self.width})"

    def decode(self, octets: bytes) -> Any:
        r"""Turn judged octets into a Python value; an octet of a text that is not UTF-8 becomes ``\xNN``."""
        if self.format == "9":
            return int(octets)
        if self.format == "T":
            return octets.decode("utf-8", "backslashreplace")
        if self.format == "X":
            return octets.decode("latin-1").rstrip(" ")
        return int.from_bytes(octets, "big") if self.number else octets

    def encode(self, value: Any) -> bytes:
        """Turn a Python value into octets.

        :raise ValueError: if it is of another type or does not fit.
        """
        try:
            octets = self._octets(value)
        except (TypeError, AttributeError, OverflowError, ValueError) as error:
            raise ValueError(f"{self.name} cannot hold this value") from error
        if self.width is not None and len(octets) != self.width:
            raise ValueError(f"{self.name} holds {self.width} octets, not {len(octets)}")
        return octets

    def _octets(self, value: Any) -> bytes:
        if self.format == "9":
            return f"{value:0{self.width}d}".encode()
        if self.format == "T":
            return bytes(value.encode("utf-8"))
        if self.format == "X":
            return bytes(value.encode("latin-1").ljust(self.width))
        return int.to_bytes(value, self.width or 0, "big") if self.number else bytes(memoryview(value))


@attrs.frozen
class Layout:
    """The fields of one command at one release level, or what is left of them in a tolerated short form.

    :ivar fields: in order, the command octet first.
    :ivar anomaly: the number of the tolerated departure that this layout is, if it is one.
    """

    fields: tuple[Field, ...]
    anomaly: int | None = None
    #: octets of the fields behind each field: the fewest and the most
    behind: tuple[tuple[int, int], ...] = attrs.field(init=False)

    @behind.default
    def _behind(self) -> tuple[tuple[int, int], ...]:
        behind = []
        least = most = 0
        for index in range(len(self.fields) - 1, -1, -1):
            behind.append((least, most))
            shortest, longest = self._widths(index)
            least, most = least + shortest, most + longest
        return tuple(reversed(behind))

    def _widths(self, index: int) -> tuple[int, int]:
        width = self.fields[index].width
        if width is not None:
            return width, width
        length = self.fields[index - 1]
        if length.counts != self.fields[index].attribute or length.width is None:
            return 0, UNBOUNDED
        return 0, MOST[length.format](length.width)

    @property
    def attributes(self) -> frozenset[str]:
        """The attributes that a command of this layout has."""
        return frozenset(field.attribute for field in self.fields[1:])

    @property
    def shortest(self) -> int:
        """The fewest octets that such a command has."""
        return 1 + self.behind[0][0]

    @property
    def longest(self) -> int:
        """The most octets that such a command has."""
        return 1 + self.behind[0][1]

    def counts(self, index: int, remaining: int) -> tuple[int, int]:
        """Return the range of a length field so that the command ends where its buffer ends.

        :param index: the length field's.
        :param remaining: octets behind it.
        """
        least, most = self.behind[index + 1]
        return max(remaining - most, 0), remaining - least

    def without(self, attribute: str, anomaly: int) -> "Layout":
        """Return the short form that ends in front of a field."""
        index = [field.attribute for field in self.fields].index(attribute)
        return Layout(self.fields[:index], anomaly)


#: Longer than any Exchange Buffer.
UNBOUNDED: Final = 1 << 24


@attrs.frozen(kw_only=True)
class Declaration:
    """What a line of a command's class says about a field."""

    kind: str
    format: str
    width: PerLevel | None
    position: PerLevel | None
    rule: Rule | Mapping[int, Rule]
    since: int = 1
    depends: Dependence | None = None
    counts: str | None = None
    number: bool = False
    secret: bool = False

    def at(self, level: Level, prefix: str, attribute: str) -> Field | None:
        """Return the field at a level, or ``None`` if it does not exist there."""
        if level < self.since:
            return None
        return Field(
            name=prefix + attribute.upper(),
            attribute=attribute,
            position=_at(self.position, level),
            kind=self.kind,
            format=self.format,
            width=_at(self.width, level),
            rule=self.rule if isinstance(self.rule, Rule) else _at(self.rule, level),
            depends=self.depends,
            counts=self.counts,
            number=self.number,
            secret=self.secret,
        )


def _at(value: Any, level: Level) -> Any:
    if not isinstance(value, Mapping):
        return value
    return value[max(start for start in value if start <= level)]


def layout(name: str, octet: bytes, declared: Iterable[tuple[str, Declaration]], level: Level) -> Layout:
    """Lay a command's fields out at a level.

    :raise ValueError: if a field does not begin where the one before it ends.
    """
    command = Rule(grammar=grammars.Values([octet]))
    fields = [
        Field(name=name + "CMD", attribute="", position=0, kind="F", format="X", width=1, rule=command),
    ]
    end: int | None = 1
    for attribute, declaration in declared:
        field = declaration.at(level, name, attribute)
        if field is None:
            continue
        if field.position != end:
            raise ValueError(f"{field.name} at level {level:d}: declared at {field.position}, follows {end}")
        end = None if end is None or field.width is None else end + field.width
        fields.append(field)
    return Layout(tuple(fields))


def _declare(default: Any, secret: bool, **declared: Any) -> Any:
    return attrs.field(
        default=default,
        repr=(lambda value: "'***'") if secret else True,
        metadata={METADATA: Declaration(secret=secret, **declared)},
    )


def F_X(
    width: PerLevel,
    position: PerLevel | None,
    rule: Rule | Mapping[int, Rule],
    *,
    since: int = 1,
    depends: Dependence | None = None,
    default: Any = attrs.NOTHING,
) -> Any:
    """Declare ``F X(n)``: characters out of a fixed set of values."""
    return _declare(
        default, False, kind="F", format="X", width=width, position=position, rule=rule, since=since, depends=depends
    )


def V_X(width: int, position: PerLevel, rule: Rule, *, secret: bool = False, default: Any = attrs.NOTHING) -> Any:
    """Declare ``V X(n)``: a string."""
    return _declare(default, secret, kind="V", format="X", width=width, position=position, rule=rule)


def F_9(
    width: int,
    position: int,
    rule: Rule | Mapping[int, Rule],
    *,
    since: int = 1,
    depends: Dependence | None = None,
    default: Any = attrs.NOTHING,
) -> Any:
    """Declare ``F 9(n)``: a number out of a fixed set of values."""
    return _declare(
        default, False, kind="F", format="9", width=width, position=position, rule=rule, since=since, depends=depends
    )


def V_9(
    width: PerLevel,
    position: PerLevel,
    rule: Rule,
    *,
    since: int = 1,
    depends: Dependence | None = None,
    default: Any = attrs.NOTHING,
) -> Any:
    """Declare ``V 9(n)``: a number within a range."""
    return _declare(
        default, False, kind="V", format="9", width=width, position=position, rule=rule, since=since, depends=depends
    )


def V_T(*, position: int | None, since: int, default: Any = attrs.NOTHING) -> Any:
    """Declare ``V T(n)``: UTF-8 text, as long as the field in front of it says.

    The default profile tolerates another character set, such as Latin-1, without control characters.
    """
    rule = Rule(grammar=grammars.Utf8(), tolerated=grammars.ForeignText(), anomaly=27)
    return _declare(default, False, kind="V", format="T", width=None, position=position, rule=rule, since=since)


def V_U(
    width: int | None,
    position: int | None,
    *,
    since: int = 1,
    secret: bool = False,
    default: Any = attrs.NOTHING,
) -> Any:
    """Declare ``V U(n)``: octets that are not looked into; without a width, as long as the field in front says."""
    rule = Rule(grammar=grammars.Opaque())
    return _declare(default, secret, kind="V", format="U", width=width, position=position, rule=rule, since=since)


def _length(counts: str, **declared: Any) -> Any:
    declaration = Declaration(kind="V", counts=counts, **declared)
    return attrs.field(default=None, init=False, metadata={METADATA: declaration})


def L_9(counts: str, position: int, *, since: int, init: Literal[False] = False) -> Any:
    """Declare ``V 9(3)`` that holds the length of the field behind it."""
    rule = Rule(grammar=grammars.Digits())
    return _length(counts, format="9", width=3, position=position, rule=rule, since=since)


def L_U(
    counts: str,
    position: int | None,
    *,
    since: int,
    depends: Dependence | None = None,
    init: Literal[False] = False,
) -> Any:
    """Declare ``V U(2)`` that holds the length of the field behind it."""
    rule = Rule(grammar=grammars.Opaque())
    return _length(counts, format="U", width=2, position=position, rule=rule, since=since, depends=depends, number=True)
