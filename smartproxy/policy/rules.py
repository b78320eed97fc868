"""The certificate rules of a partner's entry: by what his certificate is known.

Duty: one class for each kind of rule. Whether a certificate fits one is decided in
:mod:`~smartproxy.policy.certificates.judge` for partners that call, and in
:mod:`~smartproxy.policy.certificates.called` for partners that are called.

RFC 5024 section 11: none of them is the protocol's; which certificate is whose is this site's affair.
"""

from typing import ClassVar

import attrs

from smartproxy.policy.schema import NAME, SHA256, Text, kind


def normalize_san(san: str) -> str:
    """The form in which subject alternative names are compared: the letters of a DNS name have no case."""
    return san.lower().replace("dns:", "DNS:", 1) if san.startswith("DNS:") else san


@attrs.frozen(kw_only=True)
class CertificatePin:
    """This very certificate, whoever issued it.

    :ivar sha256: SHA-256 of its DER octets, in hex.
    """

    by: ClassVar[str] = "certificate"

    sha256: str = attrs.field(metadata=kind(SHA256))


@attrs.frozen(kw_only=True)
class KeyPin:
    """Any certificate of this very key, whoever issued it.

    :ivar sha256: SHA-256 of the SubjectPublicKeyInfo, in hex.
    """

    by: ClassVar[str] = "key"

    sha256: str = attrs.field(metadata=kind(SHA256))


@attrs.frozen(kw_only=True)
class SubjectRule:
    """Any certificate below an authority whose subject carries this serialNumber (where Odette CAs put the Odette ID).

    :ivar authority: the name of an entry of ``server.authorities``.
    :ivar serial_number: the attribute's text, compared letter by letter.
    """

    by: ClassVar[str] = "subject"

    authority: str = attrs.field(metadata=kind(NAME))
    serial_number: str = attrs.field(metadata=kind(Text()))


@attrs.frozen(kw_only=True)
class SanRule:
    """Any certificate below an authority that carries this subject alternative name.

    :ivar authority: the name of an entry of ``server.authorities``.
    :ivar san: the name with its type: ``DNS:``, ``URI:`` or ``EMAIL:``; compared letter by letter.
    """

    by: ClassVar[str] = "san"

    authority: str = attrs.field(metadata=kind(NAME))
    san: str = attrs.field(
        metadata=kind(
            Text(
                most=1024, pattern="(DNS|URI|EMAIL):.+", form="a name with its type: DNS:name, URI:uri or EMAIL:address"
            )
        )
    )


Rule = CertificatePin | KeyPin | SubjectRule | SanRule
