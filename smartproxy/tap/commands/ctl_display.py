"""The answers of a daemon as text for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from smartproxy.oftp2.roles import Level
from smartproxy.tap.commands.console import listing, table

Answer = Mapping[str, Any]

_NARROW = ("session", "partner", "dir", "phase", "file", "rate in", "rate out", "age")
_WIDE = (
    *("session", "partner", "code", "peer", "dir", "phase", "speaker", "level", "buffer", "credit", "options"),
    *("file", "file octets", "octets in", "octets out", "rate in", "rate out", "files in", "files out"),
    *("profile", "tls", "client", "since"),
)


def status(answer: Answer) -> str:
    """How a daemon is: the verdict first."""
    pid_file = answer["pid_file"]
    pairs: dict[str, object] = {
        "verdict": [_finding(each) for each in answer["findings"]] or answer["health"],
        "runs out next": _expiry(answer["runs_out_next"]),
        "program": f"{answer['program']} {answer['version']}, process {answer['pid']}, up {span(answer['uptime'])}",
        "PID file": "none" if pid_file is None else f"{pid_file}{'' if answer['pid_file_right'] else ' (WRONG)'}",
    }
    pairs |= _SHOWN[answer["program"]](answer)
    if not answer["program"].startswith("smartproxy-plain"):
        pairs["generation"] = _generation(answer)
    if "licence_until" in answer:
        pairs["licence until"] = answer["licence_until"]
    if "sessions" in answer:
        most, load = answer["sessions_most"], answer["load"]
        pairs["sessions"] = f"{answer['sessions']} live" + ("" if most is None else f" of {most} ({load} %)")
    if "bans" in answer:
        pairs["connections"] = f"{answer['connections']} of {answer['connections_most']}"
        banned = [f"{network} for {span(seconds)}" for network, seconds in answer["banned"].items()]
        pairs["banned"] = banned or "none"
    return listing(pairs)


def _finding(finding: Answer) -> str:
    return f"{finding['health']}: {finding['advice']} ({finding['verdict']})"


def _expiry(expiry: Answer | None) -> str:
    return "nothing" if expiry is None else f"{expiry['what']}, on {expiry['until']}"


def _server(answer: Answer) -> dict[str, object]:
    missing = [f"{port} (NOT OPEN)" for port in answer["external_listeners_missing"]]
    return {
        "site": answer["site"],
        "Proxy ID": answer["proxy_id"],
        "clients at": answer["internal_listener"] or "closed",
        "partners at": [*answer["external_listeners"], *missing] or "closed",
        "tunnels": [
            f"{tunnel['client']} {tunnel['version']} at {tunnel['peer']} since {tunnel['since']}, "
            f"{tunnel['sessions']} sessions, "
            f"certificate until {tunnel['certificate_until']}"
            for tunnel in answer["tunnels"]
        ]
        or "none",
    }


def _client(answer: Answer) -> dict[str, object]:
    tunnels = [
        f"{tunnel['server']} {tunnel['version']} at {tunnel['peer']} since {tunnel['since']}, "
        f"generation {tunnel['generation']}, "
        f"{tunnel['data_connections']} data connections"
        if tunnel["up"]
        else f"{tunnel['server']} (DOWN)"
        for tunnel in answer["tunnels"]
    ]
    calls = [f"{port or 'NOT OPEN'} to {name}" for name, port in answer["outbound_listeners"].items()]
    return {
        "backend": answer["backend"],
        "station": answer["station"] or "not known yet",
        "calls at": calls or "closed",
        "tunnels": tunnels or [f"{server} (not dialled yet)" for server in answer["servers"]],
    }


def _plain_client(answer: Answer) -> dict[str, object]:
    tunnels = [
        f"{tunnel['server']} {tunnel['version']} at {tunnel['peer']} since {tunnel['since']}, "
        f"{tunnel['data_connections']} data connections"
        if tunnel["up"]
        else f"{tunnel['server']} (DOWN)"
        for tunnel in answer["tunnels"]
    ]
    calls = [f"{port} to {destination}" for destination, port in answer["outbound_listeners"].items()]
    return {"target": answer["station"], "calls at": calls or "closed", "tunnels": tunnels}


def _backend(answer: Answer) -> dict[str, object]:
    clients = [
        f"{each['client']} {each['version'] or '-'} at {each['address'] or '-'}, "
        f"last call {each['last_call'] or 'never'}{'' if each['enabled'] else ' (DISABLED)'}"
        for each in answer["clients"]
    ]
    return {
        "site": answer["site"] or "not known",
        "clients at": answer["listener"] or "closed",
        "store": answer["store"],
        "hourly work": "here" if answer["on_duty"] else "in another backend",
        "clients": clients or "none",
        "revocation lists": [
            f"{each['ca']} from {each['url']}: {each['result']}, next try {each['next_try'] or 'now'}"
            for each in answer["downloads"]
        ]
        or "none is downloaded",
    }


_SHOWN: Final[Mapping[str, Callable[[Answer], dict[str, object]]]] = {
    "smartproxy-server": _server,
    "smartproxy-client": _client,
    "smartproxy-backend": _backend,
    "smartproxy-plain-server": _server,
    "smartproxy-plain-client": _plain_client,
}


def generation(answer: Answer) -> str:
    """The generation in force."""
    return listing({"generation": _generation(answer)})


def _generation(answer: Answer) -> str:
    if answer["generation"] is None:
        return "none"
    return f"{answer['generation']} since {answer['generation_since']}, from {answer['generation_from']}"


def licence(answer: Answer) -> str:
    """The licences, one paragraph each."""
    return "\n\n".join(listing(_licence(each)) for each in answer["licences"]) or "no licence"


def _licence(each: Answer) -> dict[str, object]:
    if "refused" in each:
        return {"Proxy ID": each["proxy_id"], "refused": each["refused"]}
    limits = ", ".join(f"{name} {value}" for name, value in each["limits"].items())
    return {
        "Proxy ID": each["proxy_id"],
        "site": each["site"],
        "valid from": each["valid_from"],
        "valid until": f"{each['valid_until']} ({_days_left(each['days_left'])})",
        "in force": "yes" if each["in_force"] else "NO",
        "limits": limits or "none",
    }


def _days_left(days: int) -> str:
    if days < 0:
        return "ended"
    return "1 day left" if days == 1 else f"{days} days left"


def levels(answer: Answer) -> str:
    """What is logged."""
    return listing({"everything" if name == "*" else name: level for name, level in answer["levels"].items()})


def draining(answer: Answer) -> str:
    """That the end has begun."""
    return f"it ends; {answer['sessions']} sessions may go on until then"


def killed(answer: Answer) -> str:
    """That a session was ended."""
    return f"{answer['killed']} was told ESID 05"


class SessionsTable:
    """The table of sessions; rates are those since the look before, or since the session began.

    :param wide: show all columns.
    """

    def __init__(self, *, wide: bool) -> None:
        self._wide = wide
        self._before: dict[str, Answer] = {}

    def show(self, answer: Answer) -> str:
        """The table."""
        found: Sequence[Answer] = answer["sessions"]
        rows = [self._row(session) for session in found]
        heads = _WIDE if self._wide else _NARROW
        self._before = {session["session"]: session for session in found}
        return table(heads, [[row[head] for head in heads] for row in rows], "no session is live")

    def _row(self, session: Answer) -> dict[str, object]:
        file, agreed = session["file"], session["agreed"] or {}
        options = [name for name in ("compression", "restart", "authentication") if agreed.get(name)]
        row: dict[str, object] = {
            "dir": "in" if session["direction"] == "inbound" else "out",
            "level": Level(agreed["level"]).label if agreed else None,
            "buffer": agreed.get("buffer_size"),
            "credit": agreed.get("credit"),
            "options": ",".join(options),
            "file": None if file is None else f"{file['dataset']} {'>' if file['link'] == 'in' else '<'}",
            "file octets": None if file is None else octets(file["octets"]),
            "octets in": octets(session["octets_in"]),
            "octets out": octets(session["octets_out"]),
            "rate in": f"{octets(self._rate(session, 'in'))}/s",
            "rate out": f"{octets(self._rate(session, 'out'))}/s",
            "files in": session["files_in"],
            "files out": session["files_out"],
            "age": span(session["seconds"]),
        }
        for name in ("session", "partner", "code", "peer", "phase", "speaker", "profile", "tls", "client", "since"):
            row[name] = session.get(name)
        return {name: "-" if value is None or value == "" else value for name, value in row.items()}

    def _rate(self, session: Answer, link: str) -> int:
        rate: int
        before = self._before.get(session["session"])
        if before is None or session["seconds"] <= before["seconds"]:
            rate = session[f"rate_{link}"]
            return rate
        octets_before: int = before[f"octets_{link}"]
        seconds: float = session["seconds"] - before["seconds"]
        rate = round((session[f"octets_{link}"] - octets_before) / seconds)
        return rate


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
