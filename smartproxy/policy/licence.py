"""The licence: a short document that names the server that may run, until when, and the authority that it accepts.

Duty: sign a licence with the site's authority key, and judge one: it must be complete, signed, for this Proxy ID, valid
now, and from the authority that the server already accepts. Compute a server's Proxy ID. The licence contains the
authority's certificate, because it is the first document that a server trusts; after that, the server accepts another
licence only from the same key. Because a server always has it, the licence says as well whose certificates count no
more, although they are valid. Opens no file and reads no clock.

RFC 8032 (Ed25519) over the JSON of the licence with its keys sorted, without blanks, in ASCII.
"""

import base64
import datetime
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Final

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.decoding import first_certificate_in, public_key
from smartproxy.policy.schema import Counts, ListOf, ObjectOf, kind, read_object, write_object
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.strict_json import read as read_json
from smartproxy.policy.values import NAME, Fixed, Instant, Line, Pem, minute, shifted

#: The version of the licence's form.
FORMAT: Final = 1
#: The form of a Proxy ID, as a regular expression.
PROXY_ID: Final = "[0-9a-f]{64}px"


def proxy_id(key: bytes) -> str:
    """The Proxy ID of a server: what its licence names and the client pins.

    :param key: the DER octets of the SubjectPublicKeyInfo of its identity key.
    """
    return hashlib.sha256(key).hexdigest() + "px"


def is_proxy_id(text: str) -> bool:
    """Whether *text* has the form of a Proxy ID: 64 digits of lower case hex and ``px``."""
    return re.fullmatch(PROXY_ID, text) is not None


_ADVICE: Final = {
    Cause.LICENCE_MISSING: "put the licence file there, or give its path with --licence",
    Cause.LICENCE_UNREADABLE: "make it readable for the account that the server runs under",
    Cause.LICENCE_DAMAGED: "copy it from the backend again, unchanged, or issue a new one",
    Cause.LICENCE_FOREIGN: "use the licence that was issued for this server's Proxy ID",
    Cause.LICENCE_NOT_YET_VALID: "check this machine's clock, or wait until it is valid",
    Cause.LICENCE_EXPIRED: "issue a new one with the site's authority",
    Cause.LICENCE_WRONG_AUTHORITY: (
        "to make this server accept another authority, replace its licence file by hand and restart it"
    ),
    Cause.LICENCE_NOT_NEWER: "nothing to do: the licence in force stays",
}


@attrs.define(eq=False, auto_exc=True, str=False)
class LicenceRefused(Exception):
    """A licence does not allow this server to run.

    :ivar cause: one of ``licence.*``.
    :ivar message: the cause as a sentence, with names and dates.
    """

    cause: Cause
    message: str

    @property
    def advice(self) -> str:
        """What to do about it."""
        return _ADVICE[self.cause]

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}"


@attrs.frozen(kw_only=True)
class WithdrawnClient:
    """A client whose certificates are not accepted any more, unless they were issued later.

    :ivar name: the name in them.
    :ivar begins_until: the latest begin of validity that is refused.
    """

    name: str = attrs.field(metadata=kind(NAME))
    begins_until: datetime.datetime = attrs.field(metadata=kind(Instant()))


@attrs.frozen(kw_only=True)
class Licence:
    """What an authority allows a server to do.

    :ivar proxy_id: the Proxy ID of the server that may run.
    :ivar site: the name of the company.
    :ivar valid_from: the start of its validity.
    :ivar valid_until: the end of its validity.
    :ivar limits: upper limits for the server; the only key is ``sessions``.
    :ivar authority_certificate: the authority that signed it, as PEM; the server accepts clients of this authority.
    :ivar withdrawn: clients that it does not accept any more. A document without any does not have the key, as in
        versions before 0.3.0.
    """

    format: int = attrs.field(default=FORMAT, metadata=kind(Fixed(FORMAT), required=True))
    proxy_id: str = attrs.field(metadata=kind(Line(pattern=PROXY_ID, form="a Proxy ID")))
    site: str = attrs.field(metadata=kind(NAME))
    valid_from: datetime.datetime = attrs.field(metadata=kind(Instant()))
    valid_until: datetime.datetime = attrs.field(metadata=kind(Instant()))
    withdrawn: tuple[WithdrawnClient, ...] = attrs.field(
        default=(), metadata=kind(ListOf(item=ObjectOf(WithdrawnClient), most=limits.WITHDRAWN_MOST))
    )
    limits: Mapping[str, int] = attrs.field(factory=dict, metadata=kind(Counts({"sessions": limits.SESSIONS})))
    authority_certificate: str = attrs.field(repr=False, metadata=kind(Pem(label="CERTIFICATE", most=1)))

    def withdraws(self, name: str, begins: datetime.datetime) -> bool:
        """Whether a client's certificate, valid from *begins* on, is withdrawn."""
        until = self.withdrawn_until(name)
        return until is not None and begins <= until

    def withdrawn_until(self, name: str) -> datetime.datetime | None:
        """The latest begin of a client's certificates that are withdrawn; ``None`` if none are."""
        return max((each.begins_until for each in self.withdrawn if each.name == name), default=None)

    def withdraws_more_than(self, other: "Licence") -> bool:
        """Whether it withdraws a certificate that the other one does not."""
        return any(not other.withdraws(each.name, each.begins_until) for each in self.withdrawn)

    def in_force(self, now: datetime.datetime) -> bool:
        """Whether the server may start sessions at *now*."""
        return self.valid_from <= now <= self.valid_until

    def days_left(self, now: datetime.datetime) -> int:
        """The number of whole days that remain; negative once it has expired."""
        return (self.valid_until - now) // datetime.timedelta(days=1)

    def warning(self, now: datetime.datetime) -> int | None:
        """The last announcement of its end that was due by *now*: so many days before, or 0 once it has ended."""
        return due_warning(self.valid_until, now)

    def next_warning(self, now: datetime.datetime) -> datetime.datetime | None:
        """When the next announcement is due, its end included; ``None`` once it has ended."""
        moments = [
            shifted(self.valid_until, -datetime.timedelta(days=days)) for days in (*limits.LICENCE_WARNING_DAYS, 0)
        ]
        return min((moment for moment in moments if moment >= now), default=None)


