"""The data connections of all workers of a client to one server, as the supervisor sees them.

Duty: tell every worker, and each that begins, where the server is, what is shown to it, and whether its tunnel is up.
The connections themselves are the workers' (:class:`~smartproxy.tunnel.lane.DataLane`).
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from typing_extensions import override

from smartproxy.client.words import KnowServer, ServerWorkers, TunnelIsDown, TunnelIsUp
from smartproxy.policy.causes import Cause
from smartproxy.policy.settings import Pool
from smartproxy.tunnel.bond import Bond
from smartproxy.tunnel.credential import ClientCredential
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.lane import Lane
from smartproxy.workers.members import CrewMember


class CrewLane(Lane):
    """The data connections of all workers to one server; see :class:`~smartproxy.tunnel.lane.Lane`.

    :param tell: tells all workers, given a command and its arguments.
    :param ready: how many data connections each worker keeps ready.
    :param keeps: whether workers keep any; one that does not learns with its session which of the server's it is for.
    :ivar pool: what is configured.
    :ivar count: how many data connections there were when somebody looked.
    """

    def __init__(
        self,
        number: int,
        host: str,
        port: int,
        pool: Pool,
        *,
        tell: Callable[..., object],
        ready: Callable[[Pool], int],
        keeps: bool = True,
    ) -> None:
        self.pool = pool
        self.count = 0
        self.number = number
        self._tell = tell
        self._ready = ready
        self._keeps = keeps
        self._host = host
        self._port = port
        self._shown: dict[str, object] = {}
        self._bond: Bond | None = None
        self._up = False
        self._workers: Sequence[int] = ()

    def __len__(self) -> int:
        """How many there were when the house was looked at."""
        return self.count

    @override
    def renew(self, credential: ClientCredential, proxy_ids: Collection[str]) -> None:
        shown: dict[str, object] = {
            "certificate": credential.certificate.encode("ascii"),
            "key": credential.key.encode("ascii"),
            "proxy_ids": " ".join(sorted(proxy_ids)),
        }
        if self._shown != shown:
            self._shown, self._bond = shown, None
        self.bring_all()

    def bring_all(self) -> None:
        """Tell all workers what is so now."""
        if self._shown:
            self._tell(KnowServer, **self._known())

    @override
    def bind(self, bond: Bond | None) -> None:
        """Workers are told of it as soon as the tunnel is up."""
        self._bond = bond
        if self._up:
            self.start()

    @override
    def start(self) -> None:
        self._up = True
        self._tell(TunnelIsUp, server=self.number, bond=self._bond)

    @override
    def serve(self, workers: Sequence[int]) -> None:
        self._workers = workers
        if self._keeps:
            self._tell(ServerWorkers, server=self.number, workers=workers)

    @override
    def stop(self, why: Closing) -> None:
        self._up, self._workers, self._bond = False, (), None
        self._tell(TunnelIsDown, server=self.number, cause=why.cause, message=why.message)

    async def bring(self, member: CrewMember, *, knows: bool) -> None:
        """Tell a worker that has just begun.

        :param knows: whether it was born with where the server is.
        """
        if not self._shown:
            return
        if not knows:
            await member.link.ask(KnowServer, **self._known())
        if not self._up:
            await member.link.ask(TunnelIsDown, server=self.number, cause=Cause.TUNNEL_LOST, message="not up yet")
            return
        await member.link.ask(TunnelIsUp, server=self.number, bond=self._bond)
        if self._workers and self._keeps:
            await member.link.ask(ServerWorkers, server=self.number, workers=self._workers)

    def _known(self) -> dict[str, Any]:
        ready = self._ready(self.pool)
        where = {"server": self.number, "host": self._host, "port": self._port}
        return {**where, "ready": ready, "most": self.pool.most, **self._shown}
