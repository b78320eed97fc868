"""Every event that SmartProxy writes: its stable name, level, fields, meaning and readers.

The one place for event names. Parts of the program emit by name (:mod:`smartproxy.logs.emit`); what does not stand here
is not an event. Names are ``subject.what``, never change their meaning, and are what detection rules and scripts rely
on; fields may be added. The page of events in the documents is generated from this module.

Standards: the event types that Commission Implementing Regulation (EU) 2024/2690, annex 3.2, asks for.
"""

from collections.abc import Mapping

from smartproxy.logs.fields import ALWAYS, Audience, CatalogueError, EventType, entries_of
from smartproxy.logs.severity import Severity

__all__ = ["ALWAYS", "EVENTS", "STRANGERS", "Audience", "CatalogueError", "EventType", "look_up"]


def look_up(name: str) -> EventType:
    """Find an event by its name.

    :raises CatalogueError: when there is none.
    """
    try:
        return EVENTS[name]
    except KeyError:
        raise CatalogueError(f"no event is named {name}") from None


STRANGERS = frozenset(
    {
        "backend.call_refused",
        "certificate.refused",
        "connection.accepted",
        "connection.closed",
        "connection.refused",
        "crl.url_seen",
        "ctl.refused",
        "handshake.failed",
        "outbound.refused",
        "penalty.banned",
        "penalty.lifted",
        "tunnel.refused",
        "tunnel.violation",
    }
)
"""The events that a caller can cause before anybody knows who it is, or a far daemon at will.

Only so many of them are written in a second.

An event that names a client, a partner or a session is of somebody who proved it, and is
always written.
"""

_TRACE, _DEBUG, _INFO, _WARNING = Severity.TRACE, Severity.DEBUG, Severity.INFO, Severity.WARNING
_ERROR, _CRITICAL = Severity.ERROR, Severity.CRITICAL

