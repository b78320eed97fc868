"""What the daemons at either end of a tunnel have in common to tell ``smartproxy ctl``.

Used by both pairs. Reads only.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from smartproxy import __version__
from smartproxy.ctl.statuses import TunnelOfClient, TunnelToServer
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault
from smartproxy.policy.licence import Licence
from smartproxy.tunnel.client import ClientTunnel
from smartproxy.tunnel.server_control import ServerControl


def load_facts(live: int, most: int | None) -> dict[str, Any]:
    """The sessions, of those that may be, of a daemon of this version."""
    return {
        "version": __version__,
        "sessions": live,
        "sessions_most": most,
        "load": None if most is None else round(100 * live / most, 1),
    }


def outside_facts(
    licence: Licence,
    *,
    internal: HostPort | None,
    open_at: Iterable[HostPort],
    missing: Iterable[Any],
    controls: Sequence[ServerControl],
) -> dict[str, Any]:
    """The licence, the ports and the tunnels of a server."""
    return {
        "site": licence.site,
        "proxy_id": licence.proxy_id,
        "licence_until": licence.valid_until,
        "internal_listener": None if internal is None else str(internal),
        "external_listeners": tuple(map(str, open_at)),
        "external_listeners_missing": tuple(str(HostPort(each.address, each.port)) for each in missing),
        "tunnels": tuple(
            TunnelOfClient(
                client=control.client_name,
                peer=control.peer,
                version=control.version,
                since=control.since,
                sessions=control.load,
                certificate_until=control.client.not_after,
            )
            for control in controls
        ),
    }


def licence_remedy(fault: OwnFault, remedy: str) -> str:
    """What to do about a licence that is not in force.

    :param remedy: what is to be done where it has ended.
    """
    return "check this machine's clock" if fault.rule is Cause.LICENCE_NOT_YET_VALID else remedy


def tunnel_told(tunnel: ClientTunnel) -> TunnelToServer:
    """A tunnel of a client."""
    control = tunnel.control
    if control is None:
        return TunnelToServer(server=tunnel.server)
    return TunnelToServer(
        server=tunnel.server,
        up=True,
        peer=control.peer,
        version=control.version,
        since=control.since,
        proxy_id=control.proxy_id,
        generation=control.held.number,
        data_connections=len(tunnel.lane),
    )
