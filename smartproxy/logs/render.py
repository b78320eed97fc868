"""Text of any origin made safe to show.

What a partner chose (codes, dataset names, certificate names, reason texts) must neither start a new line, nor move a
terminal's cursor, nor turn the direction of the text around, nor fill the disk. Values are only ever values here:
nothing in this module, and nothing that logs, uses one as a format.
"""

import re
from collections.abc import Mapping
from itertools import islice

from smartproxy.logs.fields import FIELDS, SECRET_MASK, FieldKind, Scalar, Value
from smartproxy.oftp2.roles import Level
from smartproxy.policy.values import visible

PEER_MOST = 128
"""Characters of a text from outside that are shown."""
OWN_MOST = 2048
"""Characters of our own texts that are shown; they may quote a path or a list of calls."""
ITEMS_MOST = 32
"""Items of a list or of a set of facts that are shown."""

LINE_MOST = 160
"""Characters of a short line."""

_SECRET_NAMES = frozenset({"pswd", "password", "token", "ticket", "key", "rsp", "response", "SSIDPSWD", "AURPRSP"})

_FIRST = ("outcome", "cause", "command", "link", "dataset", "peer", "session")
_APART = frozenset({"partner", "message", "sequence", "client", "advice"})

_BEFORE = frozenset({"cause", "message"})

_RELEASE_LEVELS = ("release_level", "level")
_LEVELS: Mapping[object, str] = {level.value: level.label for level in Level}

_PLAIN = re.compile(r"[^\s\"\\=]+")


def escape(text: str, most: int = PEER_MOST) -> str:
    """Make visible what could act on a reader, and cut the text short."""
    return visible(text, most)


def clean(fields: Mapping[str, Value]) -> dict[str, Value]:
    """Escape and cut every value of an event's fields, by the kind of each field."""
    cleaned = dict(fields)
    for name, value in fields.items():
        # Most values are short and harmless, and each record has many of them.
        if value.__class__ is str:
            if len(value) > PEER_MOST or not value.isprintable():
                cleaned[name] = escape(value, OWN_MOST if FIELDS[name].kind is FieldKind.TEXT else PEER_MOST)
        elif isinstance(value, dict):
            cleaned[name] = _clean_facts(value)
        elif isinstance(value, list):
            cleaned[name] = [escape(item) for item in value[:ITEMS_MOST]]
    return cleaned


def line(name: str, fields: Mapping[str, Value]) -> str:
    """Write a name and cleaned fields as ``name "message" cause=code key=value key="value with spaces"``.

    What people look for first comes first: the message, if there is one, always in quotes; then the cause.
    """
    words = [name]
    if "message" in fields:
        words.append(_quoted(str(fields["message"])))
    if "cause" in fields:
        words.append(f"cause={_named('cause', fields['cause'])}")
    words += _pairs(fields, _BEFORE)
    return " ".join(words)


def _pairs(fields: Mapping[str, Value] | Mapping[str, Scalar], without: frozenset[str]) -> list[str]:
    """``key=value`` for each field that does not stand elsewhere."""
    words = []
    for key, value in fields.items():
        if key in without:
            continue
        # Most values are plain words and numbers, and each line has many of them.
        if value.__class__ is str:
            words.append(f"{key}={value if value.isalnum() or _PLAIN.fullmatch(value) else _quoted(value)}")
        elif value.__class__ is int and key not in _RELEASE_LEVELS:
            words.append(f"{key}={value}")
        else:
            words.append(f"{key}={_named(key, value)}")
    return words


def shorten(name: str, fields: Mapping[str, Value], most: int) -> str:
    """Write what people look for first, in at most so many characters; ``…`` says that there is more.

    The name, the partner, the message or the outcome, the cause, the address, the session, and then whatever has room.
    """
    found = name if "partner" not in fields else f"{name} {_named('partner', fields['partner'])}"
    if "message" in fields:
        found += f" {_quoted(str(fields['message']))}"
    if len(found) > most:
        return found[: most - 1] + "…"
    ordered = dict.fromkeys(each for each in (*_FIRST, *fields) if each in fields and each not in _APART)
    words = [f" {each}={_named(each, fields[each])}" for each in ordered]
    for number, word in enumerate(words):
        rest = 0 if number == len(words) - 1 else 2
        if len(found) + len(word) + rest > most:
            return f"{found[: most - 2]} …"
        found += word
    return found


def _clean_facts(facts: Mapping[str, Scalar]) -> dict[str, Scalar]:
    cleaned: dict[str, Scalar] = {}
    for name, value in islice(facts.items(), ITEMS_MOST):
        if name in _SECRET_NAMES and value is not None:
            value = SECRET_MASK
        elif isinstance(value, str):
            value = escape(value)
        cleaned[name if name.isprintable() and len(name) <= PEER_MOST else escape(name)] = value
    return cleaned


def _named(name: str, value: Value | Scalar) -> str:
    """A value as people know it: a release level as ``2.0``."""
    if name in _RELEASE_LEVELS and type(value) is int and value in _LEVELS:
        return _LEVELS[value]
    match value:
        case bool():
            return "yes" if value else "no"
        case None:
            return "-"
        case list():
            text = ",".join(value)
        case dict():
            text = " ".join(_pairs(value, frozenset()))
        case _:
            text = str(value)
    return text if _PLAIN.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
