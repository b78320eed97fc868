"""Bans: addresses that misbehave are shut out for a while, before any TLS work is spent on them.

Duty: count points for each kind of fault; one point is forgotten in each whole step of time. When the points reach the
threshold, a ban begins; each further ban is twice as long, up to the longest. Partners that this site calls are counted
by name, and not called while their ban lasts. When the table is full, further offenders are not counted: a penalty
protects the proxy from work, and must not become a way to shut partners out or to fill its memory. Reads no clock:
every call brings the time, in seconds of a monotonic clock.
"""

import enum
import heapq
from collections.abc import Callable, Collection, Iterable
from typing import Final, Self

import attrs

from smartproxy.policy import limits
from smartproxy.policy.addresses import Networks, prefix_of
from smartproxy.policy.causes import Cause
from smartproxy.policy.settings import PenaltySettings


class Fault(enum.Enum):
    """A fault of an address: its code, with the cause of a ban for it and its points."""

    TLS_GARBAGE = ("tls_garbage", Cause.PENALTY_NO_TLS, 1)
    DISTRUST = ("distrust", Cause.PENALTY_HANDSHAKES, 1)
    """It does not accept our certificate: no fault, unless it says so again and again within a moment."""
    HANDSHAKE = ("handshake", Cause.PENALTY_HANDSHAKES, 2)
    SILENCE = ("silence", Cause.PENALTY_SILENCE, 2)
    CERTIFICATE = ("certificate", Cause.PENALTY_CERTIFICATES, 2)
    REVOKED = ("revoked", Cause.PENALTY_REVOKED, 5)
    PROTOCOL = ("protocol", Cause.PENALTY_PROTOCOL, 5)
    EFFORT = ("effort", Cause.PENALTY_EFFORT, 15)
    IDENTITY = ("identity", Cause.PENALTY_IDENTITY, 10)
    DEATHS = ("deaths", Cause.PENALTY_DEATHS, 15)
    """Workers die, again and again, while they carry its connections."""

    cause: Cause
    points: int

    def __new__(cls, code: str, cause: Cause, points: int) -> Self:
        """The fault with this code as its value."""
        fault = object.__new__(cls)
        fault._value_ = code
        fault.cause, fault.points = cause, points
        return fault


OF_A_CERTIFICATE: Final = frozenset({Fault.CERTIFICATE, Fault.REVOKED})
"""Faults of a caller that another configuration may let in."""


@attrs.frozen(kw_only=True)
class Ban:
    """A ban that has just begun.

    :ivar prefix: the banned network.
    :ivar seconds: its length.
    :ivar number: 1 for the first ban of this address, 2 for the next.
    :ivar fault: the fault with which the points reached the threshold.
    """

    prefix: str
    seconds: int
    number: int
    fault: Fault


