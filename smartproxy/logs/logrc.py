"""``PROGRAM.logrc``: what is logged, and where to. A TOML file that an operator writes.

Every table, key and value is judged by :mod:`smartproxy.policy.schema`; each fault is one line with its place, and
nothing is guessed or left out: a log that is not what its operator believes is worse than a daemon that does not start.
Opens nothing but the file itself and the certificates that it names.
"""

import enum
import tomllib
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs
from typing_extensions import override

from smartproxy.logs.levels import CATEGORIES, EVERYTHING
from smartproxy.logs.named_tls import trusted
from smartproxy.logs.severity import Severity
from smartproxy.logs.syslog import FACILITIES
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.decoding import Undecodable
from smartproxy.policy.limits import KEEP_LOGS_DAYS, Limit
from smartproxy.policy.schema import ListOf, Tagged, kind, read_object
from smartproxy.policy.strict_json import WHOLE, DocumentRefused, place, together
from smartproxy.policy.values import Line, Member, Whole

SIZE_MOST = 1 << 20
PORT: Final = Limit(default=514, least=1, most=65_535, unit="(a port)")


class LogrcRefused(ValueError):
    """The file is wrong.

    :ivar faults: one line for each fault, with its place.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class LogLayout(enum.Enum):
    """How an entry is written."""

    TEXT = "text"
    JSON = "json"


@attrs.frozen
class Parsed:
    """A text that a function makes something of; its ``ValueError`` is the refusal. Only read, never written."""

    parse: Callable[[str], Any]

    def read(self, value: object, where: str) -> Any:
        """What the function makes of the text."""
        text = Line(most=4096).read(value, where)
        try:
            return self.parse(text)
        except ValueError as error:
            raise DocumentRefused(where=where, cause=Cause.DOCUMENT_VALUE, message=str(error)) from None

    def write(self, value: Any) -> object:
        """The value as a text."""
        return str(value)


def one_of(words: Mapping[str, object]) -> Parsed:
    """A text that stands for a value."""

    def judge(text: str) -> object:
        if text not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return words[text]

    return Parsed(judge)


def _host(text: str) -> str:
    host = text.removeprefix("[").removesuffix("]")
    if " " in host or "/" in host or ("." not in host and ":" in host and not _is_address(host)):
        raise ValueError(f"{host!r} is not a host name or an IP address")
    return host


def _address(text: str) -> str:
    host = _host(text)
    if not _is_address(host):
        raise ValueError(f"{host!r} is not an IP address, which udp needs; names are looked up for tcp and tls only")
    return host


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _certificates(text: str) -> str:
    path = Path(text)
    try:
        found = path.read_text("ascii")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        found = ""
    try:
        trusted(found)
    except Undecodable:
        raise ValueError(f"{path}: holds no certificate in PEM that can be read") from None
    return found


def _set(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


LEVEL: Final = Parsed(Severity.named)
CATEGORY: Final = one_of({category: category for category in sorted(CATEGORIES)})


@attrs.frozen(kw_only=True)
class Appender:
    """What all appenders have.

    :ivar level: the lowest level that it takes of what is logged.
    :ivar categories: what it takes of what is logged.
    """

    layout: LogLayout = attrs.field(default=LogLayout.TEXT, metadata=kind(Member(LogLayout)))
    level: Severity = attrs.field(default=Severity.TRACE, metadata=kind(LEVEL))
    categories: frozenset[str] = attrs.field(
        default=frozenset({EVERYTHING}), converter=_set, metadata=kind(ListOf(item=CATEGORY, least=1, first=1))
    )


@attrs.frozen(kw_only=True)
class StandardOutput(Appender):
    """To standard output."""

    type: ClassVar = "stdout"


@attrs.frozen(kw_only=True)
class DailyFiles(Appender):
    """To a file for each day.

    :ivar folder: ``None`` for the daemon's own.
    :ivar keep: for how many days before today files are kept; 0 for ever.
    """

    type: ClassVar = "daily"
    folder: Path | None = attrs.field(default=None, metadata=kind(Parsed(Path)))
    keep: int = attrs.field(default=KEEP_LOGS_DAYS.default, metadata=kind(Whole(KEEP_LOGS_DAYS)))


@attrs.frozen(kw_only=True)
class OneFile(Appender):
    """To one file."""

    type: ClassVar = "file"
    layout: LogLayout = attrs.field(default=LogLayout.JSON, metadata=kind(Member(LogLayout)))
    path: Path = attrs.field(metadata=kind(Parsed(Path)))


@attrs.frozen(kw_only=True)
class Syslog(Appender):
    """To a syslog, by one of its transports.

    :ivar facility: RFC 5424's number.
    :ivar ca: for TLS, the PEM certificates that the receiver is trusted by; ``None`` for the system's.
    """

    type: ClassVar = "syslog"
    transport: ClassVar[str]
    host: str = attrs.field(metadata=kind(Parsed(_host)))
    port: int
    facility: int = attrs.field(default=FACILITIES["daemon"], metadata=kind(one_of(FACILITIES)))
    ca: str | None = None


@attrs.frozen(kw_only=True)
class DatagramSyslog(Syslog):
    """Over UDP (RFC 5426)."""

    transport: ClassVar = "udp"
    host: str = attrs.field(metadata=kind(Parsed(_address)))
    port: int = attrs.field(default=514, metadata=kind(Whole(PORT)))


@attrs.frozen(kw_only=True)
class StreamSyslog(Syslog):
    """Over TCP (RFC 6587)."""

    transport: ClassVar = "tcp"
    port: int = attrs.field(default=601, metadata=kind(Whole(PORT)))


@attrs.frozen(kw_only=True)
class SecureSyslog(Syslog):
    """Over TLS (RFC 5425)."""

    transport: ClassVar = "tls"
    port: int = attrs.field(default=6514, metadata=kind(Whole(PORT)))
    ca: str | None = attrs.field(default=None, metadata=kind(Parsed(_certificates)))


@attrs.frozen
class _AnyAppender:
    """An appender of any type; a syslog's table says by its transport what else it may hold."""

    types = Tagged("type", (StandardOutput, DailyFiles, OneFile, Syslog))
    transports = Tagged("transport", (DatagramSyslog, StreamSyslog, SecureSyslog))

    def read(self, value: object, where: str) -> Appender:
        """The appender that a table describes."""
        if not isinstance(value, dict):
            raise DocumentRefused(where=where, cause=Cause.DOCUMENT_TYPE, message="is not a table")
        if value.get("type") == Syslog.type:
            table = {"transport": DatagramSyslog.transport, **value}
            del table["type"]
            found: Appender = self.transports.read(table, where)
        else:
            found = self.types.read(value, where)
        return found

    def write(self, value: Appender) -> object:
        """Nobody writes the file but its operator."""
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class _Appenders(ListOf):
    """The list of all appenders."""

    @override
    def read(self, value: object, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise DocumentRefused(
                where=where, cause=Cause.DOCUMENT_TYPE, message="is not a list of tables; write [[appenders]]"
            )
        return super().read(value, where)


@attrs.frozen
class _Levels:
    """The table of levels by category."""

    def read(self, value: object, where: str) -> dict[str, Severity]:
        """All levels that the table names."""
        if not isinstance(value, dict):
            raise DocumentRefused(where=where, cause=Cause.DOCUMENT_TYPE, message="is not a table")
        found, faults = {}, []
        for category, level in value.items():
            at = place(where, category)
            try:
                found[CATEGORY.read(category, at)] = LEVEL.read(level, at)
            except DocumentRefused as refused:
                faults.append(refused)
        if faults:
            raise together(faults)
        return found

    def write(self, value: Mapping[str, Severity]) -> object:
        """The table."""
        return {category: severity.label for category, severity in value.items()}


@attrs.frozen
class Logrc:
    """What the file says.

    :ivar levels: by category.
    :ivar appenders: ``None`` if it names none, so that the usual ones hold.
    """

    levels: Mapping[str, Severity] = attrs.field(factory=dict, metadata=kind(_Levels()))
    appenders: tuple[Appender, ...] | None = attrs.field(
        default=None, metadata=kind(_Appenders(item=_AnyAppender(), first=1))
    )


def load(path: Path, read: Callable[[Path, int], bytes]) -> Logrc:
    """Read a file.

    :param read: reads a file of at most so many octets.
    :raises LogrcRefused: if it cannot be read or is wrong.
    """
    try:
        octets = read(path, SIZE_MOST)
    except OSError as error:
        raise LogrcRefused(f"{path}: {error.strerror}") from None
    try:
        return parse(octets.decode("utf-8-sig"), path.parent)
    except UnicodeDecodeError:
        raise LogrcRefused(f"{path}: not UTF-8") from None
    except LogrcRefused as refused:
        raise LogrcRefused(*(f"{path}: {fault}" for fault in refused.faults)) from None


def parse(text: str, folder: Path) -> Logrc:
    """Judge a file's text.

    :param folder: where relative paths begin.
    :raises LogrcRefused: with every fault that was found.
    """
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        raise LogrcRefused("this is XML, as log4c has it; make a new one of it: smartproxy logrc convert FILE")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits is a plain ValueError.
        raise LogrcRefused(f"not TOML: {error}") from None
    appenders = document.get("appenders")
    for table in appenders if isinstance(appenders, list) else ():
        for key in ("folder", "path", "ca") if isinstance(table, dict) else ():
            if isinstance(table.get(key), str) and table[key]:
                table[key] = str(folder / table[key])
    try:
        return read_object(Logrc, document, WHOLE)
    except DocumentRefused as refused:
        raise LogrcRefused(*(str(each) for each in (refused, *refused.others))) from None
