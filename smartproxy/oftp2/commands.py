"""The 18 commands of OFTP2, one class each, one field a line, in the order and with the positions of the RFC.

The declarations are the single place where the formats of release levels 1, 2, 4 and 5 stand; everything else (codec,
monitor, documentation) reads them. Checked at import: no field may begin elsewhere than where its predecessor ends.

A field that does not exist at a level is ``None`` there. Lengths of variable fields are filled in by the class.

Standards: RFC 5024 section 5.3 (level 5), RFC 2204 section 5.3 (levels 1 and 2); level 4 has no RFC.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

import attrs

from smartproxy.oftp2 import grammars
from smartproxy.oftp2.errors import Incompatible
from smartproxy.oftp2.fields import (
    F_9,
    F_X,
    L_9,
    L_U,
    METADATA,
    V_9,
    V_T,
    V_U,
    V_X,
    Declaration,
    Layout,
    Rule,
    layout,
)
from smartproxy.oftp2.roles import Level

EXCHANGE_BUFFER_LEAST: Final = 128
"""The smallest Exchange Buffer that a program can offer (SSIDSDEB, RFC 5024 section 5.3.2), in octets."""


class Command:
    """Base of the 18 commands.

    :cvar NAME: the RFC's name.
    :cvar OCTET: the command octet.
    :cvar SECTION: the section of RFC 5024 that defines it.
    :cvar LAYOUTS: the fields at each release level that has the command.
    :cvar GIVEN: the attributes that it is made from: all but the lengths, which follow from the others.
    :cvar LENGTHS: the attributes that hold a length, and the ones whose length it is.
    :cvar SHOWN: each attribute with the RFC's name of its field, and whether it is secret.
    :cvar TOLERATED: the further layouts that the default profile lets pass, at each release level.
    """

    __slots__ = ()
    NAME: ClassVar[str]
    OCTET: ClassVar[bytes]
    SECTION: ClassVar[str]
    LAYOUTS: ClassVar[Mapping[Level, Layout]]
    TOLERATED: ClassVar[Mapping[Level, tuple[Layout, ...]]]

    GIVEN: ClassVar[tuple[str, ...]]
    LENGTHS: ClassVar[tuple[tuple[str, str], ...]]
    SHOWN: ClassVar[tuple[tuple[str, str, bool], ...]]

    def shown(self) -> dict[str, object]:
        """Return what it holds by the RFC's field names, secrets masked."""
        return {
            shown: "***" if secret else getattr(self, name)
            for name, shown, secret in self.SHOWN
            if getattr(self, name) is not None
        }


class CountingCommand(Command):
    """A command with fields that hold the length of the field behind."""

    __slots__ = ()

    def __attrs_post_init__(self) -> None:
        """Fill in the lengths of the variable fields."""
        for name, counted in self.LENGTHS:
            value = getattr(self, counted)
            if value is not None:
                octets = value.encode("utf-8") if isinstance(value, str) else value
                object.__setattr__(self, name, len(octets))


def declared(command: type[Command]) -> Iterable[tuple[str, Declaration]]:
    """Yield the attribute and the declaration of each field, in order."""
    for attribute in attrs.fields(command):  # type: ignore[arg-type]  # attrs classes all, by the decorator below
        yield attribute.name, attribute.metadata[METADATA]


#: Every command, in the order of RFC 5024 section 5.3.
COMMANDS: Final[list[type[Command]]] = []
C = TypeVar("C", bound=type[Command])


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(F_X, F_9, V_X, V_9, V_T, V_U, L_9, L_U)
)
def command(octet: bytes, section: str, *, since: int = 1, short: tuple[str, int] | None = None) -> Callable[[C], C]:
    """Make a class one of the commands.

    :param since: the lowest release level that has it.
    :param short: the attribute in front of which the default profile lets it end, and the number of that departure.
    """

    def decorate(cls: C) -> C:
        made = attrs.frozen(kw_only=True)(cls)
        made.NAME, made.OCTET, made.SECTION = cls.__name__, octet, section
        made.GIVEN = tuple(name for name, line in declared(made) if line.counts is None)
        made.LENGTHS = tuple((name, line.counts) for name, line in declared(made) if line.counts is not None)
        if made.LENGTHS and not issubclass(made, CountingCommand):
            raise TypeError(f"{cls.__name__} counts octets of its fields, and nobody fills the numbers in")
        made.SHOWN = tuple((name, cls.__name__ + name.upper(), line.secret) for name, line in declared(made))
        made.LAYOUTS = {level: layout(cls.__name__, octet, declared(made), level) for level in Level if level >= since}
        made.TOLERATED = {
            level: (whole.without(*short),) if short and short[0] in whole.attributes else ()
            for level, whole in made.LAYOUTS.items()
        }
        COMMANDS.append(made)
        return made

    return decorate


