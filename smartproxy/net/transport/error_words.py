"""What a failed connection is told as: the one table of words for the errors of Twisted, OpenSSL and the system.

Duty: name what happened in words for operators, whichever library met it. A library's own text may hold octets of the
far end or the form that Python gives them, and a class's name says nothing to who reads it: neither is told.
"""

import os
from typing import Final

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectionAborted,
    ConnectionClosed,
    ConnectionDone,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)

from smartproxy.net.tls.error_words import tls_error_words
from smartproxy.net.transport.endpoints import FamilyMissing

FAILED: Final = "the connection failed"
"""What is told of an error that the table does not have."""
_WORDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (FamilyMissing, "its name is not known, or it has no address of the family of the one that it is called from"),
    (ConnectionRefusedError, "it refuses the connection"),
    (DNSLookupError, "its name is not known"),
    (NoRouteError, "there is no route to it"),
    (TCPTimedOutError, "it does not answer"),
    (TimeoutError, "it does not answer"),
    (ConnectBindError, "this machine cannot call from the address that is set"),
    (ConnectionDone, "the connection was closed"),
    (ConnectionAborted, "the connection was aborted"),
    (ConnectionClosed, "the connection was lost"),
    (CertificateError, "its certificate is for another name, or for none"),
    (VerificationError, "its certificate is for another name, or for none"),
)


def connection_words(error: BaseException | None) -> str:
    """Why a connection failed or ended, without an octet of the far end."""
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words
    if isinstance(error, SSL.Error):
        return f"TLS: {'; '.join(dict.fromkeys(tls_error_words(error)))}"
    number = error.osError if isinstance(error, ConnectError) else error.errno if isinstance(error, OSError) else None
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else FAILED
