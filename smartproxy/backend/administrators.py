"""The administrators' tokens: who may call the API, what each may do, and until when.

Of a token only the SHA-256 is kept. A token has an end, and a name by which the history knows who did what.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from shlex import quote

from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend.access_tables import AdministratorRow
from smartproxy.backend.change import Change
from smartproxy.backend.clients import SEEN_AGAIN, new_token, same_digest, token_digest
from smartproxy.backend.errors import AlreadyThere, ChangeRefused, NotFound
from smartproxy.backend.named import NamedRows
from smartproxy.policy.limits import GIVEN_DAYS_MOST
from smartproxy.policy.permissions import AdministratorEntry, AdminRole, stands_for

PREFIX = "spa_"
"""What every token begins with, so that a secret scanner recognizes one that leaked; a client's begins otherwise."""
LIFE_MOST = timedelta(days=GIVEN_DAYS_MOST)
_BY_MOST = 1000
_ROWS = NamedRows(
    AdministratorRow,
    lambda name, known: NotFound(f"there is no token {name!r}; 'smartproxy admin-token list' shows all"),
)
listed = _ROWS.listed


def create(
    change: Change,
    name: str,
    *,
    role: AdminRole | None,
    scopes: Sequence[str],
    until: datetime,
    allowed: Collection[str],
) -> tuple[AdministratorEntry, str]:
    """Make a token; return its entry, and the token, which nobody can see again.

    :param allowed: the scopes of who makes it: nobody gives more than that.
    :raises AlreadyThere: when there is one of this name.
    :raises ChangeRefused: when it may do nothing, or more than its maker, or has no end that is reasonable.
    """
    if _ROWS.get(change.session, name) is not None:
        raise AlreadyThere(
            f"there is a token {name!r} already; revoke it first ('smartproxy admin-token revoke {quote(name)}'), or "
            "give this one another name"
        )
    if not change.now < until <= change.now + LIFE_MOST:
        raise ChangeRefused("the end of the token has to be in the future, and at most ten years from now")
    token = new_token(PREFIX)
    entry = AdministratorEntry(
        name=name,
        token_sha256=token_digest(token),
        role=role,
        scopes=tuple(dict.fromkeys(scopes)),
        until=until,
        created=change.now,
        created_by=change.by[:_BY_MOST],
    )
    if not entry.may:
        raise ChangeRefused("the token could do nothing; give it a role or scopes")
    beyond = sorted(each for each in entry.may if not stands_for(allowed, each))
    if beyond:
        raise ChangeRefused(f"{change.by} may not give away what it may not do itself: {', '.join(beyond)}")
    change.session.add(AdministratorRow(name=name, entry=entry))
    change.note("administrator.changed", command=change.what, names=[name])
    return entry, token


def revoke(change: Change, name: str) -> None:
    """Make a token worth nothing.

    :raises NotFound: when there is none of this name.
    """
    change.session.delete(_ROWS.find(change.session, name))
    change.note("administrator.changed", command=change.what, names=[name])


def authenticate(session: Session, token: str) -> AdministratorRow | None:
    """Whose token this is, whether it has ended or not.

    Every token is compared with, so that the time taken says nothing about which of them came near.
    """
    digest = token_digest(token)
    found = None
    for row in session.scalars(select(AdministratorRow)):
        if same_digest(row.entry.token_sha256, digest):
            found = row
    return found


def worth_noting(row: AdministratorRow, now: datetime, address: str) -> bool:
    """Whether a call tells something about the token that is not known yet."""
    return row.last_used is None or row.last_address != address or abs(now - row.last_used) >= SEEN_AGAIN


def note_call(session: Session, name: str, now: datetime, address: str) -> None:
    """Keep when a token was used last, and from where."""
    row = _ROWS.get(session, name)
    if row is not None:
        row.last_used, row.last_address = now, address
