"""The hostile half: what attackers see, that the station sees nothing of it, and what the operator reads about it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from smartproxy.oftp2.errors import EsidReason
from smartproxy.policy.causes import Cause
from smartproxy.testing import hostile
from smartproxy.testing.demo.partners import DemoPartner, Partners
from smartproxy.testing.demo.transfers import settle
from smartproxy.testing.hostile import Attacker, Seen
from smartproxy.testing.pki import CredentialFiles
from smartproxy.testing.programs import PATIENCE_SECONDS
from smartproxy.testing.site import STATION_CODE, Site

POLL_SECONDS = 0.1

HEADS = ("attack", "what the attacker saw", "what the station saw")
NOTE = (
    "nothing of it: an attack in the middle of a file needs a session and a file; the station got what came before\n"
    "the attack, then ESID 99, and no octet of the attack. Below each attack: the event's cause, as it is read with\n"
    "smartproxy events."
)

Event = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Attack:
    """One attack and how it has to end.

    :ivar saw: what the attacker has to see: the name of a TLS alert, or the reason of an ESID.
    :ivar event: the event that the server has to write.
    :ivar check: the cause (of certificates) or rule that the event has to name.
    :ivar octets: how many octets of a file the station may see before the attack; ``None`` where not even a connection
        may reach it.
    """

    name: str
    run: Callable[[Attacker], Deferred[Seen]]
    partner: DemoPartner
    credential: CredentialFiles | None
    saw: str | EsidReason
    event: str
    check: str
    authentication: bool = False
    octets: int | None = None


def attacks(partners: Partners) -> list[Attack]:
    """All attacks on a site whose station runs."""
    acme, bolt = partners.acme, partners.bolt

    def bolts(name: str, credential: CredentialFiles | None, alert: str, check: str) -> Attack:
        return Attack(
            name=name,
            run=hostile.greet,
            partner=bolt,
            credential=credential,
            saw=alert,
            event="certificate.refused",
            check=check,
            authentication=True,
        )

    def acmes(
        name: str,
        run: Callable[[Attacker], Deferred[Seen]],
        reason: EsidReason,
        rule: str,
        event: str = "session.violation",
        octets: int | None = None,
    ) -> Attack:
        return Attack(
            name=name,
            run=run,
            partner=acme,
            credential=acme.files,
            saw=reason,
            event=event,
            check=rule,
            octets=octets,
        )

    return [
        bolts("no certificate", None, "certificate required", Cause.CERTIFICATE_MISSING),
        bolts("unknown CA", partners.unknown, "unknown ca", Cause.CERTIFICATE_UNKNOWN_CA),
        bolts("expired certificate", partners.expired, "certificate expired", Cause.CERTIFICATE_EXPIRED),
        bolts("revoked certificate", partners.revoked, "certificate revoked", Cause.CERTIFICATE_REVOKED),
        attrs.evolve(
            acmes(
                "ACME with BOLT's SSIDCODE",
                hostile.greet,
                EsidReason.USER_CODE_NOT_KNOWN,
                "identity.code",
                "identity.refused",
            ),
            partner=bolt,
            authentication=True,
        ),
        acmes(
            "release level too low",
            hostile.low_release_level,
            EsidReason.MODE_OR_CAPABILITIES_INCOMPATIBLE,
            "identity.level",
            "identity.refused",
        ),
        Attack(
            name="secure authentication refused",
            run=hostile.authentication_refused,
            partner=bolt,
            credential=bolt.files,
            saw=EsidReason.SECURE_AUTHENTICATION_INCOMPATIBLE,
            event="identity.refused",
            check="identity.authentication",
        ),
        acmes("unknown command", hostile.unknown_command, EsidReason.COMMAND_NOT_RECOGNISED, "command.unknown"),
        acmes("header that lies", hostile.lying_header, EsidReason.EXCHANGE_BUFFER_SIZE_ERROR, "length.header"),
        acmes("command in the wrong state", hostile.wrong_state, EsidReason.PROTOCOL_VIOLATION, "state.command"),
        acmes(
            "DATA without credit",
            hostile.data_without_credit,
            EsidReason.PROTOCOL_VIOLATION,
            "credit.exceeded",
            octets=hostile.CREDIT * len(hostile.DATA_OCTETS),
        ),
        acmes(
            "bad subrecord chain",
            hostile.bad_subrecords,
            EsidReason.COMMAND_CONTAINED_INVALID_DATA,
            "subrecord.overrun",
            octets=0,
        ),
        acmes("bad field", hostile.bad_field, EsidReason.COMMAND_CONTAINED_INVALID_DATA, "field.value"),
    ]


def station_down(partners: Partners) -> Attack:
    """An honest call to a site whose station does not run."""
    return Attack(
        name="station down",
        run=hostile.greet,
        partner=partners.acme,
        credential=partners.acme.files,
        saw=EsidReason.RESOURCES_NOT_AVAILABLE,
        event="session.refused",
        check="station.refused",
    )


@attrs.define(kw_only=True)
class Attempt:
    """An attack that was made.

    :ivar station: what the station saw, in words.
    :ivar faults: what is not as it should be.
    :ivar event: what the server wrote.
    """

    attack: Attack
    seen: Seen
    station: str
    faults: list[str]
    event: Event | None = None

    @property
    def wrong(self) -> list[str]:
        """What is not as it should be."""
        if self.event is None:
            return [*self.faults, f"no event {self.attack.event}"]
        if self.attack.check not in (self.event.get("cause"), self.event.get("rule")):
            return [*self.faults, f"{self.attack.event} does not name {self.attack.check}"]
        return self.faults

    def cells(self) -> list[str]:
        """The line's cells."""
        return [self.attack.name, str(self.seen), self.station]

    def cause(self) -> str:
        """The line below: what the operator reads, or what is wrong."""
        if self.wrong:
            return f"WRONG: {'; '.join(self.wrong)}"
        return f"{self.attack.event}: {cause_of(self.event or {})}"


