"""What the page says of each setting: in which block it stands, what it is, and what a change of it does.

Blocks that the manuals of the product before have too have their names, so that an operator finds them again.
"""

from typing import Final

import attrs

from smartproxy.backend.page.texts import later


@attrs.frozen
class SettingBlock:
    """Settings that belong together.

    :ivar key: what it is called in the page's address.
    :ivar title: what it is called.
    :ivar prefixes: names of settings, or beginnings of names with their full stop.
    :ivar effect: what a change of one of them does, and when.
    """

    key: str
    title: str
    prefixes: tuple[str, ...]
    effect: str

    def holds(self, name: str) -> bool:
        """Whether a setting stands here."""
        return any(name == each or (each.endswith(".") and name.startswith(each)) for each in self.prefixes)


BLOCKS: Final = (
    SettingBlock(
        "tcp",
        later("TCP/IP"),
        (
            "server.listeners",
            "server.balancers",
            "server.source_address",
            "server.source_address_missing",
            "client.station.",
        ),
        later("In force within seconds, without a restart: ports are opened and closed, running sessions go on."),
    ),
    SettingBlock(
        "proxy",
        later("Proxy"),
        ("client.outbound.", "client.pool.", "client.copy_hours"),
        later("In force at every client within seconds, without a restart; running sessions go on."),
    ),
    SettingBlock(
        "logging",
        later("Logging"),
        ("backend.log.",),
        later("In force in the backend at once, without a restart."),
    ),
    SettingBlock(
        "keeping",
        later("Keeping events"),
        ("backend.keep_events_days",),
        later("Applies from the next look, within an hour."),
    ),
    SettingBlock(
        "events",
        later("Events: script and mail"),
        ("backend.event_script.", "backend.mail."),
        later("Applies to events that arrive from then on."),
    ),
    SettingBlock(
        "watching",
        later("Watching the business"),
        ("backend.watching.",),
        later("Applies from the next look, within minutes."),
    ),
    SettingBlock(
        "deadlines",
        later("Deadlines"),
        ("server.deadlines.", "client.deadlines."),
        later(
            "Applies to new connections. Running sessions use the current values of drain and closing when a daemon is "
            "stopped, and of withdrawal when a partner loses its access."
        ),
    ),
    SettingBlock(
        "limits",
        later("Limits"),
        ("server.limits.", "client.limits."),
        later("Applies to new connections; no running one is ended."),
    ),
    SettingBlock(
        "penalties",
        later("Penalties"),
        ("server.penalties.",),
        later("In force within seconds. An address that becomes exempt is let in at once."),
    ),
    SettingBlock(
        "four-eyes",
        later("Four eyes"),
        ("backend.four_eyes",),
        later("Applies to what is wanted from then on. It is set on the backend's machine only."),
    ),
    SettingBlock(
        "page",
        later("This page"),
        ("backend.page.",),
        later("In force within seconds, without a restart; who is logged in stays so."),
    ),
    SettingBlock(
        "revocation",
        later("Downloads of revocation lists"),
        ("backend.download_networks",),
        later("Applies to the next download."),
    ),
    SettingBlock(
        "sheet",
        later("The partner's sheet"),
        ("backend.sheet.",),
        later("Stands in the sheets that are made from then on; nothing else changes."),
    ),
)

