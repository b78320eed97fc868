"""What the commands ``station`` and ``partner`` print: one event a line, for people or as JSON."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import attrs

from smartproxy.testing.events import (
    EndResponse,
    EndResponseReceived,
    EndResponseSent,
    FileBroken,
    FileReceived,
    FileRefused,
    FileSent,
    FileStarted,
    Progress,
    SessionOver,
    SessionStarted,
    as_dict,
)
from smartproxy.testing.session import Closed, Opened


@attrs.frozen(kw_only=True)
class Listening:
    """A station listens.

    :ivar pid: the process that does.
    """

    host: str
    port: int
    pid: int


@attrs.frozen
class Journal:
    """Prints events.

    :param as_json: whether as JSON, for scripts.
    :param lost: told of a line that could not be written; whose session the line tells of is not to know.
    """

    as_json: bool
    out: TextIO = attrs.field(factory=lambda: sys.stdout)
    lost: Callable[[OSError], None] = attrs.field(kw_only=True)

    def note(self, connection: int, event: attrs.AttrsInstance) -> None:
        """Print an event of a connection (0: of none)."""
        if self.as_json:
            line = json.dumps({"time": time.time(), "connection": connection, **as_dict(event)})
        else:
            line = _words(connection, event)
        if line:
            try:
                self.out.write(line + "\n")
                self.out.flush()
            except OSError as error:
                self.lost(error)


def _words(connection: int, event: Any) -> str:
    return f"[{connection}] {text}" if (text := _text(event)) else ""


def _text(event: Any) -> str:
    match event:
        case Listening():
            return f"listening on {event.host}:{event.port}"
        case Opened():
            return f"connection from {event.peer}"
        case SessionStarted():
            return f"session with {event.peer_code}: level {event.level}, buffers {event.buffer_size}"
        case FileSent():
            return f"sent {event.identity.dataset}: {event.octets} octets, SHA-256 {event.sha256}"
        case FileReceived():
            return f"received {event.identity.dataset}: {event.octets} octets, SHA-256 {event.sha256}"
        case FileRefused():
            return f"{event.identity.dataset} refused with {event.command} {event.reason:02}: {event.text}"
        case FileBroken():
            return f"{event.identity.dataset} broken off at position {event.position}"
        case EndResponseReceived(kind=EndResponse.NERP):
            return f"NERP for {event.identity.dataset}: {event.reason:02} {event.text}"
        case EndResponseReceived():
            return f"EERP for {event.identity.dataset}"
        case EndResponseSent():
            return f"{event.kind.value} for {event.identity.dataset} delivered"
        case SessionOver(reason=None):
            return f"session lost: {event.text}"
        case SessionOver():
            return f"session ended by {event.by.value}: ESID {event.reason:02} {event.text}".rstrip()
        case Closed():
            return f"connection closed ({event.tls or 'no TLS'}): {event.cause}"
    assert isinstance(event, FileStarted | Progress)
    return ""