def _one_of(*values: str, **more: Any) -> Rule:
    return Rule(grammar=grammars.Values(value.encode("latin-1") for value in values), **more)


def _between(least: int, most: int) -> Rule:
    return Rule(grammar=grammars.Decimal(((least, most),)))


def _blank(width: int, *more: str) -> Rule:
    return _one_of(" " * width, *more)


NUMBER: Final = Rule(grammar=grammars.Digits())
YES_OR_NO: Final = _one_of("Y", "N")
STRING: Final = Rule(grammar=grammars.Alphanumeric())
SESSION_STRING: Final = Rule(grammar=grammars.Alphanumeric(), tolerated=grammars.Printable(), anomaly=26)
CARRIAGE_RETURN: Final = Rule(
    grammar=grammars.Values([b"\r", b"\x8d"]), tolerated=grammars.Values([b"\r", b"\x8d", b"\n"]), anomaly=2
)
IDENTIFICATION: Final = Rule(
    grammar=grammars.IdentificationCode(), tolerated=grammars.IdentificationSet(), anomaly=21, section="5.4"
)
DATASET_NAME: Final = Rule(
    grammar=grammars.DatasetName(literal=True), tolerated=grammars.DatasetName(literal=False), anomaly=8
)
DATE: Final = Rule(grammar=grammars.Date(), section="1.5.2")
TIME: Final = Rule(grammar=grammars.Time(1), tolerated=grammars.Time(0), anomaly=9, section="1.5.2")
FORMATS: Final = _one_of("F", "V", "U", "T")

_REFUSALS_1 = (*(f"{code:02d}" for code in (1, 2, 3, 4, 5, 6, 10, 11, 12, 13)), "99")
_REFUSALS_4 = (*_REFUSALS_1, "14")
_REFUSALS_5 = (*_REFUSALS_4, *(str(code) for code in range(15, 21)))
START_REFUSALS: Final = {1: _one_of(*_REFUSALS_1), 4: _one_of(*_REFUSALS_4), 5: _one_of(*_REFUSALS_5)}
END_REFUSALS: Final = {**START_REFUSALS, 5: _one_of(*_REFUSALS_5, "21", "22", "23")}
ESID_REASONS: Final = grammars.Values(f"{code:02d}".encode() for code in (*range(13), 99))
NERP_REASONS: Final = _one_of("03", "04", "09", *(str(code) for code in (*range(11, 17), *range(20, 37), 50, 90, 99)))
RELEASES: Final = _one_of(*(str(level.value) for level in Level))


_SPECIAL_LOGIC: Final = Rule(
    grammar=grammars.Values([b"N"]),
    tolerated=YES_OR_NO.grammar,
    anomaly=24,
    error=Incompatible,
    name="negotiation.special_logic",
)
_RECORD_SIZE: Final = Rule(grammar=grammars.Decimal(((0, 0),)), name="field.record_size")
_SIGNATURE: Final = Rule(
    grammar=grammars.Binary(((1, 65535),)), tolerated=grammars.Opaque(), anomaly=14, name="field.unsigned_hash"
)


def _no_record_size(before: Mapping[str, Any]) -> Rule | None:
    """SFIDLRECL is zero where there are no records."""
    return _RECORD_SIZE if before["fmt"] in "UT" else None


def _no_service(before: Mapping[str, Any]) -> Rule | None:
    """A variable format file with records over 65536 octets is neither secured nor compressed."""
    return _RECORD_SIZE if before["fmt"] == "V" and before["lrecl"] > 65536 else None


def _signed(before: Mapping[str, Any]) -> Rule | None:
    """An end response that carries a hash is signed."""
    return None if before["hshl"] == 0 else _SIGNATURE


def _no_special_logic(before: Mapping[str, Any]) -> Rule:
    """There is no special logic over TCP."""
    return _SPECIAL_LOGIC


