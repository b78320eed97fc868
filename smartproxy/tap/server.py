"""``twistd smartproxy-server`` and its switches.

NAME
    smartproxy-server - the daemon in the DMZ

SYNOPSIS
    twistd [twistd's options] smartproxy-server [-i [ip:]port] [-l FILE] [--workers N]
        [--process-per-session] [--state-dir DIR] | -L | -V

SECURITY
    Reads its identity key, its licence and nothing else. Without a good licence it does not start.
"""

from functools import partial
from typing import Any

from twisted.application.service import IService

from smartproxy.policy.addresses import listening_address
from smartproxy.policy.places import TUNNEL_PORT
from smartproxy.server.condition import ServerCondition
from smartproxy.server.rehearsal import ServerPlay
from smartproxy.server.service import ServerService
from smartproxy.server.words import ServerLink
from smartproxy.server.worker import ServerCraft
from smartproxy.tap.daemon import ONE_EACH_SWITCH, WORKERS_SWITCH, workers_wanted
from smartproxy.tap.licensed import LicensedOptions
from smartproxy.tap.life import SWITCH, daemon_reactor, life_of
from smartproxy.workers.scene import rehearse
from smartproxy.workers.spawning import Unborn, Zygote
from smartproxy.workers.worker import Worker


class ServerSwitches(LicensedOptions):
    """The switches of smartproxy-server."""

    program = "smartproxy-server"
    synopsis = "[twistd options] smartproxy-server [options]"
    longdesc = (
        "Terminates partners' TLS in the DMZ and relays the OFTP2 that it checked to smartproxy-client, which dialled "
        "in. The client delivers the whole configuration; the licence is the only file that an operator brings here."
    )

    optParameters = [
        ["listen", "i", str(TUNNEL_PORT), "listen for clients at [ip:]port"],
        SWITCH,
        WORKERS_SWITCH,
    ]

    optFlags = [ONE_EACH_SWITCH]

    def postOptions(self) -> None:
        """Judge the switches."""
        super().postOptions()
        self.single = bool(self["process-per-session"])
        self.workers = self.judged("--workers", partial(workers_wanted, one_each=self.single), self["workers"])
        self.address = self.judged("--listen", listening_address, self["listen"])


Options = ServerSwitches
"""The name under which twistd looks for the switches."""


def makeService(options: ServerSwitches) -> IService:
    """The daemon, constructed but not started."""
    reactor = daemon_reactor()
    zygote = None
    if options.workers:
        identity, authority = options.identity, options.licence.authority_certificate

        def craft(worker: Worker) -> ServerCraft:
            return ServerCraft(worker, identity, authority)

        def unborn(reactor: Any) -> Unborn:
            return Worker(reactor, options.log, source="server", kind=ServerLink, craft=craft).unborn()

        play = partial(rehearse, ServerPlay) if options.single else None
        zygote = Zygote(unborn, "smartproxy-srv", rehearse=play)
    service = ServerService(
        reactor,
        identity=options.identity,
        licence=options.licence,
        licence_path=options.licence_path,
        host=options.address.host,
        port=options.address.port,
        drain=options.drain,
        set_level=options.set_level,
        stop=options.signals.drain,
        zygote=zygote,
        workers=options.workers,
        single=options.single,
    )
    look = None if service.crew is None else service.crew.look
    condition = ServerCondition(reactor, service)
    return life_of(reactor, service, condition, options, look, hands_over=service, zygote=zygote)
