"""Tickets: which session a data connection is for.

A ticket is 256 random bits, good for one use within seconds, on data connections of the client that it was given to
(there is one office for each control connection). The office keeps only digests: looking one up tells nothing about
tickets by its timing, since nobody can choose a digest, and a wrong, a used and a late ticket are the same to whoever
tries.
"""

import hashlib
import secrets

import attrs

from smartproxy.policy import limits
from smartproxy.tunnel.marks import TICKET_OCTETS


@attrs.frozen
class _Issued:
    session: str
    until: float


class TicketOffice:
    """Issues and redeems the tickets of one control connection."""

    def __init__(self) -> None:
        self._issued: dict[bytes, _Issued] = {}

    def __len__(self) -> int:
        """How many tickets are out."""
        return len(self._issued)

    def issue(self, session: str, now: float) -> bytes:
        """A new ticket for *session*."""
        self._forget_late(now)
        ticket = secrets.token_bytes(TICKET_OCTETS)
        self._issued[_digest(ticket)] = _Issued(session, now + limits.TICKET_SECONDS)
        return ticket

    def redeem(self, ticket: bytes, now: float) -> str | None:
        """The session that *ticket* was issued for, once; nothing for any other."""
        issued = self._issued.pop(_digest(ticket), None)
        if issued is None or now > issued.until:
            return None
        return issued.session

    def _forget_late(self, now: float) -> None:
        # Issued in the order of their ends, so that the late ones are the first.
        for digest, issued in list(self._issued.items()):
            if now <= issued.until:
                break
            del self._issued[digest]


def _digest(ticket: bytes) -> bytes:
    return hashlib.sha256(ticket).digest()