@command(b"I", "5.3.1")
class SSRM(Command):
    """Start Session Ready Message."""

    msg: str = F_X(17, 1, _one_of("ODETTE FTP READY "), default="ODETTE FTP READY")
    cr: str = F_X(1, 18, CARRIAGE_RETURN, default="\r")


@command(b"X", "5.3.2")
class SSID(Command):
    """Start Session. Its layout goes by its own release level."""

    lev: int = F_9(1, 1, RELEASES)
    code: str = V_X(25, 2, IDENTIFICATION)
    pswd: str = V_X(8, 27, SESSION_STRING, secret=True)
    sdeb: int = V_9(5, 35, _between(EXCHANGE_BUFFER_LEAST, 99999))
    sr: str = F_X(1, 40, _one_of("S", "R", "B"))
    cmpr: str = F_X(1, 41, YES_OR_NO)
    rest: str = F_X(1, 42, YES_OR_NO)
    spec: str = F_X(1, 43, YES_OR_NO, depends=_no_special_logic)
    cred: int = V_9(3, 44, _between(1, 999))
    auth: str | None = F_X(1, 47, YES_OR_NO, since=5, default=None)
    rsv1: str = F_X({1: 5, 5: 4}, {1: 47, 5: 48}, {1: _blank(5, "N    "), 5: _blank(4)}, default="")
    user: str = V_X(8, 52, SESSION_STRING, default="")
    cr: str = F_X(1, 60, CARRIAGE_RETURN, default="\r")


BLOCK_OCTETS: Final = 1024
"""SFIDFSIZ and SFIDOSIZ count blocks of so many octets (RFC 5024 section 5.3.3)."""


@command(b"H", "5.3.3")
class SFID(CountingCommand):
    """Start File."""

    dsn: str = V_X(26, 1, DATASET_NAME)
    rsv1: str = F_X({1: 9, 4: 3}, 27, {1: _blank(9), 4: _blank(3)}, default="")
    date: int = V_9({1: 6, 4: 8}, {1: 36, 4: 30}, DATE)
    time: int = V_9({1: 6, 4: 10}, {1: 42, 4: 38}, TIME)
    user: str = V_X(8, 48, STRING, default="")
    dest: str = V_X(25, 56, IDENTIFICATION)
    orig: str = V_X(25, 81, IDENTIFICATION)
    fmt: str = F_X(1, 106, FORMATS)
    lrecl: int = V_9(5, 107, NUMBER, depends=_no_record_size)
    fsiz: int = V_9({1: 7, 5: 13}, 112, NUMBER)
    osiz: int | None = V_9(13, 125, NUMBER, since=5, default=None)
    rest: int = V_9({1: 9, 5: 17}, {1: 119, 5: 138}, NUMBER)
    sec: int | None = F_9(2, 155, _between(0, 3), since=5, depends=_no_service, default=None)
    ciph: int | None = F_9(2, 157, NUMBER, since=5, default=None)
    comp: int | None = F_9(1, 159, _between(0, 1), since=5, depends=_no_service, default=None)
    env: int | None = F_9(1, 160, _between(0, 1), since=5, default=None)
    sign: str | None = F_X(1, 161, YES_OR_NO, since=5, default=None)
    descl: int | None = L_9("desc", 162, since=5)
    desc: str | None = V_T(position=165, since=5, default=None)


@command(b"2", "5.3.4")
class SFPA(Command):
    """Start File Positive Answer."""

    acnt: int = V_9({1: 9, 5: 17}, 1, NUMBER)


@command(b"3", "5.3.5")
class SFNA(CountingCommand):
    """Start File Negative Answer."""

    reas: int = F_9(2, 1, START_REFUSALS)
    rrtr: str = F_X(1, 3, YES_OR_NO)
    reasl: int | None = L_9("reast", 4, since=5)
    reast: str | None = V_T(position=7, since=5, default=None)


@command(b"D", "5.3.6")
class DATA(Command):
    """Data Exchange Buffer. The monitor judges it without ever making one of these."""

    buf: bytes = V_U(None, 1)


@command(b"C", "5.3.7", short=("rsv1", 11))
class CDT(Command):
    """Set Credit."""

    rsv1: str | None = F_X(2, 1, _blank(2), default="")


@command(b"T", "5.3.8")
class EFID(Command):
    """End File."""

    rcnt: int = V_9({1: 9, 5: 17}, 1, NUMBER)
    ucnt: int = V_9({1: 12, 5: 17}, {1: 10, 5: 18}, NUMBER)


