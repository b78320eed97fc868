"""The client's copy of what the backend gave it, for a start while the backend cannot be reached.

Duty: keep the generation in force, the licences and the tunnel credential in one file of the state folder, and give
them back. The file is encrypted and authenticated (AES-256-GCM, RFC 5116) under a key that is derived from the client's
token (HKDF, RFC 5869): without the token it says nothing, and nobody can make another one. It is mode 0600 and replaced
as a whole. Whoever may write to the folder can put an older copy of the same client back; its age and the end of its
certificate bound what that is worth, and a certificate that was withdrawn is worth nothing at a server. Work on the
disk is done in a thread. Never logs what it holds.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from twisted.internet.defer import Deferred, DeferredLock, TimeoutError, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.client.token import TokenInForce
from smartproxy.logs.emit import Events
from smartproxy.net import files
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.decoding import first_certificate_in
from smartproxy.policy.configuration import Configuration, dump, parse
from smartproxy.policy.limits import CLOCK_TOLERANCE_SECONDS, DOCUMENT_WHOLE_OCTETS_MOST, LICENCE_OCTETS_MOST
from smartproxy.policy.strict_json import DocumentRefused, read
from smartproxy.policy.values import Instant
from smartproxy.tunnel.credential import ClientCredential

NAME: Final = "configuration.copy"
_MAGIC: Final = b"smartproxy-copy 1\n"
_SALT_OCTETS, _NONCE_OCTETS = 16, 12
_HEAD_OCTETS_MOST: Final = 64 * LICENCE_OCTETS_MOST
_FILE_OCTETS_MOST: Final = DOCUMENT_WHOLE_OCTETS_MOST + _HEAD_OCTETS_MOST + 1024

InThread = Callable[[Callable[[], None]], Deferred[None]]
"""Runs work in a thread; in tests, at once."""


@attrs.frozen(kw_only=True)
class Kept:
    """What the client needs to serve without the backend.

    :ivar saved: when, aware, in UTC.
    :ivar url: the backend that it is from.
    :ivar etag: what the backend knows the generation by; ``None`` in a copy of a version that did not keep it.
    """

    saved: datetime
    url: str
    etag: str | None
    credential: ClientCredential
    configuration: Configuration
    licences: Mapping[str, str]

    @property
    def until(self) -> datetime:
        """The end of its use: that of its certificate, or of its age."""
        leaf = first_certificate_in(self.credential.certificate)
        oldest = self.saved + timedelta(hours=self.configuration.client.copy_hours)
        return min(leaf.not_valid_after_utc, oldest)


@attrs.frozen(kw_only=True)
class CopyRefused(Exception):
    """The copy cannot be used: why."""

    cause: Cause
    message: str

    def __str__(self) -> str:
        return self.message


class CopyFile:
    """Keeps the last configuration that was accepted, encrypted, so that the client starts without the backend.

    :param token: the client's token; what is in the file is worth something with it only. With a new token, the file
        is written anew.
    :param url: the backend; a copy of another one is refused.
    :param events: where it is told that the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        token: TokenInForce,
        url: str,
        events: Events,
        *,
        in_thread: InThread = lambda work: maybeDeferred(work),
    ) -> None:
        self._path = path
        self._token = token
        self._url = url
        self._events = events
        self._in_thread = in_thread
        self._lock = DeferredLock()
        self._kept: Kept | None = None
        token.follow(self._seal)

    def keep(
        self,
        saved: datetime,
        credential: ClientCredential,
        configuration: Configuration,
        licences: Mapping[str, str],
        etag: str | None,
    ) -> None:
        """Replace the copy soon; remove it if the configuration wants none."""
        if not configuration.client.copy_hours:
            self.forget()
            return
        self._kept = Kept(
            saved=saved,
            url=self._url,
            etag=etag,
            credential=credential,
            configuration=configuration,
            licences=licences,
        )
        self._seal()

    def _seal(self) -> None:
        """Write the copy for the token in force: with that alone it is opened after a restart."""
        if (kept := self._kept) is not None:
            self._do(lambda: files.replace(self._path, self._sealed(kept), private=True))

    def forget(self) -> None:
        """Remove the copy soon."""
        self._kept = None
        self._do(lambda: self._path.unlink(missing_ok=True))

    def settled(self, seconds: float, clock: IReactorTime) -> Deferred[None]:
        """Fires when what was begun is done, or after so many seconds: a disk may hang."""
        done: Deferred[None] = self._lock.run(lambda: None)
        return done.addTimeout(seconds, clock).addErrback(_late)

    def _do(self, work: Callable[[], None]) -> None:
        self._lock.run(self._in_thread, work).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, OSError):
            self._events.failure("smartproxy.client.copy", failure)
            return
        self._events.emit(
            "copy.write_failed",
            cause=Cause.COPY_UNWRITABLE,
            message=f"the copy cannot be written: {error.strerror or type(error).__name__}",
            path=str(self._path),
            advice="let the client write to its state folder: without a copy, it needs the backend to restart",
        )

    def use(self, now: datetime) -> Kept | None:
        """What was kept, to be used from now on, which is told; nothing if there is nothing that can be used."""
        try:
            kept = self.load(now)
        except CopyRefused as refused:
            advice = "the client waits for the backend"
            self._events.emit(
                "copy.refused", cause=refused.cause, message=refused.message, path=str(self._path), advice=advice
            )
            return None
        if kept is not None:
            self._events.emit(
                "copy.used",
                generation=kept.configuration.generation,
                store=kept.configuration.store,
                path=str(self._path),
                age=(now - kept.saved).total_seconds(),
                seconds=(kept.until - now).total_seconds(),
                advice="see that the backend runs: changes and new certificates come from it alone",
            )
        return kept

    def load(self, now: datetime) -> Kept | None:
        """What was kept; nothing if there is no file.

        :raises CopyRefused: if it cannot be used.
        """
        try:
            octets = self._octets()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CopyRefused(
                cause=Cause.COPY_UNREADABLE,
                message=f"the copy cannot be read: {error.strerror or type(error).__name__}",
            ) from None
        try:
            kept = _opened(self._token.text, octets)
            until = kept.until
        except (ValueError, LookupError, TypeError, ArithmeticError, InvalidTag, DocumentRefused):
            raise CopyRefused(
                cause=Cause.COPY_UNREADABLE,
                message="the copy is damaged, of another token, or of another version of SmartProxy",
            ) from None
        if kept.url != self._url:
            raise CopyRefused(cause=Cause.COPY_UNREADABLE, message="the copy is from another backend")
        if not kept.saved <= now + timedelta(seconds=CLOCK_TOLERANCE_SECONDS) or now > until:
            raise CopyRefused(
                cause=Cause.COPY_OLD,
                message=f"the copy is of {Instant().write(kept.saved)} and may be used until {Instant().write(until)}",
            )
        return kept

    def _octets(self) -> bytes:
        with files.open_plain(self._path) as file:
            return file.read(_FILE_OCTETS_MOST)

    def _sealed(self, kept: Kept) -> bytes:
        salt, nonce = secrets.token_bytes(_SALT_OCTETS), secrets.token_bytes(_NONCE_OCTETS)
        head: dict[str, Any] = {
            "saved": Instant().write(kept.saved),
            "url": kept.url,
            "certificate": kept.credential.certificate,
            "key": kept.credential.key,
            "licences": [[proxy_id, text] for proxy_id, text in kept.licences.items()],
        }
        if kept.etag is not None:
            head["etag"] = kept.etag
        plain = json.dumps(head).encode("ascii") + b"\n" + dump(kept.configuration)
        return _MAGIC + salt + nonce + AESGCM(_key(self._token.text, salt)).encrypt(nonce, plain, _MAGIC)


def _late(failure: Failure) -> None:
    failure.trap(TimeoutError)


def _key(token: str, salt: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=b"smartproxy-client copy").derive(
        token.encode("ascii")
    )


def _opened(token: str, octets: bytes) -> Kept:
    """What is sealed in a file; raises where it is not what :meth:`CopyFile._sealed` makes."""
    if not octets.startswith(_MAGIC):
        raise ValueError
    salt, rest = octets[len(_MAGIC) :][:_SALT_OCTETS], octets[len(_MAGIC) + _SALT_OCTETS :]
    plain = AESGCM(_key(token, salt)).decrypt(rest[:_NONCE_OCTETS], rest[_NONCE_OCTETS:], _MAGIC)
    line, _, document = plain.partition(b"\n")
    head: Any = read(line, octets_most=_HEAD_OCTETS_MOST)
    return Kept(
        saved=Instant().read(head["saved"], "saved"),
        url=head["url"],
        etag=head.get("etag"),
        credential=ClientCredential(certificate=head["certificate"], key=head["key"]),
        configuration=parse(document),
        licences=dict(head["licences"]),
    )
