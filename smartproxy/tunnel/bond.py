"""What the two ends of a control connection draw from its keys, for their data connections to prove themselves by.

Duty: draw it (RFC 8446 section 7.5), make the keys of data connections of it, and carry it to workers. There is a key
for each way that data connections go: what they say before TLS names a worker of the server, or nothing does. Workers
of the client, which dial all ways, have the bond. Of the server, the supervisor alone has it; a worker has the key of
its own way, which tells nothing of any other (RFC 5869 section 2.3).
"""

from typing import Final

import attrs
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

from smartproxy.net.tls.openssl import SECRET_OCTETS, has_secrets
from smartproxy.policy.licence import is_proxy_id
from smartproxy.tunnel.boxes import BoxValue

BOND_NAME_OCTETS: Final = 16
_PURPOSE: Final = b"SmartProxy data connections "


@attrs.frozen
class Bond:
    """What the two ends of a control connection know, and nobody else.

    :ivar name: what it is called on the way.
    :ivar proxy_id: the server's.
    """

    name: bytes
    secret: bytes = attrs.field(repr=False)
    proxy_id: str

    @classmethod
    def of(cls, control: SSL.Connection, proxy_id: str) -> "Bond | None":
        """The bond of a control connection whose handshake is over; ``None`` where data connections cannot use it."""
        if not has_secrets():
            return None
        return cls(
            control.export_keying_material(b"EXPORTER-SmartProxy-bond-name", BOND_NAME_OCTETS),
            control.export_keying_material(b"EXPORTER-SmartProxy-bond-secret", SECRET_OCTETS),
            proxy_id,
        )

    def key(self, first: bytes = b"") -> bytes:
        """The pre-shared key of the data connections that say these octets before TLS."""
        return HKDFExpand(SHA384(), SECRET_OCTETS, _PURPOSE + first).derive(self.secret)


class BondValue(BoxValue):
    """A bond, for a worker of the client."""

    def toString(self, inObject: Bond) -> bytes:
        """The octets on the wire."""
        return inObject.name + inObject.secret + inObject.proxy_id.encode("ascii")

    def fromString(self, inString: bytes) -> Bond:
        """The value of received octets."""
        name, rest = inString[:BOND_NAME_OCTETS], inString[BOND_NAME_OCTETS:]
        secret, proxy_id = rest[:SECRET_OCTETS], rest[SECRET_OCTETS:].decode("ascii")
        if not is_proxy_id(proxy_id):
            raise ValueError("no bond: a Proxy ID is missing")
        return Bond(name, secret, proxy_id)
