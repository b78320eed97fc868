"""The licence file: the one file that an operator carries to the DMZ, and the end of the licence.

Duty: read the file, say exactly what is wrong with it, take a renewed licence that an operator puts there while the
daemon runs, and replace it atomically when one arrives through the tunnel; tell that the licence in force ends, 30, 14,
7 and 1 days before the end and at the end. Trusts only what :mod:`smartproxy.policy.licence` verified. A renewed
licence that cannot be written is in force in memory all the same.
Ends no session: callers of :meth:`LicenceInForce.fault` refuse new ones.
"""

import errno
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from shlex import quote

from twisted.internet.interfaces import IReactorTime

from smartproxy import __version__
from smartproxy.logs.emit import Events
from smartproxy.net import files
from smartproxy.net.deadline import Deadline
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault, Unlicensed
from smartproxy.policy.licence import Licence, LicenceRefused, read, renew
from smartproxy.policy.limits import CLOCK_LOOK_SECONDS, LICENCE_OCTETS_MOST
from smartproxy.policy.values import minute
from smartproxy.tunnel.identity import Identity


def load(path: Path, proxy_id: str, now: datetime) -> Licence:
    """Read and verify the licence of this machine.

    :raises LicenceRefused: with its exact cause; a file that is missing or cannot be read is a cause too.
    """
    try:
        octets = files.read(path, LICENCE_OCTETS_MOST)
    except FileNotFoundError as error:
        raise LicenceRefused(Cause.LICENCE_MISSING, "there is no such file") from error
    except OSError as error:
        cause = Cause.LICENCE_DAMAGED if error.errno == errno.EFBIG else Cause.LICENCE_UNREADABLE
        raise LicenceRefused(cause, f"the file cannot be read: {error.strerror}") from error
    return read(octets.decode("utf-8", "replace"), proxy_id, now)


