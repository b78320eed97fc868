"""The part of the catalogue that is about partners: their connections, calls, sessions and files.

Declarations alone; :mod:`smartproxy.logs.catalogue` is where they are found.
"""

from collections.abc import Mapping

from smartproxy.logs.event_types import Audience, Emitter, EventType, entries_of
from smartproxy.logs.fields import joined
from smartproxy.logs.severity import Severity

_TRACE, _DEBUG, _INFO, _WARNING, _ERROR, _CRITICAL = Severity

_SERVER, _CLIENT, _BACKEND, _PLAIN = Emitter
_PAIR = _SERVER | _CLIENT
_EVERY = _PAIR | _BACKEND | _PLAIN

# One entry: name, level, which daemons emit it, what happened, the fields that it always has, those that it may have.
SESSION_EVENTS: Mapping[str, EventType] = joined(
    entries_of(
        "Connections",
        Audience.SECURITY,
        (
            "certificate.accepted",
            _INFO,
            _SERVER,
            "The certificate belongs to a partner.",
            "partner by",
            "ca subject issuer serial certificate_sha256 key_sha256 not_after crl_points tls cipher",
        ),
        (
            "certificate.refused",
            _WARNING,
            _SERVER,
            "The certificate was refused.",
            "cause",
            "depth subject issuer serial certificate_sha256 key_sha256 not_before not_after ca list "
            "list_part age this_update next_update alert tls advice sans key_bits",
        ),
        ("connection.accepted", _DEBUG, _SERVER, "A connection was accepted.", "peer", ""),
        (
            "connection.closed",
            _DEBUG,
            _SERVER | _PLAIN,
            "A connection whose caller proved nothing ended.",
            "",
            "cause duration tls",
        ),
        (
            "connection.refused",
            _WARNING,
            _SERVER | _BACKEND | _PLAIN,
            "A connection was refused because of a limit or a ban, or because its balancer did not say whose it is.",
            "peer cause",
            "limit most advice",
        ),
        (
            "handshake.failed",
            _WARNING,
            _SERVER | _BACKEND,
            "The TLS handshake failed.",
            "cause",
            "alert tls advice duration",
        ),
        (
            "identity.accepted",
            _INFO,
            _PAIR,
            "The SSIDCODE is one of the partner's.",
            "partner code",
            "release_level certificate_sha256",
        ),
        (
            "identity.refused",
            _ERROR,
            _PAIR,
            "An SSID, or a file's originator or destination, is not what the partner's entry allows.",
            "cause",
            "code codes release_level most reason told_partner told_station certificate_sha256 advice authentication "
            "ended_by outcome level_by originator destination dataset",
        ),
        (
            "strangers.counted",
            _WARNING,
            _EVERY,
            "Unverified callers caused more events than are written; these were only counted.",
            "event count seconds cause",
            "network advice",
        ),
        (
            "penalty.banned",
            _WARNING,
            _SERVER,
            "An address is banned for a while.",
            "network seconds",
            "cause",
        ),
        ("penalty.lifted", _INFO, _SERVER, "The ban of an address has ended.", "network", "cause"),
    ),
    entries_of(
        "Calls to partners",
        Audience.OPERATIONS,
        (
            "outbound.answered",
            _INFO,
            _SERVER,
            "A partner that was called proved its identity, and greeted.",
            "partner host port",
            "address by ca subject issuer serial certificate_sha256 key_sha256 not_after crl_points tls cipher "
            "duration",
        ),
        (
            "outbound.failed",
            _WARNING,
            _SERVER,
            "A call to a partner failed; the step says where.",
            "partner cause step",
            "host port address depth subject issuer serial certificate_sha256 key_sha256 not_before "
            "not_after ca list list_part age this_update next_update alert tls advice sans key_bits duration",
        ),
        (
            "outbound.refused",
            _WARNING,
            _CLIENT,
            "A call from inside to a partner is refused.",
            "cause way",
            "step host port",
        ),
        (
            "outbound.source_missing",
            _CRITICAL,
            _SERVER,
            "The server does not have the address from which partners are to be called.",
            "address cause",
            "names advice",
        ),
    ),
    entries_of(
        "Sessions",
        Audience.SECURITY,
        (
            "session.abandoned",
            _INFO,
            _PAIR,
            "A side went away before the session had started.",
            "outcome cause",
            "ended_by reason tls",
        ),
        (
            "session.anomaly",
            _DEBUG,
            _PAIR,
            "A departure from RFC 5024 that is tolerated.",
            "anomaly rule",
            "section command field sender side state",
        ),
        (
            "session.command",
            _TRACE,
            _PAIR,
            "A command was relayed.",
            "command sender",
            "fields state length anomalies side",
        ),
        (
            "session.ended",
            _INFO,
            _PAIR | _PLAIN,
            "The session ended.",
            "outcome",
            "reason side sender cause duration code release_level octets_in octets_out buffers_in buffers_out files_in "
            "files_out unconfirmed anomalies tolerated discarded told_partner told_station phase station agreed "
            "ended_by",
        ),
        (
            "session.expired",
            _WARNING,
            _PAIR,
            "A deadline passed.",
            "timer",
            "seconds ended_by side phase state sender told_partner told_station reason cause",
        ),
        (
            "session.failed",
            _ERROR,
            _PAIR | _PLAIN,
            "A connection was lost, a daemon or an operator ended the session, or a part of this site is missing.",
            "cause",
            "reason ended_by outcome side phase state told_partner told_station station advice",
        ),
        (
            "session.octets",
            _TRACE,
            _PLAIN,
            "The plain pair passed octets on; with the numbers of octets so far.",
            "octets octets_in octets_out",
            "",
        ),
        (
            "session.refused",
            _WARNING,
            _PAIR,
            "The session did not begin: policy or a limit does not allow it, or the other side is not there.",
            "cause",
            "reason ended_by outcome side code release_level limit value most told_partner told_station advice phase",
        ),
        (
            "session.started",
            _INFO,
            _PAIR | _PLAIN,
            "Partner and station are connected; the session has started.",
            "",
            "code release_level profile tls certificate_sha256",
        ),
        (
            "session.withdrawn",
            _WARNING,
            _SERVER,
            "The partner may no longer connect or be called: its session ends when it is idle, or after some time.",
            "session partner cause",
            "depth subject issuer certificate_sha256 seconds advice",
        ),
        (
            "session.violation",
            _ERROR,
            _PAIR,
            "One side violated the protocol.",
            "rule",
            "message section side sender command field state offset position excerpt length reason told_partner "
            "told_station phase ended_by",
        ),
        ("station.answered", _INFO, _CLIENT, "The station answers: it greeted.", "host port", "duration"),
        (
            "station.unreachable",
            _ERROR,
            _CLIENT | _PLAIN,
            "The station does not answer.",
            "cause",
            "station host port seconds advice",
        ),
    ),
    entries_of(
        "Files",
        Audience.OPERATIONS,
        (
            "file.ended",
            _INFO,
            _PAIR,
            "A Virtual File was transferred, refused or aborted.",
            "outcome",
            "link dataset stamp originator destination format octets records duration answer reason_text size sender",
        ),
        (
            "file.response",
            _INFO,
            _PAIR,
            "An end response (EERP or NERP) was relayed.",
            "command",
            "link dataset stamp originator destination answer reason_text sender",
        ),
        (
            "file.started",
            _INFO,
            _PAIR,
            "A Virtual File was offered and accepted.",
            "",
            "link dataset stamp originator destination format size position sender restart",
        ),
    ),
)
"""By name, in the order of the documents."""
