"""``twistd smartproxy-backend`` and its switches.

NAME
    smartproxy-backend - the https API, the store and the site's authority

SYNOPSIS
    twistd [twistd's options] smartproxy-backend [--listen [ip:]port] [--state-dir DIR] [--database URL|FILE]
        [--ctl-socket PATH]

SECURITY
    Holds the keys of the site's authority and of the servers' certificates: run it inside, as a user of its own.
    Without a store it makes an empty one, and says on its console and in its log by which link the site is set up.
"""

from twisted.application.service import IService

from smartproxy.backend.condition import BackendCondition
from smartproxy.backend.errors import BackendError
from smartproxy.backend.first_start import loaded
from smartproxy.backend.location import Location
from smartproxy.backend.service import BackendService
from smartproxy.backend.store import Store
from smartproxy.policy.addresses import listening_address
from smartproxy.policy.places import BACKEND_PORT, DATABASE_VARIABLE
from smartproxy.tap.daemon import DaemonOptions
from smartproxy.tap.launch import NOT_STARTED
from smartproxy.tap.life import SWITCH, daemon_reactor, life_of


class BackendSwitches(DaemonOptions):
    """The switches of smartproxy-backend."""

    program = "smartproxy-backend"
    synopsis = "[twistd options] smartproxy-backend [options]"
    longdesc = (
        "Keeps configuration, certificates, licences and events, and serves them to smartproxy-client over https. "
        "The command `smartproxy` works on the same store; a change made there is in force within seconds."
    )

    optParameters = [
        ["listen", "i", f"127.0.0.1:{BACKEND_PORT}", "listen for clients, the API and the page at [ip:]port"],
        [
            "database",
            None,
            None,
            "URL of the store's database, without a password, or the path of a file with the URL "
            f"[${DATABASE_VARIABLE}; otherwise SQLite in the state folder]",
        ],
        SWITCH,
    ]

    def postOptions(self) -> None:
        """Judge the switches, and see that the store can be used, and its site's authority, or that one can be made."""
        super().postOptions()
        self.address = self.judged("--listen", listening_address, self["listen"])
        try:
            self.location = Location.of(str(self.state_directory), self["database"])
            store = Store.open(self.location, make=True)
            try:
                with store.reading() as session:
                    loaded(session)
            finally:
                store.close()
        except BackendError as error:
            self.end(NOT_STARTED, str(error))


Options = BackendSwitches
"""The name under which twistd looks for the switches."""


def makeService(options: BackendSwitches) -> IService:
    """The daemon, constructed but not started."""
    reactor = daemon_reactor()
    service = BackendService(reactor, options.location, options.address.host, options.address.port, options.log)
    condition = BackendCondition(service)
    service.condition = condition.anew
    return life_of(reactor, service, condition, options, condition.look, words=lambda: service.invitation)
