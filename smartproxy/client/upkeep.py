"""What the client keeps asking the backend for: its tunnel certificate, and the configuration.

Duty: run two loops that go on while the backend is unreachable, however long. They report once that the backend is
unreachable and once that it is back, not at every try; one that says hello and gives nothing else is not back. A
document that is not valid is refused with its place, and the previous generation stays in force. The key for the tunnel
is made in memory, certified by the backend, and never written anywhere. Trusts the backend for the certificate, and for
the Proxy IDs that the client may speak to.
"""

from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from smartproxy import __version__
from smartproxy.client.backend import Backend, BackendRefused, BackendUnavailable, Document
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.decoding import Undecodable, first_certificate_in, subject_values
from smartproxy.policy.configuration import Configuration, ConfigurationRefused, GenerationId, parse
from smartproxy.policy.licence import LicenceRefused, read
from smartproxy.policy.limits import API_WAIT_SECONDS, CLOCK_LOOK_SECONDS, RETRY_SECONDS_FIRST, RETRY_SECONDS_MOST
from smartproxy.tunnel.credential import ClientCredential

POLL_SECONDS_LEAST = 1.0
"""The least time between two requests without news, in case a backend answers without waiting."""
RENEW_AT = 2 / 3
"""The part of a certificate's life after which it is renewed."""
CERTIFICATE, CONFIGURATION = "certificate", "configuration"
"""The loops, by what they ask for."""


@attrs.frozen(kw_only=True)
class TunnelKey:
    """A fresh ECDSA P-256 key and the request for its certificate.

    :ivar key: PEM (PKCS#8), for memory only.
    :ivar request: PEM of the certificate signing request.
    """

    key: str = attrs.field(repr=False)
    request: str

    @classmethod
    def make(cls) -> "TunnelKey":
        """Make a key and its request; the backend chooses the subject, since it knows the client by its token."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "smartproxy-client")])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        return cls(
            key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii"),
            request=request.public_bytes(Encoding.PEM).decode("ascii"),
        )


def renewal_seconds(certificate: str, present: datetime) -> float:
    """Seconds until the first certificate in this PEM is to be renewed; 0 when that time has passed."""
    leaf = first_certificate_in(certificate)
    begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    at = begins + (ends - begins) * RENEW_AT
    return max(0.0, (at - present.astimezone(UTC)).total_seconds())


def is_withdrawn(certificate: str, licences: Mapping[str, str], present: datetime) -> bool:
    """Whether servers refuse the first certificate in this PEM, although it is valid.

    :param licences: those of the servers, by Proxy ID.
    """
    try:
        leaf = first_certificate_in(certificate)
        names = [name for name in subject_values(leaf, NameOID.COMMON_NAME) if isinstance(name, str)]
    except Undecodable:
        return False
    for proxy_id, text in licences.items():
        try:
            licence = read(text, proxy_id, present)
        except LicenceRefused:
            # No server goes by it.
            continue
        if any(licence.withdraws(name, leaf.not_valid_before_utc) for name in names):
            return True
    return False


class Availability:
    """Reports once that the backend is unreachable, and once that it is back: when it answers all loops that ask it."""

    def __init__(self, events: Events, url: str, clock: IReactorTime) -> None:
        self._events = events
        self._url = url
        self._clock = clock
        self._away_since = 0.0
        self._faults: dict[str, Exception] = {}
        self._told: dict[str, str] = {}

    @property
    def fault(self) -> Exception | None:
        """The newest of what the loops' last calls failed with; ``None`` if all succeeded."""
        return next(reversed(self._faults.values()), None)

    def away(self, loop: str, error: Exception) -> None:
        """A call of a loop failed; report it unless that was the last report of a loop."""
        if not self._faults:
            self._away_since = self._clock.seconds()
        self._faults.pop(loop, None)
        self._faults[loop] = error
        message = str(error)
        is_told = message in self._told.values()
        self._told[loop] = message
        if is_told:
            return
        if isinstance(error, BackendRefused) and error.code == Cause.API_VERSION:
            self._events.emit(
                "backend.version_refused",
                ours=__version__,
                theirs="see message",
                url=self._url,
                cause=Cause.BACKEND_VERSION,
                message=message,
            )
        else:
            cause = Cause.BACKEND_REFUSED if isinstance(error, BackendRefused) else Cause.BACKEND_UNAVAILABLE
            self._events.emit("backend.unreachable", cause=cause, message=message, url=self._url)

    def back(self, loop: str) -> bool:
        """All that a loop asks for was answered; report it, and return true, if it was the last that was not."""
        if self._faults.pop(loop, None) is None or self._faults:
            return False
        self._told.clear()
        self._events.emit("backend.reached", url=self._url, duration=self._clock.seconds() - self._away_since)
        return True