@attrs.define
class _Record:
    """What is remembered of one prefix.

    :ivar points: the points as they were at the time *since*.
    :ivar since: when the running step of the decay began.
    :ivar at: when the last fault was counted.
    :ivar bans: the number of bans.
    :ivar until: the end of the last ban.
    :ivar fault: the fault that led to it.
    """

    points: int = 0
    since: float = 0.0
    at: float = float("-inf")
    bans: int = 0
    until: float = 0.0
    fault: Fault | None = None

    def points_at(self, now: float) -> int:
        return max(0, self.points - self._steps(now))

    def add(self, points: int, now: float) -> None:
        steps = self._steps(now)
        left = self.points - steps
        self.since = self.since + steps * limits.POINT_DECAY_SECONDS if left > 0 else now
        self.points = max(0, left) + points
        self.at = now

    def ban(self, now: float, seconds: int, fault: Fault) -> None:
        self.fault = fault
        self.bans += 1
        self.points = 0
        self.until = now + seconds

    def forgotten(self, now: float) -> bool:
        quiet_since = max(self.until, self.at)
        memory = limits.BAN_MEMORY_SECONDS if self.bans else 0.0
        return now >= self.until and not self.points_at(now) and now - quiet_since >= memory

    def _steps(self, now: float) -> int:
        """How many points have been forgotten since *since*: one for each whole step."""
        return int((now - self.since) // limits.POINT_DECAY_SECONDS)


class Penalties:
    """The points and bans of all addresses.

    :param settings: the threshold, the lengths of bans and the exempt networks.
    """

    _counted: Callable[[str], str] = staticmethod(prefix_of)
    """What an address is counted by; no function around it: a banned caller costs as little as may be."""

    def __init__(self, settings: PenaltySettings) -> None:
        self._records: dict[str, _Record] = {}
        self._ends: list[tuple[float, str]] = []
        self._swept = float("-inf")
        self.settings = settings

    @property
    def settings(self) -> PenaltySettings:
        """The settings in force; a new generation may replace them at any time. Running bans continue."""
        return self._settings

    @settings.setter
    def settings(self, settings: PenaltySettings) -> None:
        self._settings = settings
        self._spared = self._sparing(settings)

    def __len__(self) -> int:
        return len(self._records)

    def banned(self, address: str, now: float) -> float:
        """The seconds until the ban of *address* ends; 0.0 if it is not banned."""
        if not self._records or not self._settings.enabled:
            return 0.0
        record = self._records.get(self._counted(address))
        if record is None or now >= record.until or self._spared(address):
            return 0.0
        return record.until - now

    def fault(self, address: str, fault: Fault, now: float) -> Ban | None:
        """Count a fault of *address*; return the ban that begins with it, if any."""
        if not self._settings.enabled or self._spared(address):
            return None
        prefix = self._counted(address)
        record = self._record(prefix, now)
        if record is None:
            return None
        patient = fault is Fault.DISTRUST and now - record.at >= limits.DISTRUST_SECONDS
        record.add(0 if patient else fault.points, now)
        if record.points < self._settings.threshold or now < record.until:
            return None
        seconds = min(self._settings.ban_seconds << min(record.bans, 32), self._settings.ban_seconds_most)
        record.ban(now, seconds, fault)
        heapq.heappush(self._ends, (record.until, prefix))
        return Ban(prefix=prefix, seconds=seconds, number=record.bans, fault=fault)

    def bans(self, now: float) -> dict[str, float]:
        """The seconds until each running ban ends, by prefix."""
        if not self._settings.enabled:
            return {}
        return {prefix: until - now for until, prefix in sorted(self._ends) if until > now}

    def lifted(self, now: float) -> list[str]:
        """The prefixes whose bans have ended since the last call."""
        ended = []
        while self._ends and self._ends[0][0] <= now:
            ended.append(heapq.heappop(self._ends)[1])
        return ended

    def pardon(self, faults: Collection[Fault], now: float) -> list[str]:
        """End the bans that one of these faults led to; their prefixes. They do not lengthen the next ban."""
        pardoned = []
        for _, prefix in self._ends:
            record = self._records.get(prefix)
            if record is not None and record.fault in faults and now < record.until:
                record.until = now
                record.bans -= 1
                pardoned.append(prefix)
        self._ends = [end for end in self._ends if end[1] not in pardoned]
        heapq.heapify(self._ends)
        return pardoned

    def next_end(self) -> float | None:
        """The time at which the next ban ends; ``None`` without bans."""
        return self._ends[0][0] if self._ends else None

    def _sparing(self, settings: PenaltySettings) -> Callable[[str], bool]:
        """What says whether nothing is counted against an address."""
        return Networks(settings.exempt).hold

    def _record(self, prefix: str, now: float) -> _Record | None:
        """The record of *prefix*, if need be a new one; ``None`` if the table is full."""
        record = self._records.get(prefix)
        if record is not None:
            if record.forgotten(now):
                record.bans = 0
            return record
        if len(self._records) >= limits.PENALTY_PREFIXES_MOST and not self._sweep(now):
            return None
        return self._records.setdefault(prefix, _Record(since=now))

    def _sweep(self, now: float) -> bool:
        """Delete the records that may be forgotten; return whether there is room.

        Done once in a while only: in a flood, not every fault may search the table.
        """
        if now - self._swept < limits.PENALTY_SWEEP_SECONDS:
            return False
        self._swept = now
        self._records = {prefix: record for prefix, record in self._records.items() if not record.forgotten(now)}
        return len(self._records) < limits.PENALTY_PREFIXES_MOST


class CalledPenalties(Penalties):
    """The points and bans of partners that are called, by name; networks that are exempt do not matter."""

    _counted = staticmethod(str)

    def _sparing(self, settings: PenaltySettings) -> Callable[[str], bool]:
        return lambda address: False


class Deaths:
    """Which addresses and partners were there when workers died."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}

    def count(self, names: Iterable[str], now: float) -> frozenset[str]:
        """A worker died that had connections of these; those for which that was once too often within a minute."""
        since = now - limits.DEATHS_SECONDS
        self._times = {name: times for name, times in self._times.items() if times[-1] > since}
        for name in names:
            if name in self._times or len(self._times) < limits.PENALTY_PREFIXES_MOST:
                self._times[name] = [at for at in self._times.get(name, []) if at > since] + [now]
        many = frozenset(name for name, times in self._times.items() if len(times) >= limits.DEATHS_MANY)
        for name in many:
            del self._times[name]
        return many
