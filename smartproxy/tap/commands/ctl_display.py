"""The answers of a daemon as text for people."""

from datetime import datetime
from typing import Any

from smartproxy.ctl.answers import (
    DrainBegun,
    HandedOver,
    KilledSession,
    LevelsInForce,
    Licences,
    ListedSession,
    ListedSessions,
    ToldLicence,
)
from smartproxy.ctl.statuses import (
    BackendStatus,
    ClientStatus,
    InForce,
    PlainClientStatus,
    PlainServerStatus,
    ServerStatus,
    Status,
    ToldExpiry,
    ToldFinding,
    TunnelToServer,
    instant,
)
from smartproxy.oftp2.roles import Level
from smartproxy.tap.commands.console import listing, table

_OPTIONS = ("compression", "restart", "authentication")
_NARROW = ("session", "partner", "dir", "phase", "file", "rate in", "rate out", "age", "process")
_WIDE = (
    *("session", "partner", "code", "peer", "dir", "phase", "speaker", "level", "buffer", "credit", "options"),
    *("file", "file octets", "octets in", "octets out", "rate in", "rate out", "files in", "files out"),
    *("profile", "tls", "client", "process", "since"),
)


def status(answer: Status) -> str:
    """How a daemon is: the verdict first."""
    pid_file = answer.pid_file
    pairs: dict[str, object] = {
        "verdict": [_finding(each) for each in answer.findings] or answer.health.value,
        "runs out next": _expiry(answer.runs_out_next),
        "program": f"{answer.program} {answer.version}, process {answer.pid}, up {span(answer.uptime)}",
        "PID file": "none" if pid_file is None else f"{pid_file}{'' if answer.pid_file_right else ' (WRONG)'}",
    }
    match answer:
        case ServerStatus() | PlainServerStatus():
            pairs |= _outside(answer)
        case ClientStatus():
            pairs |= {"backend": answer.backend, **_inside(answer, "station")}
        case PlainClientStatus():
            pairs |= _inside(answer, "target")
        case BackendStatus():
            pairs |= _backend(answer)
    if not isinstance(answer, PlainServerStatus | PlainClientStatus):
        pairs["generation"] = _generation(answer)
    if isinstance(answer, ServerStatus | PlainServerStatus):
        pairs["licence until"] = instant(answer.licence_until)
    if isinstance(answer, ServerStatus | ClientStatus | PlainServerStatus | PlainClientStatus):
        pairs["sessions"] = _sessions(answer)
        if answer.workers:
            pairs["workers"] = [
                f"process {each.pid}: {each.sessions} sessions, up {span(each.seconds)}" for each in answer.workers
            ]
    if isinstance(answer, ServerStatus):
        pairs["connections"] = f"{answer.connections} of {answer.connections_most}"
        pairs["banned"] = [f"{network} for {span(left)}" for network, left in answer.banned.items()] or "none"
    return listing(pairs)


def _finding(finding: ToldFinding) -> str:
    return f"{finding.health}: {finding.advice} ({finding.verdict})"


def _expiry(expiry: ToldExpiry | None) -> str:
    return "nothing" if expiry is None else f"{expiry.what}, on {instant(expiry.until)}"


def _sessions(answer: Any) -> str:
    share = "" if answer.sessions_most is None else f" of {answer.sessions_most} ({answer.load} %)"
    return f"{answer.sessions} live{share}"


def _outside(answer: ServerStatus | PlainServerStatus) -> dict[str, object]:
    missing = [f"{port} (NOT OPEN)" for port in answer.external_listeners_missing]
    return {
        "site": answer.site,
        "Proxy ID": answer.proxy_id,
        "clients at": answer.internal_listener or "closed",
        "partners at": [*answer.external_listeners, *missing] or "closed",
        "tunnels": [
            f"{tunnel.client} {tunnel.version} at {tunnel.peer} since {instant(tunnel.since)}, "
            f"{tunnel.sessions} sessions, "
            f"certificate until {instant(tunnel.certificate_until)}"
            for tunnel in answer.tunnels
        ]
        or "none",
    }


def _inside(answer: ClientStatus | PlainClientStatus, station: str) -> dict[str, object]:
    calls = [f"{port or 'NOT OPEN'} to {name}" for name, port in answer.outbound_listeners.items()]
    return {
        station: answer.station or "not known yet",
        "calls at": calls or "closed",
        "tunnels": [_tunnel(each) for each in answer.tunnels]
        or [f"{server} (not dialled yet)" for server in answer.servers],
    }


def _tunnel(tunnel: TunnelToServer) -> str:
    if not tunnel.up or tunnel.since is None:
        return f"{tunnel.server} (DOWN)"
    generation = "" if tunnel.generation is None else f"generation {tunnel.generation}, "
    return (
        f"{tunnel.server} {tunnel.version} at {tunnel.peer} since {instant(tunnel.since)}, {generation}"
        f"{tunnel.data_connections} data connections"
    )


