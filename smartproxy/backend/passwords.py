"""Passwords of the page's users: hashed with argon2id, and judged before one is taken.

A hash costs half a second and 64 MiB on purpose: it blocks, and only so many are made at once in a process. Nothing
here shows or logs a password.
"""

import functools
import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from smartproxy.backend.errors import ChangeRefused
from smartproxy.policy import limits

HASHER = PasswordHasher()
"""The parameters that RFC 9106 recommends where memory is scarce: 64 MiB, 3 passes, 4 lanes."""
_TURNS = threading.BoundedSemaphore(limits.PASSWORDS_AT_ONCE)
_DISTINCT_LEAST = 5


def hashed(password: str) -> str:
    """The hash of a password, with its salt and parameters."""
    with _TURNS:
        return HASHER.hash(_composed(password))


def fits(stored: str | None, password: str) -> bool:
    """Whether a password is the one of a hash; without a hash it is not, after the same time."""
    against = stored or _nobodys(HASHER)
    with _TURNS:
        try:
            return HASHER.verify(against, _composed(password)) and stored is not None
        except (VerificationError, InvalidHashError):
            return False


def outdated(stored: str) -> bool:
    """Whether a hash has other parameters than those of today."""
    return HASHER.check_needs_rehash(stored)


def check(password: str, user: str) -> None:
    """See that a password is worth something.

    :raises ChangeRefused: when it is too short or too long, holds the user's name, or repeats a few characters.
    """
    least, most = limits.PASSWORD.least, limits.PASSWORD.most
    if not least <= len(password) <= most:
        raise ChangeRefused(f"a password has {least} to {most} characters; this one has {len(password)}")
    if user.lower() in password.lower() or "smartproxy" in password.lower():
        raise ChangeRefused("the password contains the name of the user or of the product; take another one")
    if len(set(password)) < _DISTINCT_LEAST:
        raise ChangeRefused("the password repeats a few characters; take another one, such as four random words")


@functools.lru_cache(maxsize=1)
def _nobodys(hasher: PasswordHasher) -> str:
    """The hash that the password of a user who is not there is compared with."""
    return hasher.hash("nobody has this password")


def _composed(password: str) -> str:
    """The same characters, however a keyboard composed them."""
    return unicodedata.normalize("NFKC", password)
