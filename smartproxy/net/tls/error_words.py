"""What OpenSSL says of a failure: the one place that reads the entries of its errors.

An error of pyOpenSSL carries a list of entries, each with OpenSSL's words at its end, or what a call of the system
returned; one of the standard library has a constant's name. The words differ from version to version; those that
something is decided by stand here, and what callers of the backend are told of them.
"""

import os
import ssl
from shlex import quote
from typing import Final

from OpenSSL import SSL

NO_CERTIFICATE: Final = "peer did not return a certificate"
"""A peer showed none; the verify callback is not called for it."""
NOT_VERIFIED: Final = "certificate verify failed"
"""The peer's certificate was refused here."""
NOT_TLS: Final = frozenset({"wrong version number", "http request", "https proxy request", "packet length too long"})
"""The octets of a peer are no TLS at all."""
BACKEND_NOT_TLS: Final = "what listens there does not speak TLS; is the URL the backend's?"


def other_backend_name(host: str) -> str:
    """What is told where the backend's certificate does not have the name that it is called by."""
    return (
        f"the backend's certificate is not for {host}; call it by a name that is in it, "
        f"or add this one there: smartproxy authority https --name {quote(host)}"
    )


def reason_words(error: ssl.SSLError) -> str:
    """What OpenSSL says of a failure that the standard library met; empty where it says nothing, and for an end."""
    if isinstance(error, ssl.SSLEOFError):
        # Each Python has other words for it, or none.
        return ""
    # Only what the library itself raises has the attribute.
    return str(getattr(error, "reason", None) or "").replace("_", " ").lower()


def tls_error_words(error: SSL.Error) -> list[str]:
    """What OpenSSL says of a failure, in its own words; at least one entry."""
    words = [str(entry[-1]) for entry in _entries(error) or () if entry and entry[-1]]
    if not words and isinstance(error, SSL.SysCallError) and error.args and error.args[0] > 0:
        words = [os.strerror(error.args[0]).lower()]
    return words or ["connection ended"]


def is_end_of_file(error: BaseException | None) -> bool:
    """Whether OpenSSL met the end of the carrier's octets instead of a record."""
    if not isinstance(error, SSL.Error):
        return False
    if isinstance(error, SSL.SysCallError):
        return bool(error.args) and error.args[0] == -1
    entries = _entries(error)
    return entries is not None and (not entries or str(entries[-1][-1]).casefold().startswith("unexpected eof"))


def _entries(error: SSL.Error) -> list[tuple[str, ...]] | None:
    return error.args[0] if error.args and isinstance(error.args[0], list) else None
