"""Reading a large revocation list in a process of its own, which may use so much memory and so much time.

Whoever answers at a list's address, or sends a file, chooses the octets. Reading them holds Python's lock for as long
as the list is large, and would hold up the backend's reactor. The process is given the octets and the certificates of
CAs on its standard input and answers with what the lists say; nothing else of this machine is its business. It dies of
what exceeds its limits, which is then a list that cannot be read.
"""

import functools
import io
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Final, NoReturn

import attrs
from cryptography import x509

from smartproxy.backend import list_contents
from smartproxy.backend.certificates import certificate_pin, certificates_to_pem, read_certificates
from smartproxy.backend.errors import Unusable
from smartproxy.backend.list_contents import ParsedList
from smartproxy.policy import limits
from smartproxy.policy.certificates.revocation import ListScope
from smartproxy.policy.certificates.serials import OCTETS_MOST, SerialSet
from smartproxy.policy.schema import ListOf, ObjectOf, Optional, kind, read_object, write_object
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import SHA256, Instant, Line, Whole

_FOLDER: Final = Path(__file__).parent.parent.parent
_PROGRAM: Final = (
    "import sys; sys.argv[1] in sys.path or sys.path.insert(0, sys.argv[1]); "
    "from smartproxy.backend.lists_apart import main; main()"
)
"""Isolated from the folder and the variables that the daemon was started with."""
_REFUSED: Final = 3
_OCTETS: Final = limits.Limit(default=0, least=0, most=limits.PARSING_OCTETS_MOST, unit="octets")
_WIDTH: Final = limits.Limit(default=1, least=1, most=OCTETS_MOST, unit="octets")


@attrs.frozen(kw_only=True)
class _Told:
    """What a list says, as the process tells it.

    :ivar width: in how many octets each of the serial numbers is written that follow.
    :ivar octets: how many octets that are.
    :ivar signers: the certificates whose keys signed it, by their SHA-256.
    """

    issuer: str = attrs.field(metadata=kind(Line(most=limits.ISSUER_NAME_CHARACTERS_MOST)))
    scope: ListScope = attrs.field(metadata=kind(ObjectOf(ListScope)))
    this_update: datetime = attrs.field(metadata=kind(Instant()))
    next_update: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    number: str | None = attrs.field(metadata=kind(Optional(Line())))
    width: int = attrs.field(metadata=kind(Whole(_WIDTH)))
    octets: int = attrs.field(metadata=kind(Whole(_OCTETS)))
    signers: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=SHA256)))


class ListsApart:
    """Reads revocation lists, each file in a process of its own, until :meth:`stop`."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def parse(self, octets: bytes, source: str, issuers: Sequence[x509.Certificate]) -> ParsedList:
        """The one revocation list in these octets; blocks until the process has ended.

        :param source: what to call them in an error.
        :param issuers: the certificates that may have signed it.
        :raises Unusable: when there is none, or several, or it cannot be read within the limits.
        """
        pem = certificates_to_pem(issuers).encode("ascii")
        found = _answered(self._run(source, len(octets), octets + pem), source)
        if len(found) != 1:
            raise Unusable(f"{source} holds {len(found)} revocation lists; one is expected")
        return found[0]

    def parse_file(self, file: IO[bytes], source: str, issuers: Sequence[x509.Certificate]) -> list[ParsedList]:
        """All revocation lists in a file, PEM or DER, as :meth:`parse` reads one; the file is written behind its end.

        :param file: on the disk: it does not pass through the memory of this process.
        :raises Unusable: as :meth:`parse` does.
        """
        length = file.seek(0, os.SEEK_END)
        file.write(certificates_to_pem(issuers).encode("ascii"))
        file.flush()
        file.seek(0)
        return _answered(self._run(source, length, file), source)

    def stop(self) -> None:
        """Read nothing more, and end what is being read in other threads."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()

    def _run(self, source: str, length: int, given: bytes | IO[bytes]) -> "subprocess.CompletedProcess[bytes]":
        """The process, when it has ended.

        :param length: of what is to be read; the certificates follow.
        :raises Unusable: when it does not end in time, or is not to be waited for any more.
        """
        words = [sys.executable, "-I", "-c", _PROGRAM, str(_FOLDER), str(length), source]
        pipe = subprocess.PIPE
        octets, file = (given, pipe) if isinstance(given, bytes) else (None, given)
        self._check_running(source)
        try:
            process = subprocess.Popen(  # noqa: S603  Our own program; what comes from outside is its input.
                words, stdin=file, stdout=pipe, stderr=pipe
            )
            with process, self._known(process):
                told, _ = process.communicate(octets, timeout=limits.PARSING_SECONDS_MOST)
        except (subprocess.TimeoutExpired, OSError) as error:
            raise Unusable(f"{source} cannot be read: {type(error).__name__}") from error
        self._check_running(source)
        return subprocess.CompletedProcess(words, process.returncode, told)

    def _check_running(self, source: str) -> None:
        """See that nobody wanted this to stop.

        :raises Unusable: when somebody did.
        """
        if self._stopped:
            raise Unusable(f"{source} was not read: the backend stops")

    @contextmanager
    def _known(self, process: "subprocess.Popen[bytes]") -> Iterator[None]:
        """Have a stop end the process, too; it does not outlive this."""
        with self._lock:
            self._running.add(process)
            if self._stopped:
                process.kill()
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(process)
            process.kill()


