"""One malformed buffer and what RFC 5024 says about it.

A case is an opening conversation that is right, and one Stream Transmission Buffer after it that is not. ``offset`` is
the first octet of that buffer (header included) after which no continuation can be right; where ``exact`` is set, every
octet before it also begins a right buffer, so that a refusal before it is as wrong as one after it.
"""

import attrs

from smartproxy.oftp2.roles import Role
from tests.conformance.openings import INITIATOR, TERMS, Terms

HEADER = 4

#: Error families (classes of smartproxy.oftp2.errors) and their ESID reasons, from RFC 5024 section 5.3.11.
REASONS = {
    "StreamHeaderError": 1,
    "UnknownCommand": 1,
    "UnexpectedCommand": 2,
    "CreditExceeded": 2,
    "RestartRefused": 2,
    "CompressionRefused": 2,
    "BadField": 6,
    "BadSubrecord": 6,
    "BadLength": 7,
    "Incompatible": 10,
    "AuthenticationMismatch": 12,
}

#: How the names of the rules begin that an error of the family can name.
RULES = {
    "StreamHeaderError": ("header.",),
    "UnknownCommand": ("command.",),
    "UnexpectedCommand": ("state.", "mode."),
    "CreditExceeded": ("credit.", "negotiation.credit"),
    "RestartRefused": ("restart.",),
    "CompressionRefused": ("compression.",),
    "BadField": ("field.",),
    "BadSubrecord": ("subrecord.",),
    "BadLength": ("length.",),
    "Incompatible": ("negotiation.",),
    "AuthenticationMismatch": ("negotiation.",),
}


@attrs.frozen(kw_only=True)
class Case:
    """One malformed buffer after a correct opening, and what is expected of it."""

    name: str
    state: str
    speaker: Role = INITIATOR
    terms: Terms = TERMS
    restart: int = 0
    sender: Role
    octets: bytes
    family: str
    offset: int
    exact: bool = True
    command: str | None = None
    field: str | None = None

    @property
    def reason(self) -> int:
        """The ESID reason code of the family."""
        return REASONS[self.family]
