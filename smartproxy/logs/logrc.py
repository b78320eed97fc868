"""``PROGRAM.logrc``: what is logged, and where to. A TOML file that an operator writes.

Every table, key and value is judged; each fault is one line with its place, and nothing is guessed or left out: a log
that is not what its operator believes is worse than a daemon that does not start. Opens nothing but the file itself and
the certificates that it names.
"""

import tomllib
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import attrs

from smartproxy.logs.levels import CATEGORIES, EVERYTHING
from smartproxy.logs.severity import Severity
from smartproxy.logs.syslog import FACILITIES

_T = TypeVar("_T")

SIZE_MOST = 1 << 20
PORTS = {"udp": 514, "tcp": 601, "tls": 6514}
"""The usual port of a syslog by its transport: RFC 5426, 6587, 5425."""
KEEP_MOST = 36_500
LAYOUTS = ("text", "json")


class LogrcRefused(ValueError):
    """The file is wrong.

    :ivar faults: one line for each fault, with its place.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@attrs.frozen(kw_only=True)
class Appender:
    """What all appenders have.

    :ivar layout: ``text`` or ``json``.
    :ivar level: the lowest level that it takes of what is logged.
    :ivar categories: what it takes of what is logged.
    """

    layout: str = "text"
    level: Severity = Severity.TRACE
    categories: frozenset[str] = frozenset({EVERYTHING})


@attrs.frozen(kw_only=True)
class StandardOutput(Appender):
    """To standard output."""


@attrs.frozen(kw_only=True)
class DailyFiles(Appender):
    """To a file for each day.

    :ivar folder: ``None`` for the daemon's own.
    :ivar keep: for how many days before today files are kept; ``None`` for ever.
    """

    folder: Path | None = None
    keep: int | None = None


@attrs.frozen(kw_only=True)
class OneFile(Appender):
    """To one file."""

    path: Path


@attrs.frozen(kw_only=True)
class Syslog(Appender):
    """To a syslog.

    :ivar transport: ``udp``, ``tcp`` or ``tls``.
    :ivar facility: RFC 5424's number.
    :ivar ca: for TLS, the PEM certificates that the receiver is trusted by; ``None`` for the system's.
    """

    transport: str
    host: str
    port: int
    facility: int
    ca: str | None = None


@attrs.frozen
class Logrc:
    """What the file says.

    :ivar levels: by category.
    :ivar appenders: ``None`` if it names none, so that the usual ones hold.
    """

    levels: Mapping[str, Severity] = attrs.Factory(dict)
    appenders: tuple[Appender, ...] | None = None


def load(path: Path) -> Logrc:
    """Read a file.

    :raises LogrcRefused: if it cannot be read or is wrong.
    """
    try:
        with path.open("rb") as file:
            octets = file.read(SIZE_MOST + 1)
    except OSError as error:
        raise LogrcRefused(f"{path}: {error.strerror}") from None
    if len(octets) > SIZE_MOST:
        raise LogrcRefused(f"{path}: larger than {SIZE_MOST} octets; is this the right file?")
    try:
        return parse(octets.decode(), path.parent)
    except UnicodeDecodeError:
        raise LogrcRefused(f"{path}: not UTF-8") from None
    except LogrcRefused as refused:
        raise LogrcRefused(*(f"{path}: {fault}" for fault in refused.faults)) from None


def parse(text: str, folder: Path) -> Logrc:
    """Judge a file's text.

    :param folder: where relative paths begin.
    :raises LogrcRefused: with every fault that was found.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise LogrcRefused(f"not TOML: {error}") from None
    faults: list[str] = []
    top = _Table("", document, faults)
    none: dict[str, Severity] = {}
    levels = top.optional("levels", _levels(faults), none)
    appenders = top.optional("appenders", _appenders(faults, folder), None)
    top.end()
    if faults:
        raise LogrcRefused(*faults)
    return Logrc(levels, appenders)


class _Table:
    """One table, whose keys are taken one by one; faults are gathered."""

    def __init__(self, place: str, values: Mapping[str, object], faults: list[str]) -> None:
        self._place = place
        self._values = dict(values)
        self._faults = faults

    def optional(self, key: str, judge: Callable[[str, object], _T], default: _T) -> _T:
        """What a key holds, or what holds without it."""
        if key not in self._values:
            return default
        place = f"{self._place}.{key}" if self._place else key
        try:
            return judge(place, self._values.pop(key))
        except ValueError as error:
            self._faults.append(f"{place}: {error}")
            return default

    def required(self, key: str, judge: Callable[[str, object], _T], stand_in: _T) -> _T:
        """What a key holds; without it there is a fault, and the stand-in is never used."""
        if key not in self._values:
            self._faults.append(f"{self._place}.{key}: is missing")
        return self.optional(key, judge, stand_in)

    def end(self) -> None:
        """Nothing else may be there."""
        for key in self._values:
            place = f"{self._place}.{key}" if self._place else key
            self._faults.append(f"{place}: is not a key of this table")


