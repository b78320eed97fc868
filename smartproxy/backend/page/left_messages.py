"""What a page leaves for the one after it to tell: in a cookie, since a redirect is between them.

Duty: write the cookie, within its bound, and read it again. Trusts nothing in a cookie that comes.
"""

import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

COOKIE_OCTETS_MOST: Final = 2000
"""Octets of a cookie; a longer one is none of ours."""
_ESCAPED_MOST: Final = 12
"""Octets that a character may have in a cookie: four, of three characters each."""


def left_by(kind: str, text: str, undo: str) -> str:
    """What the page after this one tells, as its cookie has it; a text that is too long for that is cut."""

    def written(text: str) -> str:
        left = json.dumps({"kind": kind, "text": text, "undo": undo}, ensure_ascii=False)
        return quote(left, safe="", errors="replace")

    cookie, text = written(text), text[:COOKIE_OCTETS_MOST]
    while (over := len(cookie) - COOKIE_OCTETS_MOST) > 0:
        text = text[: -max(1, over // _ESCAPED_MOST)]
        cookie = written(text.rstrip() + "…")
    return cookie


def told_of(cookie: str) -> Mapping[str, str] | None:
    """What the page before left to tell; nothing for what it cannot have left."""
    try:
        found = json.loads(unquote(cookie, errors="strict"))
        kind, text, undo = found["kind"], found["text"], found["undo"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if kind not in ("good", "warn", "bad") or not isinstance(text, str):
        return None
    return {"kind": kind, "text": text, "undo": undo} if re.fullmatch("[0-9]{0,18}", str(undo)) else None
