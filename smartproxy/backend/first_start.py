"""The first start: an https identity for a store that has no site yet, and the one link by which a site is set up.

Duty: make the link's token, keep no more of it than its SHA-256, in memory, and let it end after some hours or when it
has done its work; find out when the site is there, whoever made it. Trusts whoever can read the daemon's console or
log: the link is written there and nowhere else.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy.orm import Session
from twisted.internet.interfaces import IReactorTime

from smartproxy.backend import authority
from smartproxy.backend.authority import LOOPBACK_NAMES, HttpsIdentity, SiteAuthority, general_name
from smartproxy.backend.clients import new_token, same_digest, token_digest
from smartproxy.backend.errors import NotFound, Unusable
from smartproxy.backend.rounds import StoreRounds
from smartproxy.backend.store import Runner, Store
from smartproxy.logs.emit import Events
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort

PREFIX: Final = "sps_"
"""What every token of a link begins with."""
SITE_LOOK_SECONDS: Final = 0.5
"""How often the store is asked whether the site is there."""
_BROWSERS_MOST = 8
_LIFE = timedelta(days=30)
_BACKDATED = timedelta(days=1)


def reached_by(host: str) -> str:
    """The name to call a port by that listens at an address; this machine's, if it listens at all of them."""
    try:
        everywhere = not host or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        everywhere = False
    return socket.gethostname() if everywhere else host


def temporary_identity(host: str, now: datetime) -> HttpsIdentity:
    """A self-signed https identity in memory, for this name and loopback, until the site has its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SmartProxy backend, not set up yet")])
    names = []
    for each in dict.fromkeys([host, *LOOPBACK_NAMES]):
        try:
            names.append(general_name(each))
        except Unusable:
            continue
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return HttpsIdentity(certificate=certificate, key=key)


@attrs.define
class SetupLink:
    """The link by which a site is set up; it admits nobody until it is made.

    :param clock: tells when it ends.
    """

    _clock: IReactorTime
    _digest: str = attrs.field(default="", init=False)
    _ends: float = attrs.field(default=0.0, init=False)
    _browsers: list[str] = attrs.field(factory=list, init=False, repr=False)

    @property
    def open(self) -> bool:
        """Whether it can be used."""
        return self._clock.seconds() < self._ends

    def made(self, at: HostPort) -> str:
        """A new link to this port; one that was made before is worth nothing from now on."""
        token = new_token(PREFIX)
        self._digest, self._ends = token_digest(token), self._clock.seconds() + limits.SETUP_LINK_SECONDS
        self._browsers.clear()
        return f"https://{at}/setup/{token}"

    def admits(self, token: str) -> bool:
        """Whether this is its token, and it has not ended."""
        return same_digest(self._digest, token_digest(token)) and self.open

    def let_in(self, cookie: str) -> None:
        """Know a browser that showed the token by its cookie; only the newest few are known."""
        self._browsers = [*self._browsers, token_digest(cookie)][-_BROWSERS_MOST:]

    def knows(self, cookie: str) -> bool:
        """Whether a browser showed the token, and the link has not ended."""
        return self.open and token_digest(cookie) in self._browsers

    def close(self) -> None:
        """It has done its work."""
        self._ends = 0.0


def words(link: str, identity: HttpsIdentity) -> Sequence[str]:
    """What the console and the log say of a link."""
    return (
        f"open this link within {limits.SETUP_LINK_SECONDS // 3600:.0f} hours to set the site up: {link}",
        f"the browser will ask about the certificate; its SHA-256 fingerprint is {identity.fingerprint}",
    )


class AwaitedSite(StoreRounds):
    """Looks for a site in a store that has none, between :meth:`start` and :meth:`stop`, or until it is there.

    :param found: told of it, once.
    """

    busy_seconds = fault_seconds = SITE_LOOK_SECONDS

    def __init__(
        self,
        store: Store,
        runner: Runner,
        events: Events,
        clock: IReactorTime,
        found: Callable[[SiteAuthority], None],
    ) -> None:
        super().__init__(store, runner, events, clock)
        self._found = found

    async def look(self) -> float:
        """Tell of the site where there is one."""
        site = await self._runner.run(self._load)
        if site is not None and self._rounds.running:
            self._rounds.stop()
            self._found(site)
        return SITE_LOOK_SECONDS

    def _load(self) -> SiteAuthority | None:
        with self._store.reading() as session:
            return loaded(session)


def loaded(session: Session) -> SiteAuthority | None:
    """The site's authority, if there is a site."""
    try:
        return authority.load(session)
    except NotFound:
        return None
