"""Reading a downloaded revocation list in a process of its own, which may use so much memory and so much time.

Whoever answers at a list's address chooses the octets. Reading them holds Python's lock for as long as the list is
large, and would hold up the backend's reactor. The process is given the CA's certificates and the octets on its
standard input and answers with what the list says; nothing else of this machine is its business. It dies of what
exceeds its limits, which is then a list that cannot be read.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import attrs
from cryptography import x509

from smartproxy.backend import revocation
from smartproxy.backend.certificates import certificate_pin, certificates_to_pem, read_certificates
from smartproxy.backend.errors import Unusable
from smartproxy.backend.revocation import ParsedList
from smartproxy.policy import limits
from smartproxy.policy.certificates.revocation import ListScope
from smartproxy.policy.certificates.serials import OCTETS_MOST, SerialSet
from smartproxy.policy.schema import ListOf, ObjectOf, Optional, kind, read_object, write_object
from smartproxy.policy.values import SHA256, Instant, Line, Whole

_FOLDER: Final = Path(__file__).parent.parent.parent
_PROGRAM: Final = (
    "import sys; sys.argv[1] in sys.path or sys.path.insert(0, sys.argv[1]); "
    "from smartproxy.backend.lists_apart import main; main()"
)
"""Isolated from the folder and the variables that the daemon was started with."""
_REFUSED: Final = 3
_WIDTH: Final = limits.Limit(default=1, least=1, most=OCTETS_MOST, unit="octets")


@attrs.frozen(kw_only=True)
class _Told:
    """What a list says, as the process tells it.

    :ivar width: in how many octets each of the serial numbers is written that follow.
    :ivar signers: the certificates whose keys signed it, by their SHA-256.
    """

    issuer: str = attrs.field(metadata=kind(Line(most=limits.ISSUER_NAME_CHARACTERS_MOST)))
    scope: ListScope = attrs.field(metadata=kind(ObjectOf(ListScope)))
    this_update: datetime = attrs.field(metadata=kind(Instant()))
    next_update: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    number: str | None = attrs.field(metadata=kind(Optional(Line())))
    width: int = attrs.field(metadata=kind(Whole(_WIDTH)))
    signers: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=SHA256)))


def parse(octets: bytes, source: str, issuers: Sequence[x509.Certificate]) -> ParsedList:
    """The one revocation list in these octets, read in a process of its own; blocks until that has ended.

    :param source: what to call them in an error.
    :param issuers: the certificates that may have signed it.
    :raises Unusable: when there is none, or several, or it cannot be read within the limits.
    """
    pem = certificates_to_pem(issuers).encode("ascii")
    try:
        done = subprocess.run(  # noqa: S603  Our own program; what comes from outside is its input.
            [sys.executable, "-I", "-c", _PROGRAM, str(_FOLDER), str(len(pem)), source],
            input=pem + octets,
            capture_output=True,
            timeout=limits.PARSING_SECONDS_MOST,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise Unusable(f"{source} cannot be read: {type(error).__name__}") from error
    if done.returncode == _REFUSED:
        raise Unusable(done.stdout.decode("utf-8", "replace"))
    if done.returncode != 0:
        raise Unusable(f"{source} cannot be read within the limits of memory and time (status {done.returncode})")
    head, _, sets = done.stdout.partition(b"\n")
    told = read_object(_Told, json.loads(head))
    return ParsedList(
        signed_by=lambda certificate: certificate_pin(certificate) in told.signers,
        what=revocation.named(told.issuer, told.scope, source),
        issuer=told.issuer,
        scope=told.scope,
        this_update=told.this_update,
        next_update=told.next_update,
        number=None if told.number is None else int(told.number, 16),
        serials=SerialSet(sets, told.width),
    )


def main() -> None:
    """The process: certificates and list on standard input, what the list says on standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (limits.PARSING_OCTETS_MOST, limits.PARSING_OCTETS_MOST))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.PARSING_SECONDS_MOST, limits.PARSING_SECONDS_MOST))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pem = sys.stdin.buffer.read(int(sys.argv[2]))
    issuers = read_certificates(pem, "the CA")
    try:
        found = revocation.parse(sys.stdin.buffer.read(), sys.argv[3])
        if len(found) != 1:
            raise Unusable(f"{sys.argv[3]} holds {len(found)} revocation lists; one is expected")
    except Unusable as unusable:
        sys.stdout.write(str(unusable))
        sys.stdout.flush()
        sys.exit(_REFUSED)
    (parsed,) = found
    told = _Told(
        issuer=parsed.issuer,
        scope=parsed.scope,
        this_update=parsed.this_update,
        next_update=parsed.next_update,
        number=None if parsed.number is None else f"{parsed.number:x}",
        width=parsed.serials.width,
        signers=tuple(certificate_pin(each) for each in issuers if parsed.signed_by(each)),
    )
    sys.stdout.buffer.write(json.dumps(write_object(told)).encode("ascii") + b"\n")
    sys.stdout.buffer.write(parsed.serials.octets)