def _answered(done: "subprocess.CompletedProcess[bytes]", source: str) -> list[ParsedList]:
    """What the process has said.

    :raises Unusable: when that is a refusal, or it died, or a list says what no list may.
    """
    if done.returncode == _REFUSED:
        raise Unusable(done.stdout.decode("utf-8", "replace"))
    if done.returncode != 0:
        raise Unusable(f"{source} cannot be read within the limits of memory and time (status {done.returncode})")
    found, rest = [], io.BytesIO(done.stdout)
    while line := rest.readline():
        try:
            told = read_object(_Told, json.loads(line))
        except DocumentRefused as refused:
            raise Unusable(f"{source} cannot be used: {refused}") from refused
        found.append(
            ParsedList(
                signed_by=functools.partial(_is_named, told.signers),
                what=list_contents.named(told.issuer, told.scope, source),
                issuer=told.issuer,
                scope=told.scope,
                this_update=told.this_update,
                next_update=told.next_update,
                number=None if told.number is None else int(told.number, 16),
                serials=SerialSet(rest.read(told.octets), told.width),
            )
        )
    return found


def _is_named(signers: Collection[str], certificate: x509.Certificate) -> bool:
    return certificate_pin(certificate) in signers


def main() -> None:
    """The process: lists and certificates on standard input, what the lists say on standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (limits.PARSING_OCTETS_MOST, limits.PARSING_OCTETS_MOST))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.PARSING_SECONDS_MOST, limits.PARSING_SECONDS_MOST))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    octets = sys.stdin.buffer.read(int(sys.argv[2]))
    issuers = read_certificates(pem, "the CA") if (pem := sys.stdin.buffer.read()) else []
    try:
        found = list_contents.parse(octets, sys.argv[3])
    except Unusable as unusable:
        _refuse(str(unusable))
    except MemoryError:
        raise
    except Exception as error:
        # Not the limits: they are told by what the process dies of.
        _refuse(f"{sys.argv[3]} cannot be read ({type(error).__name__})")
    for parsed in found:
        told = _Told(
            issuer=parsed.issuer,
            scope=parsed.scope,
            this_update=parsed.this_update,
            next_update=parsed.next_update,
            number=None if parsed.number is None else f"{parsed.number:x}",
            width=parsed.serials.width,
            octets=len(parsed.serials.octets),
            signers=tuple(certificate_pin(each) for each in issuers if parsed.signed_by(each)),
        )
        sys.stdout.buffer.write(json.dumps(write_object(told)).encode("ascii") + b"\n")
        sys.stdout.buffer.write(parsed.serials.octets)


def _refuse(why: str) -> NoReturn:
    sys.stdout.write(why)
    sys.stdout.flush()
    sys.exit(_REFUSED)
