"""``twistd smartproxy-server`` and its switches.

NAME
    smartproxy-server - the daemon in the DMZ

SYNOPSIS
    twistd [twistd's options] smartproxy-server [-i [ip:]port] [-l FILE] [--state-dir DIR] | -L | -V

SECURITY
    Reads its identity key, its licence and nothing else. Without a good licence it does not start.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from twisted.application.service import IService

from smartproxy.policy.licence import Licence, LicenceRefused
from smartproxy.policy.places import IDENTITY_KEY_NAME, LICENCE_FILE, TUNNEL_PORT
from smartproxy.server import licence_file
from smartproxy.server.service import ServerService
from smartproxy.tap.addresses import listening_address
from smartproxy.tap.daemon import NOT_STARTED, DaemonOptions
from smartproxy.tap.life import Life
from smartproxy.tunnel.identity import Identity, IdentityUnusable, load_or_make


class Options(DaemonOptions):
    """The switches of smartproxy-server."""

    program = "smartproxy-server"
    synopsis = "[twistd options] smartproxy-server [options]"
    longdesc = (
        "Ends partners' TLS in the DMZ and lets judged OFTP2 pass to the smartproxy-client that dialled in. "
        "Everything it has to know is brought by the client; the licence is the only file an operator carries here."
    )

    optParameters = [
        ["listen", "i", str(TUNNEL_PORT), "await the client at [ip:]port"],
        ["licence", "l", LICENCE_FILE, "licence file"],
    ]
    optFlags = [
        ["proxy-id", "L", "print this machine's Proxy ID, which a licence is issued for, and exit"],
        [
            "validity",
            "V",
            "print how long the licence is valid and exit with 0, or say what is wrong with it and exit with 1",
        ],
    ]

    def postOptions(self) -> None:
        """Judge the switches, load the identity and the licence; carry out ``-L`` and ``-V``."""
        super().postOptions()
        self.address = self.judged("--listen", listening_address, self["listen"])
        try:
            self.identity: Identity = load_or_make(self.state_directory / IDENTITY_KEY_NAME)
        except IdentityUnusable as error:
            self.end(NOT_STARTED, str(error))
        if self["proxy-id"]:
            sys.stdout.write(f"{self.identity.proxy_id}\n")
            raise SystemExit(0)
        self.licence_path = Path(self["licence"]).absolute()
        try:
            self.licence: Licence = licence_file.load(self.licence_path, self.identity.proxy_id, datetime.now(UTC))
        except LicenceRefused as refused:
            self._unlicensed(refused)
        if self["validity"]:
            sys.stdout.write(
                f"licensed to {self.licence.site} from {self.licence.valid_from:%Y-%m-%d %H:%M} UTC "
                f"until {self.licence.valid_until:%Y-%m-%d %H:%M} UTC\n"
            )
            raise SystemExit(0)

    def _unlicensed(self, refused: LicenceRefused) -> NoReturn:
        sys.stderr.write(
            f"{self.program}: the licence {self.licence_path} is not good: {refused}\n"
            f"Have one issued for this machine's Proxy ID:\n  {self.identity.proxy_id}\n"
        )
        raise SystemExit(NOT_STARTED)


def makeService(options: Options) -> IService:
    """The daemon, constructed but not started."""
    from twisted.internet import reactor

    service = ServerService(
        reactor,
        identity=options.identity,
        licence=options.licence,
        licence_path=options.licence_path,
        host=options.address.host,
        port=options.address.port,
        drain=options.drain,
        set_level=options.set_level,
    )
    return Life(reactor, service, options.signals, tuple(options.notices))
