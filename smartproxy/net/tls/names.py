"""Names in certificates and revocation lists, as text that can always be shown.

Duty: write a distinguished name as RFC 4514 does, whatever its strings hold. Certificates in use have names in Teletex
with Latin-1 in it, in BMP, or in broken UTF-8; cryptography raises an error for them. Here such a name is read octet by
octet from the DER, and what is no printable text is escaped. Also the names of distribution points, by which parts of a
revocation list are told apart. Trusts nothing in them; judges nothing.

RFC 4514; RFC 5280 sections 4.1.2.4 (names), 4.2.1.13 and 5.2.5 (distribution points); X.690 (DER).
"""

import re
from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from smartproxy.net.tls.der import dotted, values
from smartproxy.policy.certificates.decoding import Undecodable, decoding

_INTEGER: Final = 0x02
_VERSION: Final = 0xA0
_WIDE: Final = {0x1E: "utf-16-be", 0x1C: "utf-32-be"}
"""BMPString and UniversalString."""
_HOST: Final = re.compile(r"[^/?#@]*(?=[/?#]|$)")
"""The host of an address, with its port; not one that comes after a user's name."""
_OTHERS: Final = {
    "2.5.4.3": "CN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}
"""What RFC 4514 calls attributes, and the serialNumber by its name: it is the Odette ID."""


def subject_text(certificate: x509.Certificate) -> str:
    """The subject of a certificate."""
    try:
        with decoding():
            return _text(certificate.subject)
    except Undecodable:
        return _raw(certificate.tbs_certificate_bytes, 2)


def issuer_text(holder: x509.Certificate | x509.CertificateRevocationList) -> str:
    """The issuer of a certificate or of a revocation list."""
    try:
        with decoding():
            return _text(holder.issuer)
    except Undecodable:
        if isinstance(holder, x509.Certificate):
            return _raw(holder.tbs_certificate_bytes, 0)
        return _raw(holder.tbs_certlist_bytes, 0)


def point_names(
    full: Iterable[x509.GeneralName] | None, relative: x509.RelativeDistinguishedName | None, issuer: str
) -> tuple[str, ...]:
    """The names of a distribution point, each with its kind in front: ``URI:``, or ``DIR:`` for a directory's name.

    :param relative: its name below its issuer's.
    :param issuer: that name.
    """
    if relative is not None:
        with decoding():
            below = relative.rfc4514_string(_OVERRIDES)
        return (f"DIR:{printable(below)},{issuer}",)
    names = []
    for each in full or ():
        match each:
            case x509.UniformResourceIdentifier():
                names.append(f"URI:{printable(_compared(each.value))}")
            case x509.DirectoryName():
                names.append(f"DIR:{_text(each.value)}")
            case x509.RegisteredID():
                names.append(f"RegisteredID:{each.value.dotted_string}")
            case x509.OtherName():
                names.append(f"OtherName:{each.type_id.dotted_string}={each.value.hex()}")
            case _:
                names.append(f"{type(each).__name__}:{printable(str(each.value))}")
    return tuple(dict.fromkeys(names))


def _compared(uri: str) -> str:
    """An address with scheme and host in lower case: they are equal in any case (RFC 5280 section 7.4)."""
    head, slashes, rest = uri.partition("//")
    host = _HOST.match(rest)
    if not slashes or host is None:
        return uri
    return f"{head.lower()}//{host[0].lower()}{rest[host.end() :]}"


def printable(text: str) -> str:
    r"""The text with what Unicode does not call printable as ``\xNN`` or ``\uNNNN``."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


_OVERRIDES: Final = {NameOID.SERIAL_NUMBER: "serialNumber"}


def _text(name: x509.Name) -> str:
    with decoding():
        return printable(name.rfc4514_string(attr_name_overrides=_OVERRIDES))


def _raw(signed: bytes, skipped: int) -> str:
    """A name, read from what an issuer signed: version, serial number and algorithm come before the issuer's.

    :param skipped: the fields between the issuer's name and the wanted one.
    """
    try:
        ((_, content),) = values(signed)
        fields = [each for each in values(content) if each[0] not in (_VERSION, _INTEGER)]
        _, name = fields[1 + skipped]
        found = ["+".join(_attribute(attribute) for _, attribute in values(relative)) for _, relative in values(name)]
    except (ValueError, IndexError):
        return "(a name that cannot be read)"
    return ",".join(reversed(found))


def _attribute(content: bytes) -> str:
    (_, number), (tag, octets) = values(content)
    if tag in _WIDE:
        text = octets.decode(_WIDE[tag], "backslashreplace")
    else:
        try:
            text = octets.decode("utf-8")
        except UnicodeDecodeError:
            text = octets.decode("ascii", "backslashreplace")
    name = dotted(number)
    escaped = "".join(f"\\{each}" if each in ',+"<>;' else each for each in text)
    return f"{_OTHERS.get(name, name)}={printable(escaped)}"