_DEADLINES: Final = {
    "handshake": later("From the connection to the end of the TLS handshake."),
    "ssid": later("From SSRM to the complete SSID of the side that called."),
    "authentication": later("From the begin of the session to the end of secure authentication."),
    "buffer": later("From the first to the last octet of one Exchange Buffer."),
    "inactivity": later("How long a session may be without data in either direction."),
    "closing": later("From the start of closing a connection to its abort."),
    "drain": later("How long running sessions may finish when a daemon is stopped."),
    "opening": later(
        "From the request to reach the other side of a session, the station or a called partner, to its SSRM."
    ),
    "withdrawal": later("How long a session may go on after its partner lost its access."),
}
_SELECTION: Final = {
    "level": later("Events of this level and of higher ones start it."),
    "names": later("Names of events that start it at any level, or beginnings of names with their dot (crl.)."),
    "partners": later("If not empty, an event that names a partner starts it only if it is one of these."),
    "hours": later("Events older than this start nothing."),
}
_MAILED: Final = {
    "level": later("Events of this level and of higher ones are mailed."),
    "names": later("Names of events that are mailed at any level, or beginnings of names with their dot (crl.)."),
    "partners": later("If not empty, an event that names a partner is mailed only if it is one of these."),
    "hours": later("Events older than this are not mailed."),
}
_TEXTS: Final = {
    "server.listeners": later("Addresses and ports where the server listens for partners, such as 0.0.0.0:6619."),
    "server.balancers": later(
        "Networks of load balancers. Each connection from there has to begin with a header of the PROXY protocol, "
        "version 1 or 2, and counts for the address that it names."
    ),
    "server.source_address": later("The server's own address from which partners are called, where it has several."),
    "server.source_address_missing": later(
        "What happens if that address is not there: calls are refused, or the server stops."
    ),
    "client.station.host": later("The host that runs the receive daemon, the station."),
    "client.station.port": later("The station's port."),
    "client.station.timeout": later("From the client's dial to the station to its SSRM."),
    "client.station.retry": later(
        "Seconds until the client calls a station again that did not answer, only to see whether it greets (SSRM). It "
        "also does so once at its start. 0: never."
    ),
    "client.station.profile": later("How strictly the station's own octets are judged."),
    "client.outbound.enabled": later(
        "Whether clients take calls that name the partner (HTTP CONNECT, SOCKS5). Ports of single partners stay open."
    ),
    "client.outbound.address": later("Where clients listen for such calls, unless a client has an address of its own."),
    "client.outbound.port": later("The port for such calls, unless a client has a port of its own."),
    "client.pool.ready": later("Connections that a client keeps ready in the tunnel, so that sessions begin at once."),
    "client.pool.most": later("Connections of a client in the tunnel, ready or in use."),
    "client.copy_hours": later("How old a client's copy of the configuration may be when the backend is away."),
    "backend.log.path": later("The file that the backend's log is written to; an absolute path."),
    "backend.log.level": later("From which level on the backend's log is written."),
    "backend.keep_events_days": later("How long events are kept after their arrival; 0 keeps them for ever."),
    "backend.download_networks": later(
        "Private networks that revocation lists may be downloaded from; all others of them are refused."
    ),
    "backend.event_script.program": later("The program that is started; it is set on the backend's machine only."),
    "backend.event_script.seconds": later("How long one run of it may take."),
    "backend.event_script.at_once": later("How many runs there are at the same time."),
    "backend.event_script.waiting": later(
        "How many events may wait for it; what is more is counted and starts nothing."
    ),
    "backend.mail.host": later("The mail server; without one no mail is sent."),
    "backend.mail.port": later("The mail server's port."),
    "backend.mail.security": later("How the connection to the mail server is protected."),
    "backend.mail.ca_file": later("A PEM file with the CAs of the mail server's certificate; the system's if not set."),
    "backend.mail.user": later("User name for the mail server."),
    "backend.mail.password_file": later("A file with the password; it is set on the backend's machine only."),
    "backend.mail.from": later("The address that mail is from."),
    "backend.mail.to": later("The addresses that mail goes to."),
    "backend.mail.every_seconds": later("Least time between two mails; events of that time are in the second one."),
    "backend.watching.silent_hours": later(
        "Hours without a session after which a partner is told as silent; 0: never. A partner may have its own."
    ),
    "backend.watching.no_files_days": later(
        "Days with sessions, but without a file, after which it is told; 0: never."
    ),
    "backend.watching.eerp_hours": later("Hours after which an EERP that did not come is told; 0: never."),
    "backend.four_eyes": later("Operations that are done only when a second administrator wants them, too."),
    "backend.page.address": later(
        "An address of the backend's machine where this page is, apart from the API; not set: at the API's port."
    ),
    "backend.page.port": later("The port of this page there."),
    "backend.page.certificate_file": later(
        "A PEM file with the certificate that is shown there, and its chain; it is set on the backend's machine only."
    ),
    "backend.page.key_file": later("A PEM file with its key, if that stands apart; set on the backend's machine only."),
    "backend.page.proxies": later(
        "Networks of the reverse proxies in front of this page; from others their headers are ignored."
    ),
    "backend.page.proxy_header": later("By which headers the reverse proxies say who called them."),
    "backend.sheet.host": later("The host that partners are told to call."),
    "backend.sheet.port": later("The port on the sheet for partners; 0: the server's own."),
    "backend.sheet.codes": later("Our SSIDCODEs on the partner's sheet."),
    "backend.sheet.file_codes": later("Our SFIDDEST and SFIDORIG codes on the partner's sheet."),
    "backend.sheet.buffer_octets": later("The Exchange Buffer size that they are told; 0: none."),
    "backend.sheet.credit": later("The credit that they are told; 0: none."),
    "backend.sheet.compression": later("Whether they are told that the station compresses."),
    "backend.sheet.restart": later("Whether they are told that the station restarts files."),
    "backend.sheet.contact": later("Contact on the partner's sheet."),
    "server.limits.sessions": later("Most sessions at one server, of all partners."),
    "server.limits.sessions_per_partner": later("Most sessions of one partner at one server."),
    "server.limits.connections": later("Most connections at one server, verified or not."),
    "server.limits.connections_per_address": later("Most connections of one address at one server."),
    "server.limits.unauthenticated_per_address": later("Most unverified connections of one address at one server."),
    "server.limits.strangers_events": later("Most events a second that unverified callers can cause at one server."),
    "server.limits.command_octets": later("Octets of one Exchange Buffer other than DATA."),
    "client.limits.sessions": later("Sessions at a client, all together."),
    "client.limits.openings_rate": later("Sessions a second that a server may open at a client."),
    "client.limits.reports_rate": later("Events a second that a server may report to a client."),
    "client.limits.command_octets": later("Octets of one Exchange Buffer other than DATA."),
    "server.penalties.enabled": later("Whether addresses that break the rules again and again are banned for a while."),
    "server.penalties.threshold": later("Points at which an address is banned."),
    "server.penalties.ban_seconds": later("Length of the first ban; each further one is twice as long."),
    "server.penalties.ban_seconds_most": later("Length of the longest ban."),
    "server.penalties.exempt": later("Networks whose addresses are never banned."),
}


def text_of(name: str) -> str:
    """What a setting is, to be translated; empty for one that the page does not know."""
    last = name.rpartition(".")[2]
    if ".deadlines." in name:
        return _DEADLINES.get(last, "")
    if name.startswith("backend.event_script.") and last in _SELECTION:
        return _SELECTION[last]
    if name.startswith("backend.mail.") and last in _MAILED:
        return _MAILED[last]
    return _TEXTS.get(name, "")


def block_of(name: str) -> SettingBlock | None:
    """The block in which a setting stands."""
    return next((each for each in BLOCKS if each.holds(name)), None)
