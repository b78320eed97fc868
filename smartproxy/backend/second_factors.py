"""A user's second factor: codes of an authenticator (TOTP, RFC 6238), and recovery codes for when it is lost.

A code counts once: neither it nor an older one is taken again. Recovery codes are kept as SHA-256 and are used up. A
second factor counts from when its user has shown a first code. Trusts the clock of the backend, give or take a step.
"""

import base64
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import delete
from sqlalchemy.orm import Session

from smartproxy.backend.clients import same_digest
from smartproxy.backend.errors import ChangeRefused, NotFound
from smartproxy.backend.user_tables import SecondFactorRow

STEP_SECONDS: Final = 30
DIGITS: Final = 6
STEPS_AROUND: Final = 1
"""A code of so many steps before or after is taken, too."""
RECOVERY_CODES: Final = 10
_SECRET_OCTETS: Final = 20
_RECOVERY_OCTETS: Final = 10


def begin(session: Session, user: str) -> str:
    """A new secret for a user's authenticator, in base32; it counts when it is confirmed.

    It takes the place of one that was not confirmed: that may have been seen by somebody else.

    :raises ChangeRefused: when the user has a second factor already.
    """
    row = session.get(SecondFactorRow, user)
    if row is not None and row.confirmed:
        raise ChangeRefused("there is a second factor already; turn it off before you set up another one")
    if row is None:
        row = SecondFactorRow(user=user, confirmed=False, recovery=[])
        session.add(row)
    row.secret, row.step = base64.b32encode(secrets.token_bytes(_SECRET_OCTETS)).decode("ascii"), 0
    return row.secret


def address(user: str, site: str, secret: str) -> str:
    """What authenticators take at once: ``otpauth://...``."""
    return _totp(secret).get_provisioning_uri(user, f"SmartProxy {site}")


def confirm(session: Session, user: str, code: str, now: datetime) -> Sequence[str]:
    """Let a second factor count from now on; its recovery codes, which nobody can see again.

    :raises NotFound: when there is nothing to confirm.
    :raises ChangeRefused: when the code is not right.
    """
    row = session.get(SecondFactorRow, user, with_for_update=True)
    if row is None or row.confirmed:
        raise NotFound("there is no second factor to confirm; begin anew")
    if not _takes(row, code, now):
        raise ChangeRefused("this code is not right; see that the clocks agree, and type the code that is shown now")
    codes = [_grouped(secrets.token_bytes(_RECOVERY_OCTETS)) for _ in range(RECOVERY_CODES)]
    row.confirmed, row.recovery = True, [_digest(each) for each in codes]
    return codes


def counts(session: Session, user: str) -> int | None:
    """How many recovery codes are left of a second factor that counts; ``None`` where there is none."""
    row = session.get(SecondFactorRow, user)
    return None if row is None or not row.confirmed else len(row.recovery)


def passes(session: Session, user: str, code: str, now: datetime) -> bool:
    """Whether a login passes with this code; the code is used up then. Without a second factor any login does."""
    row = session.get(SecondFactorRow, user, with_for_update=True)
    if row is None or not row.confirmed or _takes(row, code, now):
        return True
    digest = _digest(code)
    if not any(same_digest(each, digest) for each in row.recovery):
        return False
    row.recovery = [each for each in row.recovery if not same_digest(each, digest)]
    return True


def drop(session: Session, user: str) -> bool:
    """Have a user log in by password alone; whether there was a second factor, be it only begun."""
    row = session.get(SecondFactorRow, user)
    if row is not None:
        session.delete(row)
    return row is not None


def drop_begun(session: Session, user: str) -> None:
    """Forget a second factor that was begun and not confirmed."""
    mine = delete(SecondFactorRow).where(SecondFactorRow.user == user, SecondFactorRow.confirmed.is_(False))
    session.execute(mine)


def _totp(secret: str) -> TOTP:
    key = base64.b32decode(secret)
    return TOTP(key, DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303 - RFC 6238's default, which all authenticators know


def _takes(row: SecondFactorRow, code: str, now: datetime) -> bool:
    """Whether a code is right and newer than the last one; then it is the last one."""
    typed = "".join(code.split())
    if len(typed) != DIGITS or not typed.isascii() or not typed.isdigit():
        return False
    made = _totp(row.secret)
    today = int(now.timestamp()) // STEP_SECONDS
    good = [
        step
        for step in range(today - STEPS_AROUND, today + STEPS_AROUND + 1)
        if hmac.compare_digest(made.generate(step * STEP_SECONDS), typed.encode("ascii")) and step > row.step
    ]
    if good:
        row.step = good[0]
    return bool(good)


def _grouped(octets: bytes) -> str:
    """A recovery code as people type it: four groups of four letters and digits."""
    text = base64.b32encode(octets).decode("ascii").lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _digest(code: str) -> str:
    """What is kept of a recovery code; blanks and dashes do not count."""
    plain = "".join(each for each in code.lower() if each.isalnum())
    return sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