@command(b"4", "5.3.9")
class EFPA(Command):
    """End File Positive Answer."""

    cd: str = F_X(1, 1, YES_OR_NO)


@command(b"5", "5.3.10")
class EFNA(CountingCommand):
    """End File Negative Answer."""

    reas: int = F_9(2, 1, END_REFUSALS)
    reasl: int | None = L_9("reast", 3, since=5)
    reast: str | None = V_T(position=6, since=5, default=None)


@command(b"F", "5.3.11")
class ESID(CountingCommand):
    """End Session. The default profile tolerates the layout of any level, and that of 1.x without its last octet."""

    reas: int = F_9(2, 1, Rule(grammar=ESID_REASONS))
    reasl: int | None = L_9("reast", 3, since=5)
    reast: str | None = V_T(position=6, since=5, default=None)
    cr: str | None = F_X(1, {1: 3, 5: None}, CARRIAGE_RETURN, default="\r")


ESID.TOLERATED = {
    level: (
        attrs.evolve(ESID.LAYOUTS[Level.OFTP_1_4 if level is Level.OFTP_2_0 else Level.OFTP_2_0], anomaly=18),
        ESID.LAYOUTS[Level.OFTP_1_4].without("cr", 18),
    )
    for level in Level
}


@command(b"R", "5.3.12")
class CD(Command):
    """Change Direction."""


@command(b"E", "5.3.13", short=("hshl", 15))
class EERP(CountingCommand):
    """End to End Response."""

    dsn: str = V_X(26, 1, DATASET_NAME)
    rsv1: str = F_X({1: 9, 4: 3}, 27, {1: _blank(9), 4: _blank(3)}, default="")
    date: int = V_9({1: 6, 4: 8}, {1: 36, 4: 30}, DATE)
    time: int = V_9({1: 6, 4: 10}, {1: 42, 4: 38}, TIME)
    user: str = V_X(8, 48, STRING, default="")
    dest: str = V_X(25, 56, IDENTIFICATION)
    orig: str = V_X(25, 81, IDENTIFICATION)
    hshl: int | None = L_U("hsh", 106, since=5)
    hsh: bytes | None = V_U(None, 108, since=5, default=None)
    sigl: int | None = L_U("sig", None, since=5, depends=_signed)
    sig: bytes | None = V_U(None, None, since=5, default=None)


@command(b"N", "5.3.14", since=4, short=("hshl", 15))
class NERP(CountingCommand):
    """Negative End Response."""

    dsn: str = V_X(26, 1, DATASET_NAME)
    rsv1: str = F_X(6, 27, _blank(6), default="")
    date: int = V_9(8, 33, DATE)
    time: int = V_9(10, 41, TIME)
    dest: str = V_X(25, 51, IDENTIFICATION)
    orig: str = V_X(25, 76, IDENTIFICATION)
    crea: str = V_X(25, 101, IDENTIFICATION)
    reas: int = F_9(2, 126, NERP_REASONS)
    reasl: int | None = L_9("reast", 128, since=5)
    reast: str | None = V_T(position=131, since=5, default=None)
    hshl: int | None = L_U("hsh", None, since=5)
    hsh: bytes | None = V_U(None, None, since=5, default=None)
    sigl: int | None = L_U("sig", None, since=5, depends=_signed)
    sig: bytes | None = V_U(None, None, since=5, default=None)


@command(b"P", "5.3.15")
class RTR(Command):
    """Ready To Receive."""


@command(b"J", "5.3.16", since=5)
class SECD(Command):
    """Security Change Direction."""


@command(b"A", "5.3.17", since=5)
class AUCH(CountingCommand):
    """Authentication Challenge."""

    chll: int | None = L_U("chal", 1, since=5)
    chal: bytes = V_U(None, 3, since=5)


@command(b"S", "5.3.18", since=5)
class AURP(Command):
    """Authentication Response."""

    rsp: bytes = V_U(20, 1, since=5, secret=True)


#: The commands of each release level by their octet.
BY_OCTET: Final[Mapping[Level, Mapping[int, type[Command]]]] = {
    level: {made.OCTET[0]: made for made in COMMANDS if level in made.LAYOUTS} for level in Level
}
#: All commands by name.
BY_NAME: Final[Mapping[str, type[Command]]] = {made.NAME: made for made in COMMANDS}
