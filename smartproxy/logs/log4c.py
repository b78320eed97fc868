"""An old ``.logrc`` in log4c's XML, made into one of ours.

Duty: read categories, priorities, appenders and layouts, write the TOML that says the same, and say of everything else
that it has no counterpart: nothing is left out without a word. Trusts nothing about the file: no entity is declared or
resolved, no other file is read, and octets, depth and number of elements are bounded. Opens nothing.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Final
from xml.parsers import expat

import attrs

from smartproxy.logs import logrc
from smartproxy.logs.levels import CATEGORIES, EVERYTHING
from smartproxy.logs.render import escape
from smartproxy.logs.severity import Severity
from smartproxy.policy.limits import KEEP_LOGS_DAYS

OCTETS_MOST: Final = 256 * 1024
ELEMENTS_MOST: Final = 1000
DEPTH_MOST: Final = 8
TEXT_MOST: Final = 1000
"""Characters of a value, or of a name, that are taken."""

_PRIORITIES: Final[Mapping[str, Severity]] = {
    "fatal": Severity.FATAL,
    "alert": Severity.FATAL,
    "crit": Severity.FATAL,
    "error": Severity.ERROR,
    "warn": Severity.WARNING,
    "notice": Severity.INFO,
    "info": Severity.INFO,
    "debug": Severity.DEBUG,
    "trace": Severity.TRACE,
}
_OTHER_WORDS: Final = ("alert", "crit", "notice")
_PROGRAM: Final = re.compile(r"(os4x|seon)[_.]?proxy[_.]?(server|client)?2?", re.IGNORECASE)
"""The categories that stand for a whole program: its own name."""
_OWN: Final = re.compile(r"(os4x|seon)_", re.IGNORECASE)
"""How the names of OS4X's own appenders and layouts begin."""
_KNOWN_LAYOUTS: Final = ("basic", "basic_r", "dated", "dated_r", "dated_local", "dated_local_r")
_SETTINGS: Final[Mapping[str, str]] = {
    "reread": "the file is read at the start; change levels while a daemon runs with 'smartproxy ctl level'",
    "bufsize": "an entry is never cut",
    "debug": "log4c's own messages do not exist",
    "nocleanup": "log4c's own memory does not exist",
}


class Log4cRefused(ValueError):
    """The file is no logrc of log4c, or one that is not safe to read; the message says which."""


@attrs.frozen
class Converted:
    """What became of a file.

    :ivar text: the TOML.
    :ivar notes: one sentence for each thing that has no counterpart, or another meaning than before.
    """

    text: str
    notes: tuple[str, ...]


_Table = dict[str, str | list[str]]
"""An appender, as our file has it."""


@attrs.define
class _Element:
    name: str
    attributes: Mapping[str, str]
    text: str = ""

    def named(self, key: str) -> str:
        return self.attributes.get(key, "").strip()


def convert(octets: bytes) -> Converted:
    """Convert a file.

    :raises Log4cRefused: if it cannot be read.
    """
    conversion = _Conversion(_read(octets))
    levels, appenders = conversion.levels(), conversion.appenders()
    conversion.tell_rest()
    notes = tuple(conversion.notes)
    lines = ["# Made of a logrc of log4c. It is read by a daemon as PROGRAM.logrc in its state folder; docs: logs."]
    lines += [f"# {note}" for note in notes]
    if levels:
        lines += ["", "[levels]", *(f"{_quoted(name)} = {_quoted(level.label)}" for name, level in levels.items())]
    for table in appenders:
        lines += ["", "[[appenders]]", *(f"{key} = {_quoted(value)}" for key, value in table.items())]
    text = "\n".join(lines) + "\n"
    try:
        logrc.parse(text, Path("/"))
    except logrc.LogrcRefused as refused:
        raise Log4cRefused(f"a value of it cannot be one here: {'; '.join(refused.faults)}") from None
    return Converted(text, notes)