async def attempt(reactor: Any, site: Site, attack: Attack) -> Attempt:
    """Make an attack."""
    assert site.station is not None
    before = len(site.station.records)
    seen = await attack.run(
        Attacker(
            reactor=reactor,
            host="127.0.0.1",
            port=site.port,
            credential=attack.credential,
            code=attack.partner.code,
            station_code=STATION_CODE,
            authentication=attack.authentication,
        )
    )
    if site.station.status is None:
        await settle(reactor, site.station)
    site.station.read()
    station, faults = station_saw(site.station.records[before:], attack.octets)
    if attack.saw != (seen.alert if isinstance(attack.saw, str) else seen.reason):
        faults.append(f"{attack.saw!r} expected")
    return Attempt(attack=attack, seen=seen, station=station, faults=faults)


def station_saw(records: Sequence[Event], octets: int | None) -> tuple[str, list[str]]:
    """What the station saw of an attack, in words, and what of that is not as it should be.

    :param records: the lines of JSON that it printed meanwhile.
    :param octets: what :class:`Attack` says.
    """
    if not records:
        return "nothing", [] if octets is None else ["the attack did not get as far as it should"]
    if octets is None:
        return f"{len(records)} events", ["the station saw a connection"]
    ended = [record["reason"] for record in records if record["event"] == "SessionOver"]
    broken = [record["octets"] for record in records if record["event"] == "FileBroken"]
    faults = []
    if broken != [octets]:
        faults.append(f"{octets} octets should have arrived, not {broken}")
    if ended != [EsidReason.UNSPECIFIED_ABORT]:
        faults.append(f"the station should have got ESID 99, not {ended}")
    return "nothing of it", faults


async def read_events(reactor: Any, site: Site, attempts: Sequence[Attempt]) -> list[Event]:
    """Let ``smartproxy events`` tell what the server wrote about each attack; gives all events of the site."""
    deadline = reactor.seconds() + PATIENCE_SECONDS
    while True:
        events = await site.smartproxy("events", "--number", "0")
        for made in attempts:
            for event in events:
                if event["name"] == made.attack.event and event.get("peer") == made.seen.address:
                    made.event = event
        if all(made.event for made in attempts) or reactor.seconds() > deadline:
            return list(events)
        await deferLater(reactor, POLL_SECONDS)


def cause_of(event: Event) -> str:
    """An event's cause in one line."""
    match event:
        case {"message": cause, "section": section, "rule": rule}:
            return f"{cause} [{rule}, RFC 5024 {section}]"
        case {"message": message, "cause": Cause.CERTIFICATE_EXPIRED, "not_after": when}:
            return f"{message}: {when}"
        case {"message": message, "cause": Cause.CERTIFICATE_REVOKED, "list": issuer, "this_update": when}:
            return f"{message}: list of {issuer} of {when}"
    return str(event.get("message") or event.get("cause", ""))