def _levels(faults: list[str]) -> Callable[[str, object], dict[str, Severity]]:
    def judge(place: str, value: object) -> dict[str, Severity]:
        table = _Table(place, _table(value), faults)
        found = {name: table.optional(name, _level, None) for name in sorted(CATEGORIES)}
        table.end()
        return {name: severity for name, severity in found.items() if severity is not None}

    return judge


def _appenders(faults: list[str], folder: Path) -> Callable[[str, object], tuple[Appender, ...] | None]:
    def judge(place: str, value: object) -> tuple[Appender, ...]:
        if not isinstance(value, list):
            raise ValueError("is not a list of tables; write [[appenders]]")
        found = [_appender(f"{place}[{number}]", each, faults, folder) for number, each in enumerate(value, 1)]
        return tuple(each for each in found if each is not None)

    return judge


def _appender(place: str, value: object, faults: list[str], folder: Path) -> Appender | None:
    try:
        table = _Table(place, _table(value), faults)
    except ValueError as error:
        faults.append(f"{place}: {error}")
        return None
    kind = table.required("type", _one_of(*_KINDS), "")
    if not kind:
        return None
    before = len(faults)
    usual = "json" if kind == "file" else "text"
    layout = table.optional("layout", _one_of(*LAYOUTS), usual)
    level = table.optional("level", _level, None) or Severity.TRACE
    categories = table.optional("categories", _categories, frozenset({EVERYTHING}))
    made = _KINDS[kind](table, folder)
    table.end()
    if len(faults) > before:
        return None
    return attrs.evolve(made, layout=layout, level=level, categories=categories)


def _standard_output(table: _Table, folder: Path) -> Appender:
    return StandardOutput()


def _daily(table: _Table, folder: Path) -> Appender:
    return DailyFiles(
        folder=table.optional("folder", _path(folder), None), keep=table.optional("keep", _number(0, KEEP_MOST), None)
    )


def _file(table: _Table, folder: Path) -> Appender:
    return OneFile(path=table.required("path", _path(folder), None) or folder)


def _syslog(table: _Table, folder: Path) -> Appender:
    transport = table.optional("transport", _one_of(*PORTS), "udp")
    return Syslog(
        transport=transport,
        host=table.required("host", _address if transport == "udp" else _host, ""),
        port=table.optional("port", _number(1, 65535), None) or PORTS[transport],
        facility=FACILITIES[table.optional("facility", _one_of(*FACILITIES), "daemon")],
        ca=table.optional("ca", _certificates(folder), None) if transport == "tls" else None,
    )


_KINDS: Mapping[str, Callable[[_Table, Path], Appender]] = {
    "stdout": _standard_output,
    "daily": _daily,
    "file": _file,
    "syslog": _syslog,
}


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError("is not a table")
    return value


def _level(place: str, value: object) -> Severity | None:
    return Severity.named(_text(place, value))


def _text(place: str, value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("is not a text of printable characters")
    return value


def _one_of(*words: str) -> Callable[[str, object], str]:
    def judge(place: str, value: object) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is none of {', '.join(words)}")
        return str(value)

    return judge


def _number(least: int, most: int) -> Callable[[str, object], int | None]:
    def judge(place: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{value!r} is not a number from {least} to {most}")
        return value

    return judge


def _categories(place: str, value: object) -> frozenset[str]:
    if not isinstance(value, list) or not value:
        raise ValueError("is not a list of categories")
    unknown = [each for each in value if each not in CATEGORIES]
    if unknown:
        raise ValueError(f"unknown category {unknown[0]!r}; categories are {', '.join(sorted(CATEGORIES))}")
    return frozenset(value)


def _path(folder: Path) -> Callable[[str, object], Path | None]:
    return lambda place, value: folder / _text(place, value)


def _host(place: str, value: object) -> str:
    host = _text(place, value).removeprefix("[").removesuffix("]")
    if " " in host or "/" in host or ("." not in host and ":" in host and not _is_address(host)):
        raise ValueError(f"{host!r} is not a host name or an IP address")
    return host


def _address(place: str, value: object) -> str:
    host = _host(place, value)
    if not _is_address(host):
        raise ValueError(f"{host!r} is not an IP address, which udp needs; names are looked up for tcp and tls only")
    return host


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _certificates(folder: Path) -> Callable[[str, object], str | None]:
    def judge(place: str, value: object) -> str:
        path = folder / _text(place, value)
        try:
            text = path.read_text("ascii")
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError:
            text = ""
        if "-----BEGIN CERTIFICATE-----" not in text:
            raise ValueError(f"{path}: holds no certificate in PEM")
        return text

    return judge
