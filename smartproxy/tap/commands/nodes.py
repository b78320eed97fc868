"""``smartproxy nodes``: the machines of the site, as far as the store knows of them."""

from typing import TYPE_CHECKING

from smartproxy.tap.commands.arguments import Subparsers, action
from smartproxy.tap.commands.console import Console, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.nodes import ClientNode, ServerNode

_THOUSAND = 1000


def register(subparsers: Subparsers) -> None:
    """Declare the command."""
    action(
        subparsers,
        "nodes",
        "List servers, clients and backends: version, when each was seen last, tunnels, licences, and how far clocks "
        "differ from the backend's.",
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
            ("SERVER", "VERSION", "SEEN", "TUNNELS", "LICENCE UNTIL", "SERVER HAS UNTIL"),
            [
                (
                    f"{each.proxy_id[:12]}...",
                    each.version or "-",
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
            ("CLIENT", "VERSION", "ADDRESS", "SEEN", "STATE", "SESSIONS IN 1 H", "CLOCK"),
            [
                (
                    each.name,
                    each.version or "-",
                    each.address or "-",
                    when(each.last_seen, "never"),
                    _state(each),
                    each.sessions,
                    _clock(each.clock_difference),
                )
                for each in found.clients
            ],
            "no client is known: smartproxy client add NAME",
        ),
        table(
            ("BACKEND", "VERSION", "STARTED", "DATABASE", "GENERATION"),
            [
                (each.address or "-", each.version, when(each.started), found.database, found.generation)
                for each in found.backends
            ],
            "no backend was started yet",
        ),
    ]
    console.answer(write_object(found), "\n\n".join(blocks))


def _tunnels(server: "ServerNode") -> str:
    told = [f"{each.client} {'up' if each.up else 'down'} since {when(each.since)}" for each in server.tunnels]
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
