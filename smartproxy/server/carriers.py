"""Which client carries which session, whichever process of the server has it."""

from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred, fail

from smartproxy.net.leg import ILeg, Why
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault, PartnerUnreachable, Step, TunnelLost
from smartproxy.relay.openings import SessionFacts
from smartproxy.tunnel.dmz import NO_CLIENT
from smartproxy.tunnel.server import ServerTunnel
from smartproxy.tunnel.server_control import ServerControl


class Carriers:
    """The sessions that are carried or opened.

    :param unable: why no session can begin, if none can.
    :param elsewhere: whether workers have the data connections, and the clients' loads are counted here.
    :ivar seconds: how long the opening of a session may take.
    """

    def __init__(
        self,
        tunnel: ServerTunnel,
        unable: Callable[[], OwnFault | None],
        seconds: Callable[[], int],
        *,
        elsewhere: bool,
    ) -> None:
        self.seconds = seconds
        self._tunnel = tunnel
        self._unable = unable
        self._elsewhere = elsewhere
        self._carrying: dict[str, ServerControl] = {}

    def of(self, session: str) -> ServerControl | None:
        """The client that carries a session; ``None`` before it is known."""
        return self._carrying.get(session)

    def opening(self, live: Mapping[str, object]) -> bool:
        """Whether something is carried that is no session yet, such as a call.

        :param live: the sessions.
        """
        return not self._carrying.keys() <= live.keys()

    def assign(self, session: str) -> ServerControl:
        """The client that carries a session from now on: the one with the fewest.

        :raises OwnFault: if none can.
        """
        fault = self._unable()
        if fault is not None:
            raise fault
        control = self._tunnel.least_loaded()
        if control is None:
            raise TunnelLost(rule=Cause.TUNNEL_NONE, message=NO_CLIENT)
        self._carry(session, control)
        return control

    def open_inside(self, session: str, facts: SessionFacts, why: Why) -> Deferred[ILeg]:
        """Assign a session to a client, and have that open it; see :meth:`ServerControl.open_inbound`."""
        try:
            control = self.assign(session)
        except OwnFault as fault:
            return fail(fault)
        return control.open_inbound(session, facts, seconds=self.seconds(), why=why)

    def begin_call(self, control: ServerControl, session: str) -> None:
        """A client wants a partner called, for a session that it carries.

        :raises SessionFault: if that cannot be.
        """
        fault = self._unable()
        if fault is not None:
            raise fault
        if session in self._carrying:
            message = "a session with this id is open already"
            raise PartnerUnreachable.at(Step.POLICY, message, Cause.SESSION_OPEN)
        self._carry(session, control)

    def over(self, session: str) -> None:
        """A session is over, or what was to become one."""
        control = self._carrying.pop(session, None)
        if control is not None:
            control.elsewhere.discard(session)

    def gone(self, control: ServerControl) -> None:
        """A client is gone, and carries nothing any more."""
        for session, carrier in list(self._carrying.items()):
            if carrier is control:
                self.over(session)

    def _carry(self, session: str, control: ServerControl) -> None:
        self._carrying[session] = control
        if self._elsewhere:
            control.elsewhere.add(session)
