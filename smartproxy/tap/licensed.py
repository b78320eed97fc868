"""Switches of every daemon that runs by a licence: its identity, its licence, and what they say of themselves."""

import sys
from pathlib import Path
from typing import NoReturn

from smartproxy.policy.licence import Licence, LicenceRefused
from smartproxy.policy.places import IDENTITY_KEY_NAME, LICENCE_FILE
from smartproxy.policy.values import minute
from smartproxy.tap.daemon import DRAIN_SWITCH, DaemonOptions
from smartproxy.tap.launch import NOT_STARTED
from smartproxy.tunnel import licence as licence_file
from smartproxy.tunnel.identity import Identity, IdentityUnusable, load_or_make


class LicensedOptions(DaemonOptions):
    """After parsing, ``identity``, ``licence`` and ``licence_path`` are set."""

    optParameters = [
        ["licence", "l", LICENCE_FILE, "licence file"],
        DRAIN_SWITCH,
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
        """Load the identity and the licence; carry out ``-L`` and ``-V``."""
        super().postOptions()
        try:
            self.identity: Identity = load_or_make(self.state_directory / IDENTITY_KEY_NAME)
        except IdentityUnusable as error:
            self.end(NOT_STARTED, str(error))
        if self["proxy-id"]:
            if self.identity.made:
                self.warn(f"a new key was made: {self.state_directory / IDENTITY_KEY_NAME}; this is its Proxy ID")
            self.answer(self.identity.proxy_id)
        self.licence_path = Path(self["licence"]).absolute()
        try:
            self.licence: Licence = licence_file.load(self.licence_path, self.identity.proxy_id, self.now())
        except LicenceRefused as refused:
            self._unlicensed(refused)
        if self["validity"]:
            self.answer(
                f"licensed to {self.licence.site} from {minute(self.licence.valid_from)} "
                f"until {minute(self.licence.valid_until)}"
            )

    def _unlicensed(self, refused: LicenceRefused) -> NoReturn:
        self.warn(f"the licence {self.licence_path} is refused: {refused}")
        sys.stderr.write(f"Have one issued for this machine's Proxy ID:\n  {self.identity.proxy_id}\n")
        raise SystemExit(NOT_STARTED)
