"""``smartproxy nodes``: the machines of the site, as far as the store knows of them."""

from typing import TYPE_CHECKING

from smartproxy.tap.commands.arguments import Subparsers, action
from smartproxy.tap.commands.console import Console, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.nodes import ClientNode, ServerNode
    from smartproxy.policy.loads import ToldLoad

_THOUSAND = 1000


def register(subparsers: Subparsers) -> None:
    """Declare the command."""
    action(
        subparsers,
        "nodes",
        "List servers, clients and backends: version, load, when each was seen last, tunnels, licences, and how far "
        "clocks differ from the backend's.",
        run,
        "  smartproxy nodes\n  smartproxy nodes --json",
    )


def run(console: Console) -> None:
    """List the machines."""
    from smartproxy.backend.operations import nodes as operations
    from smartproxy.backend.operations.shapes import Nothing
    from smartproxy.policy.schema import write_object

    found = console.call(operations.listed, Nothing())
    blocks = [
        table(
            ("SERVER", "VERSION", "LOAD", "SEEN", "TUNNELS", "LICENCE UNTIL", "SERVER HAS UNTIL"),
            [
                (
                    f"{each.proxy_id[:12]}...",
                    each.version or "-",
                    _load(each.load),
                    when(each.last_seen, "never"),
                    _tunnels(each),
                    when(each.licence_until, "none"),
                    when(each.reported_until),
                )
                for each in found.servers
            ],
            "no server is known: smartproxy licence issue PROXY-ID",
        ),
        table(
            ("CLIENT", "VERSION", "ADDRESS", "SEEN", "STATE", "LOAD", "SESSIONS IN 1 H", "CLOCK"),
            [
                (
                    each.name,
                    each.version or "-",
                    each.address or "-",
                    when(each.last_seen, "never"),
                    _state(each),
                    _load(each.load),
                    each.sessions,
                    _clock(each.clock_difference),
                )
                for each in found.clients
            ],
            "no client is known: smartproxy client add NAME",
        ),
        table(
            ("BACKEND", "VERSION", "LOAD", "STARTED", "DATABASE", "GENERATION"),
            [
                (
                    each.address or "-",
                    each.version,
                    _load(each.load),
                    when(each.started),
                    found.database,
                    found.generation,
                )
                for each in found.backends
            ],
            "no backend was started yet",
        ),
    ]
    console.answer(write_object(found), "\n\n".join(blocks))


def _load(load: "ToldLoad | None") -> str:
    """How busy it is: sessions, processor and memory, as far as it told."""
    if load is None:
        return "-"
    told = []
    if load.sessions is not None:
        most = "" if load.sessions_most is None else f" of {load.sessions_most}"
        told.append(f"sessions {load.sessions}{most}")
    told += [] if load.cpu is None else [f"CPU {load.cpu} %"]
    told += [] if load.memory is None else [f"{load.memory} MiB"]
    return ", ".join(told) or "-"


def _tunnels(server: "ServerNode") -> str:
    """The state of each; of one whose client does not call, it is not known."""
    told = [
        f"{each.client} not known"
        if each.up is None
        else f"{each.client} {'up' if each.up else 'down'} since {when(each.since)}"
        for each in server.tunnels
    ]
    return "; ".join(told) or "none"


def _state(client: "ClientNode") -> str:
    if not client.enabled:
        return "disabled"
    return "calls" if client.calls else "silent"


def _clock(difference: int | None) -> str:
    """How far a clock is behind or ahead; what arrives late looks like a clock that is behind."""
    if difference is None:
        return "-"
    return f"{abs(difference) / _THOUSAND:.1f} s {'behind' if difference >= 0 else 'ahead'}"