def _read(octets: bytes) -> list[_Element]:
    """The elements below the root, in their order, without their nesting.

    :raises Log4cRefused: if it is no XML of log4c, or not safe.
    """
    if len(octets) > OCTETS_MOST:
        raise Log4cRefused(f"it has more than {OCTETS_MOST // 1024} KiB; is it a logrc?")
    found: list[_Element] = []
    opened: list[_Element] = []
    parser = expat.ParserCreate()

    def refuse(*_: object) -> int:
        raise Log4cRefused("it declares entities or attributes of its own, which no logrc needs; it is not read")

    def doctype(name: str, system: str | None, public: str | None, internal: bool) -> None:
        if internal:
            refuse()

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(opened) >= DEPTH_MOST or len(found) >= ELEMENTS_MOST:
            raise Log4cRefused(f"it has more than {ELEMENTS_MOST} elements, or they are nested too deeply")
        if not opened and name != "log4c":
            raise Log4cRefused(f"its root is <{escape(name, 40)}>, not <log4c>")
        if any(len(each) > TEXT_MOST for each in (name, *attributes, *attributes.values())):
            raise Log4cRefused(f"a name or a value in it has more than {TEXT_MOST} characters")
        opened.append(_Element(name, attributes))
        if len(opened) > 1:
            found.append(opened[-1])

    def end(name: str) -> None:
        opened.pop()

    def text(data: str) -> None:
        opened[-1].text = (opened[-1].text + data)[:TEXT_MOST]

    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = parser.UnparsedEntityDeclHandler = refuse
    parser.AttlistDeclHandler = parser.ExternalEntityRefHandler = refuse
    parser.SkippedEntityHandler = refuse
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    try:
        parser.Parse(octets, True)
    except (expat.ExpatError, LookupError, UnicodeError, ValueError) as error:
        if isinstance(error, Log4cRefused):
            raise
        raise Log4cRefused(f"it is not XML: {error}") from None
    return found


