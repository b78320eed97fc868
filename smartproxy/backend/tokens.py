"""The tokens by which clients are known to the backend: made here, shown once, kept as their SHA-256 only."""

import hmac
import secrets
from hashlib import sha256

PREFIX = "spc_"
"""What every token begins with, so that a secret scanner recognizes one that leaked."""


def new_token() -> str:
    """A token that nobody can guess: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """What is kept of a token, in hex."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def same_digest(one: str, other: str) -> bool:
    """Compare two digests in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode("ascii"), other.encode("ascii"))
