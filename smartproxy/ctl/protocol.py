"""What is said on the control socket: one JSON object a line in each direction.

A request is ``{"do": ACTION, ...}``; its answer is ``{"ok": true, "answer": {...}}`` or ``{"ok": false, "error": "one
line that says why and what to do"}``. A connection takes any number of requests, answered in their order. Duty: read
requests strictly, within bounds, and word answers. Trusts nothing about a request; whoever sent it was let in before.

The socket's file name is good for the kernel however long its folder's name is: see :func:`named`.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from smartproxy.policy.strict_json import DocumentRefused, read

REQUEST_OCTETS_MOST = 4096
ANSWER_OCTETS_MOST = 16 * 1024 * 1024
"""What one answer may have: some thousands of sessions have far less."""
TEXT_CHARACTERS_MOST = 128

_LEVEL = {"level": str, "session": str, "partner": str, "category": str}

ACTIONS: Mapping[str, Mapping[str, type[str] | type[int]]] = {
    "status": {},
    "sessions": {},
    "level": _LEVEL,
    "drain": {"seconds": int},
    "kill": {"session": str},
    "generation": {},
    "licence": {},
}
"""All actions, with what may be said to each."""
REQUIRED: Mapping[str, frozenset[str]] = {"kill": frozenset({"session"})}
"""What has to be said."""


class Refused(Exception):
    """A request cannot be carried out; the text is one line for the operator."""


@attrs.frozen
class Request:
    """What is wanted.

    :ivar do: the action.
    :ivar arguments: what was said to it.
    """

    do: str
    arguments: Mapping[str, str | int] = attrs.field(factory=dict)

    def text(self, name: str) -> str | None:
        """A text that was said, if it was."""
        value = self.arguments.get(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int | None:
        """A number that was said, if it was."""
        value = self.arguments.get(name)
        return value if isinstance(value, int) else None

    def line(self) -> bytes:
        """The request as it is sent, with its line end."""
        return json.dumps({"do": self.do, **self.arguments}).encode("ascii") + b"\n"


def read_request(line: bytes) -> Request:
    """Understand a line without its end.

    :raises Refused: when it is no request.
    """
    try:
        document = read(line, octets_most=REQUEST_OCTETS_MOST)
    except DocumentRefused as refused:
        raise Refused(f"not a request: {refused.message}") from refused
    if not isinstance(document, dict):
        raise Refused('not a request: write an object, such as {"do": "status"}')
    arguments = dict(document)
    action = arguments.pop("do", None)
    if not isinstance(action, str) or action not in ACTIONS:
        raise Refused(f"no such action; there are {', '.join(ACTIONS)}")
    known = ACTIONS[action]
    for name, value in arguments.items():
        if name not in known:
            raise Refused(f"{action} takes no {name[:TEXT_CHARACTERS_MOST]!r}")
        if type(value) is not known[name] or (isinstance(value, str) and not 0 < len(value) <= TEXT_CHARACTERS_MOST):
            raise Refused(f"{action}: {name} is not {_KINDS[known[name]]}")
    if missing := REQUIRED.get(action, frozenset()) - arguments.keys():
        raise Refused(f"{action} needs {', '.join(sorted(missing))}")
    return Request(action, arguments)


_KINDS = {str: f"a text of 1 to {TEXT_CHARACTERS_MOST} characters", int: "a whole number"}


def done(answer: Mapping[str, object]) -> bytes:
    """An answer as it is sent."""
    octets = json.dumps({"ok": True, "answer": answer}).encode("ascii")
    if len(octets) >= ANSWER_OCTETS_MOST:
        return refused("the answer would be too long")
    return octets + b"\n"


def refused(why: str) -> bytes:
    """A refusal as it is sent."""
    return json.dumps({"ok": False, "error": why}).encode("ascii") + b"\n"


NAME_OCTETS_MOST = 107


@contextlib.contextmanager
def named(path: Path) -> Iterator[str]:
    """A name that a socket can have, good for as long as the context is entered.

    :raises OSError: when the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= NAME_OCTETS_MOST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
