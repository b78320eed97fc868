"""How a live session is, for an operator who looks.

Made from what the session knows anyway, at the moment of the look: no octet costs anything for it. Holds no octet of a
peer but names: the SSIDCODE, and those of the Virtual File under way.
"""

from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.monitor import Monitor
from smartproxy.relay.files import stamp
from smartproxy.relay.openings import Opening
from smartproxy.relay.stage import Stage
from smartproxy.relay.summary import agreed_facts


def portray(session: str, opening: Opening, monitor: Monitor, stage: Stage, ssid: SSID | None) -> dict[str, object]:
    """The facts of a live session.

    :param ssid: the Initiator's, once it is in.
    """
    came, went = monitor.counters[opening.partner], monitor.counters[opening.partner.other]
    return {
        "session": session,
        "partner": opening.facts.get("partner"),
        "peer": opening.facts.get("peer"),
        "code": None if ssid is None else ssid.code,
        "direction": opening.direction,
        "profile": opening.facts.get("profile"),
        "tls": opening.facts.get("tls"),
        "phase": monitor.phase.value if stage is Stage.RELAYING else stage.value,
        "speaker": None if monitor.speaker is None else opening.side(monitor.speaker),
        "agreed": None if monitor.agreed is None else agreed_facts(monitor.agreed),
        "file": _file(opening, monitor),
        "octets_in": came.octets,
        "octets_out": went.octets,
        "files_in": came.files,
        "files_out": went.files,
    }


def _file(opening: Opening, monitor: Monitor) -> dict[str, object] | None:
    """The Virtual File under way."""
    transfer = monitor.transfer
    if transfer is None:
        return None
    return {
        "dataset": transfer.dataset_name,
        "stamp": stamp(transfer.date, transfer.time),
        "link": "in" if transfer.sender is opening.partner else "out",
        "originator": transfer.originator,
        "destination": transfer.destination,
        "octets": transfer.octets,
    }