class BackendWatch:
    """Runs the two loops.

    :param certified: called with the new credential and the Proxy IDs of the servers that the client may speak to, at
        the start and after each renewal.
    :param alone: called when the backend cannot be reached before it gave a configuration, once; returns the ETag and
        the generation of what is in force by that, if there is something.
    :param reached: called when the backend answers again, with or without news.
    :param confirmed: called when the backend says, after calls failed, that the generation in force is the newest.
    :param removed: called when the backend says that this client was removed or disabled. Should it be enabled again,
        it gets another certificate, since the one before is withdrawn.
    :param configured: called with each new valid generation, with the licences that are in force with it, by Proxy ID,
        and with its ETag. Whatever it raises, the generation is refused: then it has left the one before in force.
    :ivar refused: why the newest document is refused; ``None`` if it is in force.
    :ivar unconfirmed: whether calls failed since the backend said last which generation is the newest.
    """

    def __init__(
        self,
        backend: Backend,
        clock: IReactorTime,
        events: Events,
        *,
        certified: Callable[[ClientCredential, frozenset[str]], None],
        configured: Callable[[Configuration, Mapping[str, str], str], None],
        alone: Callable[[], tuple[str, GenerationId] | None] = lambda: None,
        reached: Callable[[], None] = lambda: None,
        confirmed: Callable[[], None] = lambda: None,
        removed: Callable[[], None] = lambda: None,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._events = events
        self._certified = certified
        self._configured = configured
        self._availability = Availability(events, backend.url, clock)
        self._tell_alone: Callable[[], tuple[str, GenerationId] | None] | None = alone
        self._tell_reached = reached
        self._tell_confirmed = confirmed
        self._tell_removed = removed
        self._removed = False
        self._shown: str | None = None
        self._running: dict[str, Deferred[None]] = {}
        self._held = GenerationId()
        self._etag: str | None = None
        self.refused: str | None = None
        self.unconfirmed = False

    @property
    def fault(self) -> Exception | None:
        """What calls of the backend fail with, which it has not answered since; ``None`` if there are none."""
        return self._availability.fault

    def start(self) -> None:
        """Run both loops until :meth:`stop`."""
        self._run(CERTIFICATE, self._certificates)
        self._run(CONFIGURATION, self._configurations)

    def _run(self, name: str, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        running = Deferred.fromCoroutine(self._always(f"client.upkeep.{name}", loop))
        running.addErrback(lambda failure: failure.trap(CancelledError))
        self._running[name] = running

    async def _always(self, place: str, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a loop, which only a bug ends; it is told of, and the loop begins anew."""
        while True:
            try:
                await loop()
            except CancelledError:
                raise
            except Exception:
                self._events.failure(place, Failure())
            await self._pause(RETRY_SECONDS_MOST)

    def stop(self) -> None:
        """End both loops; a call under way is given up."""
        for running in self._running.values():
            running.cancel()
        self._running.clear()

    def _away(self, loop: str, error: Exception) -> None:
        """A call of a loop failed."""
        self._availability.away(loop, error)
        self.unconfirmed = True
        unreachable = isinstance(error, BackendUnavailable) or (
            isinstance(error, BackendRefused) and error.status >= 500
        )
        if unreachable and self._tell_alone is not None:
            tell, self._tell_alone = self._tell_alone, None
            known = tell()
            if known is not None:
                self._etag, self._held = known
        if isinstance(error, BackendRefused) and error.code == Cause.API_REMOVED and not self._removed:
            self._removed = True
            self._tell_removed()

    def _back(self, loop: str) -> None:
        """The backend gave a loop what it asks for; tell it if calls failed before, and none does now."""
        if self._availability.back(loop):
            self._tell_reached()

    def _back_with_configuration(self) -> None:
        """The backend answered the loop for the configuration; a client that was removed gets a new certificate."""
        self._back(CONFIGURATION)
        if self._removed:
            self._removed = False
            self._renew()

    def _renew(self) -> None:
        """Get another certificate at once."""
        self._running[CERTIFICATE].cancel()
        self._run(CERTIFICATE, self._certificates)

    async def _certificates(self) -> None:
        retry = RETRY_SECONDS_FIRST
        while True:
            key = TunnelKey.make()
            try:
                await self._backend.hello()
                issued = await self._backend.tunnel_certificate(key.request)
                renewal_seconds(issued.certificate, now(self._clock))
            except (BackendRefused, BackendUnavailable, ValueError) as error:
                self._away(CERTIFICATE, error)
                await self._pause(retry)
                retry = min(retry * 2, RETRY_SECONDS_MOST)
                continue
            retry = RETRY_SECONDS_FIRST
            self._back(CERTIFICATE)
            self._shown = issued.certificate
            credential = ClientCredential(certificate=issued.certificate, key=key.key)
            self._certified(credential, frozenset(issued.proxy_ids))
            await self._pause(RETRY_SECONDS_MOST)
            # In steps: the time of day may be put right meanwhile.
            while (seconds := renewal_seconds(issued.certificate, now(self._clock))) > 0:
                await self._pause(min(seconds, CLOCK_LOOK_SECONDS))

    async def _configurations(self) -> None:
        retry = RETRY_SECONDS_FIRST
        while True:
            etag = self._etag
            asked = self._clock.seconds()
            try:
                if etag is None or retry > RETRY_SECONDS_FIRST:
                    # Another backend may be there, of another version.
                    await self._backend.hello()
                # One without news would hold the request for a minute, and servers wait for its word.
                wait = 0 if self.unconfirmed else API_WAIT_SECONDS
                document = await self._backend.configuration(etag, wait)
                licences = await self._backend.licences() if document is not None else {}
            except (BackendRefused, BackendUnavailable) as error:
                self._away(CONFIGURATION, error)
                await self._pause(retry)
                retry = min(retry * 2, RETRY_SECONDS_MOST)
                continue
            retry = RETRY_SECONDS_FIRST
            self._back_with_configuration()
            if etag != self._etag:
                # A copy was put in force meanwhile: a backend that was set back learns of that by its ETag alone.
                continue
            unconfirmed, self.unconfirmed = self.unconfirmed, False
            if document is not None:
                self._etag, self._tell_alone = document.etag, None
                self._judge(document, licences)
            elif unconfirmed:
                self._tell_confirmed()
            await self._pause(
                max(0.0, POLL_SECONDS_LEAST - (self._clock.seconds() - asked)) if document is None else 0.0
            )

    def _judge(self, document: Document, licences: Mapping[str, str]) -> None:
        try:
            configuration = parse(document.octets)
            if configuration.id != self._held and not configuration.id.replaces(self._held):
                raise ConfigurationRefused(
                    where="generation",
                    cause=Cause.DOCUMENT_OLDER,
                    message=f"the number is {configuration.generation}; {self._held} of the same store is in force",
                )
            self._configured(configuration, licences, document.etag)
        except Exception as error:
            # Whatever is raised, a generation is in force as a whole or not at all, and the next one is asked for.
            refused = error if isinstance(error, ConfigurationRefused) else self._fault_of()
            self.refused = str(refused)
            self._events.emit(
                "configuration.refused",
                cause=refused.cause,
                message=refused.message,
                place=refused.where,
                previous=self._held.number,
                advice="correct it in the backend; the previous generation stays in force",
            )
            return
        self._held, self.refused = configuration.id, None
        # Disabled and enabled again while it could not ask, a client never heard that it was.
        if self._shown is not None and is_withdrawn(self._shown, licences, now(self._clock)):
            self._renew()

    def _fault_of(self) -> ConfigurationRefused:
        """The refusal of a generation that met a fault of ours, which is told of."""
        self._events.failure("smartproxy.client.upkeep", Failure())
        return ConfigurationRefused(
            where="document",
            cause=Cause.CONFIGURATION_FAULT,
            message="the client has a fault that keeps it from being put in force",
        )

    def _pause(self, seconds: float) -> Deferred[None]:
        return cast("Deferred[None]", deferLater(self._clock, seconds))