# One entry: name, level, what happened, the fields that it always has, the fields that it may have.
EVENTS: Mapping[str, EventType] = {
    **entries_of(
        "Daemons",
        Audience.OPERATIONS,
        ("appender.failed", _ERROR, "The log cannot be written or sent.", "appender cause", "advice"),
        ("appender.recovered", _WARNING, "The log is written or sent again.", "appender", "count"),
        ("backend.started", _INFO, "The backend has started.", "version", "address port path site pid"),
        ("backend.stopped", _INFO, "The backend has stopped.", "", "cause duration"),
        ("client.started", _INFO, "The client has started.", "version", "host names pid"),
        ("client.stopped", _INFO, "The client has stopped.", "", "cause duration"),
        ("client.stopping", _INFO, "The client is stopping; running sessions may finish.", "cause", "sessions seconds"),
        (
            "ctl.failed",
            _WARNING,
            "The control socket cannot be opened: no operator can ask or tell the daemon anything.",
            "cause path",
            "advice",
        ),
        ("ctl.refused", _WARNING, "A user without permission connected to the control socket.", "cause", ""),
        (
            "ctl.used",
            _INFO,
            "An operator told the daemon to drain, or to end a session.",
            "command cause",
            "seconds",
        ),
        ("daemon.hardened", _DEBUG, "Core dumps, tracing and new privileges are switched off.", "", ""),
        ("daemon.few_descriptors", _WARNING, "The limit of open files allows few connections.", "value", "most advice"),
        ("daemon.not_hardened", _WARNING, "The system refused a hardening measure.", "facts", "advice"),
        ("identity_key.created", _INFO, "The server made itself an identity key.", "proxy_id", "path"),
        ("level.changed", _INFO, "The level of the log was changed.", "mode", "cause category"),
        ("listener.closed", _INFO, "A port is closed for new connections.", "port", "address cause"),
        ("listener.failed", _CRITICAL, "A port could not be opened.", "port cause", "address advice"),
        ("listener.opened", _INFO, "A port is open for connections.", "port", "address mode"),
        ("pid_file.removed", _WARNING, "The PID file of a process that no longer runs was taken over.", "path", "pid"),
        ("server.started", _INFO, "The server has started.", "version", "proxy_id site address port path pid"),
        ("server.stopped", _INFO, "The server has stopped.", "", "cause duration"),
        ("server.stopping", _INFO, "The server is stopping; running sessions may finish.", "cause", "sessions seconds"),
        ("signal.received", _DEBUG, "A signal asked the daemon to end.", "cause mode", ""),
    ),
    **entries_of(
        "Licence",
        Audience.OPERATIONS,
        ("licence.accepted", _INFO, "The licence is in force.", "site valid_until", "proxy_id valid_from path"),
        ("licence.ending", _WARNING, "The licence ends soon.", "valid_until", "count site advice"),
        (
            "licence.expired",
            _CRITICAL,
            "The licence has ended: no new sessions are accepted.",
            "valid_until",
            "site advice",
        ),
        (
            "licence.issued",
            _INFO,
            "The site's authority signed a licence.",
            "proxy_id valid_until",
            "site valid_from path",
        ),
        ("licence.refused", _ERROR, "A licence is refused.", "cause", "path proxy_id site advice valid_until"),
        ("licence.written", _INFO, "A renewed licence was written to its file.", "path", "valid_until site"),
        (
            "licence.write_failed",
            _ERROR,
            "A renewed licence could not be written; it is in force until the daemon stops.",
            "path cause",
            "advice",
        ),
    ),
    **entries_of(
        "Tunnel",
        Audience.SECURITY,
        (
            "tunnel.distrusted",
            _ERROR,
            "A server asked for something that it may not: its host may have been taken over.",
            "cause proxy_id",
            "",
        ),
        ("tunnel.down", _WARNING, "The tunnel was lost.", "cause", "sessions host port duration"),
        ("tunnel.failed", _WARNING, "The tunnel could not be set up.", "cause", "host port advice seconds"),
        (
            "tunnel.refused",
            _ERROR,
            "The other end of a tunnel connection was refused.",
            "cause",
            "host port advice proxy_id subject issuer not_after ours theirs check",
        ),
        (
            "tunnel.up",
            _INFO,
            "The tunnel is up: server and client have authenticated each other.",
            "",
            "host port version theirs proxy_id subject not_after tls cipher",
        ),
        ("tunnel.violation", _CRITICAL, "The other end violated the tunnel protocol.", "cause", "command state mode"),
        ("tunnel_certificate.issued", _INFO, "A client received a tunnel certificate.", "not_after", "serial subject"),
        (
            "tunnel_certificate.refused",
            _ERROR,
            "A client was refused a tunnel certificate.",
            "cause",
            "advice subject status",
        ),
    ),
    **entries_of(
        "Configuration",
        Audience.OPERATIONS,
        ("authority.created", _INFO, "The site's authority was created.", "site", "path key_sha256"),
        ("ca.changed", _INFO, "A CA was added, changed or removed.", "ca", "command mode count"),
        ("client.changed", _INFO, "A client was added, changed or removed.", "command", "names"),
        (
            "configuration.accepted",
            _INFO,
            "A generation of the configuration is in force.",
            "generation",
            "partners cas listeners previous store",
        ),
        (
            "copy.used",
            _WARNING,
            "The backend cannot be reached: the client goes on with its copy of a generation.",
            "generation age",
            "path seconds advice store",
        ),
        ("copy.refused", _WARNING, "The client's copy of a generation cannot be used.", "cause", "path advice"),
        ("copy.write_failed", _WARNING, "The client cannot keep a copy of the generation.", "cause", "path advice"),
        ("configuration.changed", _INFO, "An operator made a new generation.", "generation", "command previous"),
        (
            "configuration.refused",
            _ERROR,
            "A generation of the configuration is not valid; the previous one stays in force.",
            "cause",
            "place previous advice size",
        ),
        (
            "configuration.undelivered",
            _WARNING,
            "A generation could not be delivered to a server; it is tried again after so many seconds.",
            "cause",
            "seconds",
        ),
        (
            "configuration.forgotten",
            _INFO,
            "The server has erased its keys and configuration.",
            "cause",
            "previous seconds",
        ),
        (
            "crl.loaded",
            _INFO,
            "A revocation list is in force.",
            "issuer count",
            "ca this_update next_update path list list_part",
        ),
        ("crl.refused", _ERROR, "A revocation list is refused.", "cause", "issuer ca path advice list"),
        (
            "crl.stale",
            _WARNING,
            "A revocation list is out of date.",
            "issuer next_update",
            "ca age advice list list_part",
        ),
        ("crl.url_seen", _INFO, "A verified certificate names a revocation list.", "url", "issuer ca subject"),
        (
            "identity.changed",
            _INFO,
            "A server certificate was imported, requested or removed.",
            "command names",
            "subject not_after certificate_sha256",
        ),
        ("partner.changed", _INFO, "A partner's entry was changed.", "partner command", "codes"),
        ("settings.changed", _INFO, "A setting was changed.", "names", "command"),
    ),
    **entries_of(
        "Connections",
        Audience.SECURITY,
        (
            "certificate.accepted",
            _INFO,
            "The certificate belongs to a partner.",
            "partner by",
            "ca subject issuer serial certificate_sha256 key_sha256 not_after crl_points tls cipher",
        ),
        (
            "certificate.refused",
            _WARNING,
            "The certificate was refused.",
            "cause",
            "depth subject issuer serial certificate_sha256 key_sha256 not_before not_after ca list "
            "list_part age this_update next_update alert tls advice sans key_bits",
        ),
        ("connection.accepted", _DEBUG, "A connection was accepted.", "peer", "address port transport"),
        (
            "connection.closed",
            _DEBUG,
            "A connection without a session ended.",
            "",
            "cause duration ended_by outcome tls",
        ),
        (
            "connection.refused",
            _WARNING,
            "A connection was refused because of a limit or a ban.",
            "peer cause",
            "limit value most network advice",
        ),
        ("handshake.failed", _WARNING, "The TLS handshake failed.", "cause", "alert tls advice duration"),
        (
            "identity.accepted",
            _INFO,
            "The SSIDCODE is one of the partner's.",
            "partner code",
            "release_level certificate_sha256",
        ),
        (
            "identity.refused",
            _ERROR,
            "An SSID, or a file's originator or destination, is not what the partner's entry allows.",
            "cause",
            "code codes release_level most reason told_partner told_station certificate_sha256 advice authentication "
            "ended_by outcome level_by originator destination dataset",
        ),
        (
            "strangers.counted",
            _WARNING,
            "Unverified callers caused more events than are written; these were only counted.",
            "event count seconds cause",
            "network advice",
        ),
        ("penalty.banned", _WARNING, "An address is banned for a while.", "network seconds", "points cause until"),
        ("penalty.lifted", _INFO, "The ban of an address has ended.", "network", "cause"),
    ),
    **entries_of(
        "Calls to partners",
        Audience.OPERATIONS,
        (
            "outbound.answered",
            _INFO,
            "A partner that was called proved its identity, and greeted.",
            "partner host port",
            "address by ca subject issuer serial certificate_sha256 key_sha256 not_after crl_points tls cipher "
            "duration",
        ),
        (
            "outbound.failed",
            _WARNING,
            "A call to a partner failed; the step says where.",
            "partner cause step",
            "host port address depth subject issuer serial certificate_sha256 key_sha256 not_before "
            "not_after ca list list_part age this_update next_update alert tls advice sans key_bits duration",
        ),
        (
            "outbound.refused",
            _WARNING,
            "A call from inside to a partner is refused.",
            "cause way",
            "step host port",
        ),
        (
            "outbound.source_missing",
            _CRITICAL,
            "The server does not have the address from which partners are to be called.",
            "address cause",
            "names advice",
        ),
    ),
    **entries_of(
        "Sessions",
        Audience.SECURITY,
        (
            "session.anomaly",
            _DEBUG,
            "A departure from RFC 5024 that is tolerated.",
            "anomaly rule",
            "section command field sender side state",
        ),
        (
            "session.command",
            _TRACE,
            "A command was relayed.",
            "command sender",
            "fields state length anomalies side",
        ),
        (
            "session.ended",
            _INFO,
            "The session ended.",
            "outcome",
            "reason side sender cause duration code release_level octets_in octets_out buffers_in buffers_out files_in "
            "files_out unconfirmed anomalies tolerated discarded told_partner told_station phase station agreed "
            "ended_by",
        ),
        (
            "session.expired",
            _WARNING,
            "A deadline passed.",
            "timer",
            "seconds ended_by side phase state sender told_partner told_station reason cause",
        ),
        (
            "session.failed",
            _ERROR,
            "A connection was lost, a daemon or an operator ended the session, or a part of this site is missing.",
            "cause",
            "reason ended_by outcome side phase state told_partner told_station station advice",
        ),
        (
            "session.octets",
            _TRACE,
            "The plain pair passed octets on; with the numbers of octets so far.",
            "octets octets_in octets_out",
            "",
        ),
        (
            "session.refused",
            _WARNING,
            "The session did not begin: policy or a limit does not allow it, or the other side is not there.",
            "cause",
            "reason ended_by outcome side code release_level limit value most told_partner told_station advice phase",
        ),
        (
            "session.started",
            _INFO,
            "Partner and station are connected; the session has started.",
            "",
            "code release_level profile tls cipher certificate_sha256 station agreed compression restart "
            "authentication by ca role",
        ),
        (
            "session.withdrawn",
            _WARNING,
            "The partner may no longer connect or be called: its session ends when it is idle, or after some time.",
            "session partner cause",
            "depth subject issuer certificate_sha256 seconds advice",
        ),
        (
            "session.violation",
            _ERROR,
            "One side violated the protocol.",
            "rule",
            "message section side sender command field state offset position excerpt length reason told_partner "
            "told_station phase ended_by",
        ),
        ("station.answered", _INFO, "The test of the station succeeded: it greeted.", "host port", "duration"),
        ("station.unreachable", _ERROR, "The station does not answer.", "cause", "station host port seconds advice"),
    ),
    **entries_of(
        "Files",
        Audience.OPERATIONS,
        (
            "file.ended",
            _INFO,
            "A Virtual File was transferred, refused or aborted.",
            "outcome",
            "link dataset stamp originator destination format octets records duration answer reason_text size sender",
        ),
        (
            "file.response",
            _INFO,
            "An end response (EERP or NERP) was relayed.",
            "command",
            "link dataset stamp originator destination answer reason_text sender",
        ),
        (
            "file.started",
            _INFO,
            "A Virtual File was offered and accepted.",
            "",
            "link dataset stamp originator destination format size position sender restart",
        ),
    ),
    **entries_of(
        "Backend",
        Audience.SECURITY,
        (
            "backend.call_refused",
            _WARNING,
            "A call of the backend's API was refused.",
            "cause",
            "method path status advice ours theirs",
        ),
        ("backend.reached", _INFO, "The backend answers again.", "", "url duration version"),
        (
            "backend.unreachable",
            _ERROR,
            "The backend does not answer, or not correctly.",
            "cause",
            "url advice seconds",
        ),
        (
            "backend.version_refused",
            _ERROR,
            "Client and backend have versions that cannot work together.",
            "ours theirs",
            "url advice cause",
        ),
        ("events.dropped", _ERROR, "Events were lost before they reached the backend.", "count cause", "daemon"),
        (
            "events.refused",
            _WARNING,
            "An event from a daemon is not valid and was not stored.",
            "cause",
            "daemon event",
        ),
        (
            "events.set_aside",
            _ERROR,
            "An event that the backend does not take was set aside, so that it holds back no other.",
            "event cause",
            "daemon",
        ),
        (
            "store.outdated",
            _ERROR,
            "Another version of SmartProxy brought the store up to date: the backend has to be restarted.",
            "cause",
            "place",
        ),
        (
            "store.set_back",
            _WARNING,
            "The store is a copy from before a generation that a client has; it was given another id.",
            "generation previous",
            "client store",
        ),
        ("store.busy", _WARNING, "The store is locked by another program; the backend tries again.", "cause", "place"),
        ("secret.on_command_line", _WARNING, "A secret can be read in the process list.", "option", "advice"),
    ),
    **entries_of(
        "Faults of the program",
        Audience.DEVELOPMENT,
        ("internal.error", _CRITICAL, "A bug in SmartProxy.", "place", "exception frames message event"),
    ),
}