class LicenceInForce:
    """The licence that a running server holds.

    :ivar present: the licence.
    """

    def __init__(self, licence: Licence, path: Path, events: Events, now: Callable[[], datetime]) -> None:
        self.present = licence
        self._path = path
        self._events = events
        self._now = now
        self._seen = self._stamp()
        self._right: _Stamp | None = None
        self._provided: str | None = None
        self._early: str | None = None
        self._early_in_file = False
        self._unwritable = False

    def tell_started(self, identity: Identity, at: HostPort) -> None:
        """Tell that the server started: its identity, its licence, and where it listens for clients."""
        if identity.made:
            self._events.emit("identity_key.created", proxy_id=identity.proxy_id)
        self._events.emit(
            "server.started",
            version=__version__,
            proxy_id=identity.proxy_id,
            site=self.present.site,
            address=at.host,
            port=at.port,
        )
        self.announce()

    def announce(self) -> None:
        """Tell which licence is in force."""
        self._events.emit(
            "licence.accepted",
            site=self.present.site,
            proxy_id=self.present.proxy_id,
            valid_from=self.present.valid_from,
            valid_until=self.present.valid_until,
            path=str(self._path),
        )

    def fault(self) -> OwnFault | None:
        """The reason to refuse new sessions now; ``None`` if there is none."""
        now = self._now()
        if self.present.in_force(now):
            return None
        if now < self.present.valid_from:
            # It was valid when it was taken: the clock was put back.
            return Unlicensed(
                rule=Cause.LICENCE_NOT_YET_VALID,
                message=f"the licence is not valid before {minute(self.present.valid_from)}",
            )
        return Unlicensed(
            rule=Cause.LICENCE_EXPIRED, message=f"the licence ended on {minute(self.present.valid_until)}"
        )

    def judge(self, text: str) -> Licence | None:
        """The licence that came with a configuration, if it may replace the present one; nothing is changed.

        The licence that is held already comes with every generation, and is no event. One that is not valid yet is
        tried again by :meth:`look_at_file`.
        """
        try:
            return renew(self.present, text, self._now())
        except LicenceRefused as refused:
            if refused.cause is Cause.LICENCE_NOT_YET_VALID:
                if text == self._early:
                    return None
                self._early, self._early_in_file = text, False
            if refused.cause is not Cause.LICENCE_NOT_NEWER:
                self._events.emit(
                    "licence.refused", cause=refused.cause, message=refused.message, advice=refused.advice
                )
            elif self._withdraws_more(text):
                self._events.emit(
                    "licence.refused",
                    cause=refused.cause,
                    message="it excludes clients that the licence in force admits, but it does not end later",
                    advice=f"extend it in the backend beyond {minute(self.present.valid_until)}: smartproxy licence "
                    f"extend {quote(self.present.proxy_id)} --until DATE",
                )
            return None

    def _withdraws_more(self, text: str) -> bool:
        """Whether a licence that may not replace the one in force withdraws a certificate that this one does not."""
        try:
            licence = read(text, self.present.proxy_id, self._now(), self.present.authority_certificate)
        except LicenceRefused:
            return False
        return licence.withdraws_more_than(self.present)

    def keep(self, text: str, *, renewed: bool) -> None:
        """Keep the licence that came with a configuration, which is in force.

        :param renewed: whether it replaced another one.
        """
        if renewed:
            self.announce()
            self._provided, self._unwritable = text, False
            self._early, self._early_in_file = None, False
            if self._write(text):
                self._events.emit("licence.written", path=str(self._path), valid_until=self.present.valid_until)
        elif self._is_present(text):
            self._provided = text

    def look_at_file(self) -> bool:
        """Put the licence in the file in force, if the file is another than before and the licence may be.

        A file that was deleted, or replaced with something that may not be in force, is written again, if the licence
        in force came through the tunnel. Whoever writes the file has the time until the next look to finish.

        :return: whether another one is in force now.
        """
        stamp, before = self._stamp(), self._seen
        self._seen = stamp
        if stamp != before:
            if self._early_in_file:
                self._early, self._early_in_file = None, False
            text = self._text()
            # What is wrong with the file is told when it is needed, at a start.
            if text is None or not self._take(text):
                return False
            self._provided, self._right = None, stamp
            return True
        if self._early is not None and self._take_early(self._early):
            return True
        if self._provided is not None and not self._early_in_file and (stamp is None or stamp != self._right):
            self._restore(self._provided)
        return False

    def _take_early(self, text: str) -> bool:
        """Put the licence that was not valid yet in force, once it is; whether it is now."""
        try:
            licence = renew(self.present, text, self._now())
        except LicenceRefused as refused:
            if refused.cause is not Cause.LICENCE_NOT_YET_VALID:
                self._early, self._early_in_file = None, False
            return False
        self.present = licence
        if self._early_in_file:
            self.announce()
            self._provided, self._right, self._early, self._early_in_file = None, self._seen, None, False
        else:
            self.keep(text, renewed=True)
        return True

    def _restore(self, provided: str) -> None:
        """Write the file again, unless it holds the licence in force."""
        text, failed = self._text(), self._unwritable
        if text is not None and self._is_present(text):
            self._right = self._seen
        elif self._write(provided):
            cause = Cause.LICENCE_MISSING if text is None else Cause.LICENCE_FILE_CHANGED
            name, why = ("licence.written", None) if failed else ("licence.restored", cause)
            self._events.emit(name, path=str(self._path), valid_until=self.present.valid_until, cause=why)

    def _write(self, text: str) -> bool:
        """Write the file; whether that worked. That it did not is told once."""
        try:
            files.replace(self._path, text.encode("utf-8"))
        except OSError as error:
            if not self._unwritable:
                self._events.emit(
                    "licence.write_failed",
                    path=str(self._path),
                    cause=Cause.LICENCE_FILE_UNWRITABLE,
                    message=f"the licence cannot be written: {error.strerror or type(error).__name__}",
                    advice="it is in force until the server stops; let the server write the file, which it tries again "
                    "and again, or copy the file there",
                )
            self._unwritable = True
            return False
        self._unwritable = False
        self._seen = self._right = self._stamp()
        return True

    def _text(self) -> str | None:
        """What the file holds; ``None`` if it cannot be read."""
        try:
            with self._path.open("rb") as file:
                return file.read(LICENCE_OCTETS_MOST + 1).decode("utf-8", "replace")
        except OSError:
            return None

    def _is_present(self, text: str) -> bool:
        """Whether a text is that of the licence in force."""
        try:
            return read(text, self.present.proxy_id, self._now(), self.present.authority_certificate) == self.present
        except LicenceRefused:
            return False

    def _take(self, text: str) -> bool:
        licence = self.judge(text)
        if licence is None:
            self._early_in_file = text == self._early
            return False
        self.present, self._early = licence, None
        self.announce()
        return True

    def _stamp(self) -> "_Stamp | None":
        """What changes when somebody writes or replaces the file."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


_Stamp = tuple[int, int, int]
"""What tells one state of a file from another."""

FILE_SECONDS = 5.0
"""How soon a licence that an operator puts in place is seen."""


class LicenceFileWatch:
    """Has a licence that an operator puts in place be in force without a restart.

    :param renewed: called when another one is in force.
    """

    def __init__(self, clock: IReactorTime, licence: LicenceInForce, renewed: Callable[[], object]) -> None:
        self._licence = licence
        self._renewed = renewed
        self._next = Deadline(clock, self._look)

    def start(self) -> None:
        """Look at the file from now on."""
        self._next.start(FILE_SECONDS)

    def stop(self) -> None:
        """Stop looking."""
        self._next.stop()

    def _look(self) -> None:
        self.start()
        if self._licence.look_at_file():
            self._renewed()


_LEAST_SECONDS = 1.0
"""The shortest time between two looks: in its last second a licence is still in force."""
RENEWED_BY_ITSELF = (
    "extend it in the backend: smartproxy licence extend {} --until DATE; it reaches this server by itself"
)
"""Advice for a licence that ends, where the tunnel delivers the next one."""


class LicenceWatch:
    """Tells of the end of the licence that is in force.

    Looks at the wall clock every hour at least, so that a clock that was put right is noticed.

    :param clock: runs the looks.
    :param licence: the licence in force.
    :param events: where its end is told.
    :param now: tells the wall clock's time, aware, in UTC.
    :param advice: what to do about it; ``{}`` stands for the Proxy ID.
    """

    def __init__(
        self,
        clock: IReactorTime,
        licence: LicenceInForce,
        events: Events,
        now: Callable[[], datetime],
        *,
        advice: str = RENEWED_BY_ITSELF,
    ) -> None:
        self._licence = licence
        self._events = events
        self._now = now
        self._advice = advice
        self._told: tuple[datetime, int | None] | None = None
        self._next = Deadline(clock, self.look)

    def look(self) -> None:
        """Tell what is due, and schedule the next look. Called at the start and when the licence in force changes."""
        now, licence = self._now(), self._licence.present
        due = licence.warning(now)
        if self._told != (licence.valid_until, due):
            self._told = (licence.valid_until, due)
            self._tell(due, now)
        following = licence.next_warning(now)
        seconds = CLOCK_LOOK_SECONDS if following is None else max((following - now).total_seconds(), _LEAST_SECONDS)
        self._next.start(min(seconds, CLOCK_LOOK_SECONDS))

    def stop(self) -> None:
        """Stop looking."""
        self._next.stop()

    def _tell(self, due: int | None, now: datetime) -> None:
        licence = self._licence.present
        about = {
            "site": licence.site,
            "valid_until": licence.valid_until,
            "advice": self._advice.format(licence.proxy_id),
        }
        if due:
            self._events.emit("licence.ending", count=licence.days_left(now), **about)
        elif due == 0:
            self._events.emit("licence.expired", **about)