def due_warning(valid_until: datetime.datetime, now: datetime.datetime) -> int | None:
    """The last announcement of the end of a licence that was due by *now*.

    :return: so many days before its end, 0 once it has ended, ``None`` while its end is far.
    """
    if now > valid_until:
        return 0
    due = [days for days in limits.LICENCE_WARNING_DAYS if valid_until - now <= datetime.timedelta(days=days)]
    return min(due, default=None)


@attrs.frozen(kw_only=True)
class _Signed:
    """The document: a licence and the signature over it."""

    licence: Licence = attrs.field(metadata=kind(ObjectOf(Licence)))
    signature: str = attrs.field(metadata=kind(Line(pattern="[A-Za-z0-9+/]{86}==", form="a signature in base64")))


def sign(licence: Licence, private_key: Ed25519PrivateKey) -> str:
    """The licence's document, signed with the key of the authority whose certificate is in it.

    :raises ValueError: if no server could accept the licence: the key is not that of the certificate in it, or one of
        its values is not what it has to be.
    """
    try:
        read_object(Licence, write_object(licence), "licence")
    except DocumentRefused as refused:
        raise ValueError(str(refused)) from None
    if private_key.public_key() != _authority_key(licence.authority_certificate):
        raise ValueError("the private key is not that of the authority's certificate in the licence")
    signature = base64.b64encode(private_key.sign(_signed_octets(licence))).decode("ascii")
    return json.dumps({"licence": _written(licence), "signature": signature}, indent=1) + "\n"


def read(text: str, proxy_id: str, now: datetime.datetime, authority: str | None = None) -> Licence:
    """Read the licence in *text*, if it lets the server with *proxy_id* run at *now*.

    :param authority: the certificate, as PEM, of the authority that the server already accepts, if any.
    :raises LicenceRefused: if it may not.
    """
    # Editors of Windows put a byte order mark in front.
    octets = text.removeprefix("\ufeff").encode("utf-8", "replace")
    try:
        signed = read_object(_Signed, read_json(octets, octets_most=limits.LICENCE_OCTETS_MOST))
    except DocumentRefused as refused:
        raise LicenceRefused(Cause.LICENCE_DAMAGED, f"it is not a licence ({refused})") from None
    licence = signed.licence
    try:
        key = _authority_key(licence.authority_certificate)
        key.verify(base64.b64decode(signed.signature), _signed_octets(licence))
    except ValueError:
        raise LicenceRefused(Cause.LICENCE_DAMAGED, "the authority's certificate in it cannot be used") from None
    except InvalidSignature:
        raise LicenceRefused(Cause.LICENCE_DAMAGED, "its signature does not match its content") from None
    if authority is not None and _authority_key(authority) != key:
        raise LicenceRefused(
            Cause.LICENCE_WRONG_AUTHORITY,
            f"it is signed by another authority than the one that this server accepts (site {licence.site!a})",
        )
    if licence.proxy_id != proxy_id:
        raise LicenceRefused(
            Cause.LICENCE_FOREIGN,
            f"it is for another machine: its Proxy ID is {licence.proxy_id}, this machine's is {proxy_id}",
        )
    if now < licence.valid_from:
        raise LicenceRefused(Cause.LICENCE_NOT_YET_VALID, f"it is not valid before {minute(licence.valid_from)}")
    if now > licence.valid_until:
        raise LicenceRefused(Cause.LICENCE_EXPIRED, f"it ended on {minute(licence.valid_until)}")
    return licence


def renew(present: Licence, text: str, now: datetime.datetime) -> Licence:
    """The licence in *text*, if it may replace *present*: same authority, same Proxy ID, and a later end.

    With the same end, it has to withdraw more.

    :raises LicenceRefused: if it may not; *present* then stays.
    """
    licence = read(text, present.proxy_id, now, present.authority_certificate)
    more = licence.valid_until == present.valid_until and licence.withdraws_more_than(present)
    if licence.valid_until <= present.valid_until and not more:
        raise LicenceRefused(
            Cause.LICENCE_NOT_NEWER,
            f"it ends on {minute(licence.valid_until)}, no later than the one in force",
        )
    return licence


def _written(licence: Licence) -> dict[str, object]:
    """Its document; the key that versions before 0.3.0 do not know is there only where it says something."""
    document = write_object(licence)
    if not licence.withdrawn:
        del document["withdrawn"]
    return document


def _signed_octets(licence: Licence) -> bytes:
    return json.dumps(_written(licence), sort_keys=True, separators=(",", ":")).encode("ascii")


def _authority_key(certificate: str) -> Ed25519PublicKey:
    """The authority's public key.

    :raises ValueError: if there is none that SmartProxy signs with.
    """
    key = public_key(first_certificate_in(certificate))
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("the authority's key is not Ed25519")
    return key