def _backend(answer: BackendStatus) -> dict[str, object]:
    return {
        "site": answer.site or "not known",
        "clients at": answer.listener or "closed",
        **({} if answer.page is None else {"page at": answer.page}),
        "store": answer.store,
        "hourly work": "here" if answer.on_duty else "in another backend",
        "clients": [
            f"{each.client} {each.version or '-'} at {each.address or '-'}, "
            f"last call {_time(each.last_call, 'never')}{'' if each.enabled else ' (DISABLED)'}"
            for each in answer.clients
        ]
        or "none",
        "revocation lists": [
            f"{each.ca} from {each.url}: {each.result}, next try {_time(each.next_try, 'now')}"
            for each in answer.downloads
        ]
        or "none is downloaded",
    }


def _time(time: datetime | None, unset: str) -> str:
    return unset if time is None else instant(time)


def generation(answer: InForce) -> str:
    """The generation in force."""
    return listing({"generation": _generation(answer)})


def _generation(answer: InForce) -> str:
    if answer.generation is None:
        return "none"
    return f"{answer.generation} since {_time(answer.generation_since, '-')}, from {answer.generation_from}"


def licence(answer: Licences) -> str:
    """The licences, one paragraph each."""
    return "\n\n".join(listing(_licence(each)) for each in answer.licences) or "no licence"


def _licence(each: ToldLicence) -> dict[str, object]:
    if each.refused is not None or each.days_left is None:
        return {"Proxy ID": each.proxy_id, "refused": each.refused}
    limits = ", ".join(f"{name} {value}" for name, value in each.limits.items())
    return {
        "Proxy ID": each.proxy_id,
        "site": each.site,
        "valid from": _time(each.valid_from, "-"),
        "valid until": f"{_time(each.valid_until, '-')} ({_days_left(each.days_left)})",
        "in force": "yes" if each.in_force else "NO",
        "limits": limits or "none",
    }


def _days_left(days: int) -> str:
    if days < 0:
        return "ended"
    return "1 day left" if days == 1 else f"{days} days left"


def levels(answer: LevelsInForce) -> str:
    """What is logged."""
    return listing({"everything" if name == "*" else name: level for name, level in answer.levels.items()})


def draining(answer: DrainBegun) -> str:
    """That the end has begun."""
    return f"it ends; {answer.sessions} sessions may go on until then"


def handed_over(answer: HandedOver) -> str:
    """That a new process has taken over."""
    return f"process {answer.pid} has taken over; {answer.sessions} sessions go on in the old one until they end"


def killed(answer: KilledSession) -> str:
    """That a session was ended."""
    return f"session {answer.killed} is ended (OFTP2: both sides get ESID 05)"


class SessionsTable:
    """The table of sessions; rates are those since the look before, or since the session began.

    :param wide: show all columns.
    """

    def __init__(self, *, wide: bool) -> None:
        self._wide = wide
        self._before: dict[str, ListedSession] = {}

    def show(self, answer: ListedSessions) -> str:
        """The table."""
        rows = [self._row(session) for session in answer.sessions]
        heads = _WIDE if self._wide else _NARROW
        self._before = {session.session: session for session in answer.sessions}
        return table(heads, [[row[head] for head in heads] for row in rows], "no session is live")

    def _row(self, session: ListedSession) -> dict[str, object]:
        file, agreed = session.file, session.agreed
        options = [] if agreed is None else [name for name in _OPTIONS if getattr(agreed, name)]
        came, went = self._rates(session)
        row: dict[str, object] = {
            "dir": "in" if session.direction == "inbound" else "out",
            "level": None if agreed is None else Level(agreed.level).label,
            "buffer": None if agreed is None else agreed.buffer_size,
            "credit": None if agreed is None else agreed.credit,
            "options": ",".join(options),
            "file": None if file is None else f"{file.dataset} {'>' if file.link == 'in' else '<'}",
            "file octets": None if file is None else octets(file.octets),
            "octets in": octets(session.octets_in),
            "octets out": octets(session.octets_out),
            "rate in": f"{octets(came)}/s",
            "rate out": f"{octets(went)}/s",
            "files in": session.files_in,
            "files out": session.files_out,
            "age": span(session.seconds),
            "since": instant(session.since),
            "process": session.pid,
        }
        for name in ("session", "partner", "code", "peer", "phase", "speaker", "profile", "tls", "client"):
            row[name] = getattr(session, name)
        return {name: "-" if value is None or value == "" else value for name, value in row.items()}

    def _rates(self, session: ListedSession) -> tuple[int, int]:
        before = self._before.get(session.session)
        if before is None or session.seconds <= before.seconds:
            return session.rate_in, session.rate_out
        seconds = session.seconds - before.seconds
        came, went = session.octets_in - before.octets_in, session.octets_out - before.octets_out
        return round(came / seconds), round(went / seconds)


def octets(count: int) -> str:
    """A number of octets, short: 999, 4.1K, 12M."""
    size = float(count)
    for unit in ("", "K", "M", "G"):
        if size < 999.5:
            return f"{size:.3g}{unit}"
        size /= 1000
    return f"{size:.0f}T"


def span(seconds: float) -> str:
    """How long, short: 42s, 3m07s, 5h12m, 3d04h."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"
