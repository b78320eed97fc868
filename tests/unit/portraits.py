"""Portraits of live sessions as daemons write them, for tests that need any."""

from typing import Any


def portrait(session: str, **changes: object) -> dict[str, Any]:
    """A session that has just begun."""
    nothing = dict.fromkeys(("partner", "peer", "code", "profile", "tls", "speaker", "agreed", "file"))
    counts = dict.fromkeys(("octets_in", "octets_out", "files_in", "files_out"), 0)
    return {"session": session, "direction": "inbound", "phase": "idle", **nothing, **counts, **changes}


def told_session(session: str, **changes: object) -> dict[str, Any]:
    """The same as a client tells it to the backend."""
    return portrait(session, **{"since": "2026-11-20T11:59:00Z", "rate_in": 0, "rate_out": 0, **changes})


def told_file(dataset: str, octets: int, size: int | None = None) -> dict[str, Any]:
    """A Virtual File under way, which comes from the partner."""
    return {
        "dataset": dataset,
        "stamp": "20261120 1159000000",
        "link": "in",
        "originator": "O0013000001ACME",
        "destination": "O0099000002MUSTER",
        "octets": octets,
        "size": size,
    }
