"""Which clients a backend can work with.

Versions are ``MAJOR.MINOR.PATCH``. Those with the same major number work together; before 1.0, those with the same
minor number too.
"""

import re

from smartproxy._version import __version__

API = 1
"""The version of the API's form: what stands in its paths."""

_VERSION = re.compile(r"(\d{1,5})\.(\d{1,5})(?:\.\d{1,5})?(?:[-.+]?[0-9A-Za-z]{1,20}){0,4}")


class VersionRefused(Exception):
    """A client's version does not fit.

    :ivar message: what is wrong, with both versions.
    :ivar advice: which side to update.
    """

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(f"{message}; {advice}")
        self.message = message
        self.advice = advice


def check_client(theirs: str, ours: str = __version__) -> None:
    """See whether a client of a version can work with this backend.

    :raises VersionRefused: naming both versions and what to update.
    """
    client, backend = _line(theirs), _line(ours)
    if client is None:
        raise VersionRefused("the header SmartProxy-Version holds no version", f"send one such as {ours}")
    if client == backend:
        return
    older, newest = ("smartproxy-client", ours) if client < (backend or client) else ("smartproxy-backend", theirs)
    raise VersionRefused(
        f"smartproxy-client {theirs} and smartproxy-backend {ours} cannot work together",
        f"update {older} to {newest}",
    )


def _line(version: str) -> tuple[int, int] | None:
    """What versions that work together have in common."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return None
    major, minor = int(match[1]), int(match[2])
    return (major, minor) if major == 0 else (major, 0)