class _Conversion:
    """One file's conversion, and what is to be said of it."""

    def __init__(self, elements: list[_Element]) -> None:
        self.notes: list[str] = []
        self._elements = elements
        self._layouts = {each.named("name"): each.named("type") for each in self._of("layout")}
        self._policies = {each.named("name"): each for each in self._of("rollingpolicy")}

    def _of(self, name: str) -> Iterator[_Element]:
        return (each for each in self._elements if each.name == name)

    def _note(self, what: str) -> None:
        text = escape(what, 400)
        if text not in self.notes:
            self.notes.append(text)

    # Categories.

    def levels(self) -> dict[str, Severity]:
        """Levels by our categories."""
        root: Severity | None = None
        programs: list[Severity] = []
        found: dict[str, Severity] = {}
        for each in self._of("category"):
            name, severity = each.named("name"), self._severity(each)
            if severity is None:
                continue
            if name == "root":
                root = severity
            elif _PROGRAM.fullmatch(name):
                programs.append(severity)
            elif name in CATEGORIES:
                found[name] = severity
            else:
                self._note(
                    f"category {name!r} ({each.named('priority')}) has no counterpart; the categories that there are "
                    "stand in the documents (logs)"
                )
        if len(set(programs)) > 1:
            self._note("the file is for several programs; the level of the most talkative one is taken")
        level = min(programs, default=root)
        return found if level is None else {EVERYTHING: level, **found}

    def _severity(self, category: _Element) -> Severity | None:
        word = category.named("priority").lower()
        if word in ("", "notset"):
            return None
        if word not in _PRIORITIES:
            self._note(f"priority {word!r} of category {category.named('name')!r} is unknown; it is left out")
            return None
        if word in _OTHER_WORDS:
            self._note(f"priority {word!r} is level {_PRIORITIES[word].label!r} here")
        return _PRIORITIES[word]

    # Appenders.

    def appenders(self) -> list[_Table]:
        """Tables of the appenders that a category uses."""
        used: dict[str, list[str]] = {}
        for each in self._of("category"):
            if each.named("appender"):
                used.setdefault(each.named("appender"), []).append(each.named("name"))
        known = {each.named("name"): each for each in self._of("appender")}
        for name in known.keys() - used.keys():
            self._note(f"appender {name!r} is used by no category; it is left out")
        found: list[_Table] = []
        for name, categories in used.items():
            appender = known.get(name)
            if appender is None:
                # log4c makes a stream of it.
                appender = _Element("appender", {"name": name, "type": "stream"})
            table = self._appender(appender)
            if table is None:
                continue
            ours = [each for each in categories if each in CATEGORIES]
            if len(ours) < len(categories):
                others = [each for each in categories if each not in CATEGORIES and not _is_whole(each)]
                if others and len(others) == len(categories):
                    self._note(f"appender {name!r} takes everything, since {', '.join(others)} has no counterpart")
            else:
                table["categories"] = ours
            if table not in found:
                found.append(table)
        if not found:
            self._note("no appender could be taken over; the daemon logs where it does without a logrc")
        return found

    def _appender(self, appender: _Element) -> _Table | None:
        name, kind = appender.named("name"), appender.named("type")
        layout = self._layout(appender)
        if kind in ("stream", "stream2") and name in ("stdout", "stderr"):
            if name == "stderr":
                self._note("standard error has no counterpart; standard output is written to")
            return {"type": "stdout", "layout": layout}
        if kind in ("stream", "stream2", "mmap"):
            if not PurePath(name).is_absolute():
                self._note(f"the path {name!r} is relative; it begins in the folder of the new logrc")
            return {"type": "file", "path": name, "layout": layout}
        if kind == "syslog":
            self._note(
                "syslog is sent to 127.0.0.1:514 over UDP (RFC 5424); have the machine's syslog listen there, "
                "or name another host"
            )
            return {"type": "syslog", "host": "127.0.0.1", "layout": layout}
        if kind == "rollingfile" or _OWN.match(kind):
            return self._daily(appender, layout)
        self._note(f"appender {name!r} of type {kind!r} has no counterpart; it is left out")
        return None

    def _daily(self, appender: _Element, layout: str) -> _Table:
        name, prefix = appender.named("name"), appender.named("prefix")
        folder = appender.named("logdir") or (str(PurePath(name).parent) if "/" in name else "")
        if prefix or "/" in name:
            self._note(
                f"the files of appender {name!r} are called PROGRAM-DATE.log, not {prefix or PurePath(name).name}..."
            )
        policy = self._policies.get(appender.named("rollingpolicy"))
        if policy is not None:
            self._note(
                f"rolling policy {policy.named('name')!r} ({policy.named('type')}) has no counterpart: a file is "
                f"begun each day, and removed after {KEEP_LOGS_DAYS.default} days unless you set keep = DAYS"
            )
        for key in appender.attributes:
            if key not in ("name", "type", "layout", "logdir", "prefix", "rollingpolicy"):
                self._note(f"{key!r} of appender {name!r} has no counterpart")
        if folder and not PurePath(folder).is_absolute():
            self._note(f"the folder {folder!r} is relative; it begins in the folder of the new logrc")
        return {"type": "daily", **({"folder": folder} if folder else {}), "layout": layout}

    def _layout(self, appender: _Element) -> str:
        name = appender.named("layout")
        kind = self._layouts.get(name, name)
        if kind.startswith("dated_local"):
            self._note("times are UTC here, not local")
        elif kind and kind not in _KNOWN_LAYOUTS and not _OWN.match(kind):
            self._note(f"layout {name!r} has no counterpart; entries are text (or set layout = 'json')")
        return "text"

    # The rest.

    def tell_rest(self) -> None:
        """Name what was not looked at."""
        for each in self._elements:
            if each.name in _SETTINGS:
                self._note(f"<{each.name}> has no counterpart: {_SETTINGS[each.name]}")
            elif each.name not in ("config", "category", "appender", "layout", "rollingpolicy"):
                self._note(f"<{each.name}> has no counterpart")


def _is_whole(category: str) -> bool:
    return category == "root" or _PROGRAM.fullmatch(category) is not None


def _quoted(value: str | list[str]) -> str:
    """A basic string of TOML, or a list of such."""
    if isinstance(value, list):
        return f"[{', '.join(map(_quoted, value))}]"
    escaped = {"\\": "\\\\", '"': '\\"'}
    return '"' + "".join(escaped.get(each) or _character(each) for each in value) + '"'


def _character(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x20 or code == 0x7F else character
