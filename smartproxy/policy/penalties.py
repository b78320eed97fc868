"""Addresses that misbehave are shut out for a while, before any TLS work is spent on them.

Duty: points for each kind of fault, forgotten over time; a ban when they reach the threshold, twice as long each time
up to the longest. When the table is full, further offenders are let go: a penalty protects the proxy from work, and
must not become a way to shut partners out or to fill its memory. Reads no clock: every call brings the time, in seconds
that only ever grow.
"""

import enum
import heapq
import ipaddress

import attrs

from smartproxy.policy import limits
from smartproxy.policy.addresses import Address, address_of, prefix_of
from smartproxy.policy.causes import Cause
from smartproxy.policy.settings import PenaltySettings


class Fault(enum.Enum):
    """What an address can do wrong, with its points."""

    TLS_GARBAGE = (Cause.PENALTY_NO_TLS, 1)
    HANDSHAKE = (Cause.PENALTY_HANDSHAKES, 2)
    SILENCE = (Cause.PENALTY_SILENCE, 2)
    CERTIFICATE = (Cause.PENALTY_CERTIFICATES, 2)
    REVOKED = (Cause.PENALTY_REVOKED, 5)
    PROTOCOL = (Cause.PENALTY_PROTOCOL, 5)
    IDENTITY = (Cause.PENALTY_IDENTITY, 10)

    def __init__(self, cause: Cause, points: int) -> None:
        self.cause = cause
        self.points = points


@attrs.frozen(kw_only=True)
class Ban:
    """A ban that has just begun.

    :ivar prefix: who is banned, as a network.
    :ivar seconds: for how long.
    :ivar number: 1 for the first ban of this address, 2 for the next.
    :ivar fault: the fault that made it full.
    """

    prefix: str
    seconds: int
    number: int
    fault: Fault


@attrs.define
class _Record:
    """What is remembered of one prefix: *points* as they were at *at*."""

    points: float = 0.0
    at: float = 0.0
    bans: int = 0
    until: float = 0.0

    def points_at(self, now: float) -> float:
        return max(0.0, self.points - (now - self.at) / limits.POINT_DECAY_SECONDS)

    def forgotten(self, now: float) -> bool:
        quiet_since = max(self.until, self.at)
        memory = limits.BAN_MEMORY_SECONDS if self.bans else 0.0
        return now >= self.until and not self.points_at(now) and now - quiet_since >= memory


class Penalties:
    """The points and bans of all addresses.

    :param settings: when and for how long to ban.
    """

    def __init__(self, settings: PenaltySettings) -> None:
        self._records: dict[str, _Record] = {}
        self._ends: list[tuple[float, str]] = []
        self._swept = float("-inf")
        self.overlooked = 0
        """Faults of addresses that the full table had no room for."""
        self.settings = settings

    @property
    def settings(self) -> PenaltySettings:
        """The settings in force; a new generation's may replace them at any time. Bans run on."""
        return self._settings

    @settings.setter
    def settings(self, settings: PenaltySettings) -> None:
        self._settings = settings
        self._exempt = tuple(ipaddress.ip_network(network, strict=False) for network in settings.exempt)

    def __len__(self) -> int:
        return len(self._records)

    def banned(self, address: str, now: float) -> float:
        """For how many more seconds *address* is shut out; 0.0 if it is not."""
        if not self._records or not self._settings.enabled:
            return 0.0
        counted = address_of(address)
        record = self._records.get(prefix_of(counted))
        if record is None or now >= record.until or self._is_exempt(counted):
            return 0.0
        return record.until - now

    def fault(self, address: str, fault: Fault, now: float) -> Ban | None:
        """Count a fault of *address*; the ban, if one begins with it."""
        counted = address_of(address)
        if not self._settings.enabled or self._is_exempt(counted):
            return None
        prefix = prefix_of(counted)
        record = self._record(prefix, now)
        if record is None:
            self.overlooked += 1
            return None
        record.points = record.points_at(now) + fault.points
        record.at = now
        if record.points < self._settings.threshold or now < record.until:
            return None
        seconds = min(self._settings.ban_seconds << min(record.bans, 32), self._settings.ban_seconds_most)
        record.bans += 1
        record.points = 0.0
        record.until = now + seconds
        heapq.heappush(self._ends, (record.until, prefix))
        return Ban(prefix=prefix, seconds=seconds, number=record.bans, fault=fault)

    def bans(self, now: float) -> dict[str, float]:
        """Who is shut out, by prefix, and for how many more seconds."""
        if not self._settings.enabled:
            return {}
        return {prefix: until - now for until, prefix in sorted(self._ends) if until > now}

    def lifted(self, now: float) -> list[str]:
        """The prefixes whose bans have ended since the last call."""
        ended = []
        while self._ends and self._ends[0][0] <= now:
            ended.append(heapq.heappop(self._ends)[1])
        return ended

    def next_end(self) -> float | None:
        """When the next ban ends, if there is one."""
        return self._ends[0][0] if self._ends else None

    def _is_exempt(self, address: Address) -> bool:
        return any(address in network for network in self._exempt)

    def _record(self, prefix: str, now: float) -> _Record | None:
        """The record of *prefix*, a new one if there is room for it."""
        record = self._records.get(prefix)
        if record is not None:
            if record.forgotten(now):
                record.bans = 0
            return record
        if len(self._records) >= limits.PENALTY_PREFIXES_MOST and not self._sweep(now):
            return None
        return self._records.setdefault(prefix, _Record(at=now))

    def _sweep(self, now: float) -> bool:
        """Forget what may be forgotten; whether there is room now. A flood must not make every fault a search."""
        if now - self._swept < limits.PENALTY_SWEEP_SECONDS:
            return False
        self._swept = now
        self._records = {prefix: record for prefix, record in self._records.items() if not record.forgotten(now)}
        return len(self._records) < limits.PENALTY_PREFIXES_MOST
