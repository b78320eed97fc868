"""The User Monitor above an entity: what is to be sent, what becomes of what arrives, and which responses are owed.

RFC 5024 section 1.6 leaves all this to the program that uses the protocol. One User Monitor serves all sessions of a
station or a partner: files and end responses that one session could not deliver wait for the next.

Standards: RFC 5024 sections 1.6, 4.3.6 (EERP), 4.3.7 (NERP), 5.3.5 (reasons of SFNA), 5.3.14 (reasons of NERP).
"""

from collections.abc import Callable, Iterable

import attrs

from smartproxy.testing.events import EndResponse
from smartproxy.testing.store import FileStore
from smartproxy.testing.virtual_file import FileIdentity, VirtualFile

DUPLICATE_FILE = 13
"""SFNAREAS (section 5.3.5)."""

PROCESSING_FAILED = 34
"""NERPREAS (section 5.3.14)."""


@attrs.frozen(kw_only=True)
class FileRefusal:
    """Why a file is not taken (SFNA)."""

    reason: int
    text: str
    retry: bool = False


@attrs.frozen(kw_only=True)
class Response:
    """An end response that is owed to the originator of a file; reason and text are those of a NERP."""

    identity: FileIdentity
    kind: EndResponse = EndResponse.EERP
    reason: int = 0
    text: str = ""


def acknowledge(identity: FileIdentity) -> Response | None:
    """Answer every file with an EERP."""
    return Response(identity=identity)


def take_all(_identity: FileIdentity) -> FileRefusal | None:
    """Refuse no file."""
    return None


class UserMonitor:
    """Queues and decisions of one station or partner.

    :param store: where files arrive.
    :param respond: makes the end response of a file that arrived, or ``None`` to send none.
    :param refuse: says why a file is not taken, or ``None`` to take it.
    """

    def __init__(
        self,
        store: FileStore,
        *,
        respond: Callable[[FileIdentity], Response | None] = acknowledge,
        refuse: Callable[[FileIdentity], FileRefusal | None] = take_all,
    ) -> None:
        self.store = store
        self._respond = respond
        self._refuse = refuse
        self._files: dict[str, list[VirtualFile]] = {}
        self._responses: dict[str, list[Response]] = {}

    def queue(self, peer_code: str, files: Iterable[VirtualFile]) -> None:
        """Send files to a peer as soon as it is the peer of a session and the turn is ours."""
        self._files.setdefault(peer_code, []).extend(files)

    def next_file(self, peer_code: str) -> VirtualFile | None:
        """Take the next file for a peer from the queue."""
        files = self._files.get(peer_code)
        return files.pop(0) if files else None

    def next_response(self, peer_code: str) -> Response | None:
        """Take the next end response that is owed to a peer."""
        responses = self._responses.get(peer_code)
        return responses.pop(0) if responses else None

    def put_back(self, peer_code: str, unfinished: VirtualFile | Response) -> None:
        """A file or response was not taken by the peer to its end: it is the next again."""
        if isinstance(unfinished, Response):
            self._responses.setdefault(peer_code, []).insert(0, unfinished)
        else:
            self._files.setdefault(peer_code, []).insert(0, unfinished)

    def has_anything_for(self, peer_code: str) -> bool:
        """Whether the turn would be of use to us."""
        return bool(self._files.get(peer_code) or self._responses.get(peer_code))

    def judge(self, identity: FileIdentity) -> FileRefusal | None:
        """Whether a file that is offered is taken; a file that is there already is refused as a duplicate."""
        if self.store.has(identity):
            return FileRefusal(reason=DUPLICATE_FILE, text="Duplicate file")
        return self._refuse(identity)

    def arrived(self, peer_code: str, identity: FileIdentity) -> None:
        """A file arrived whole: its end response is owed from now on."""
        response = self._respond(identity)
        if response is not None:
            self._responses.setdefault(peer_code, []).append(response)
