"""The credential of a client that has no backend: its tunnel certificate and key, and the servers it may speak to.

Duty: the form of the one file that an operator carries to a plain client. Judges the form only; whether the certificate
is any good is the server's to say. Opens no file.
"""

import json
from typing import Final

import attrs

from smartproxy.policy.licence import PROXY_ID
from smartproxy.policy.schema import ListOf, ObjectOf, kind, read_object, write_object
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.strict_json import read as read_json
from smartproxy.policy.values import NAME, Fixed, Line, Pem

#: The version of the file's form.
FORMAT: Final = 1
FILE_OCTETS_MOST: Final = 64 * 1024
_PROXY_IDS_MOST: Final = 100


@attrs.frozen(kw_only=True)
class PlainCredential:
    """What a plain client shows, and to whom.

    :ivar name: the client's name, as in its certificate.
    :ivar certificate: the tunnel certificate as PEM, leaf first.
    :ivar key: its private key as PEM.
    :ivar proxy_ids: the Proxy IDs of the servers that may be spoken to.
    """

    format: int = attrs.field(default=FORMAT, metadata=kind(Fixed(FORMAT), required=True))
    name: str = attrs.field(metadata=kind(NAME))
    certificate: str = attrs.field(metadata=kind(Pem(label="CERTIFICATE", most=10)))
    key: str = attrs.field(repr=False, metadata=kind(Pem(label="PRIVATE KEY", most=1)))
    proxy_ids: tuple[str, ...] = attrs.field(
        metadata=kind(ListOf(item=Line(pattern=PROXY_ID, form="a Proxy ID"), least=1, most=_PROXY_IDS_MOST))
    )


@attrs.frozen(kw_only=True)
class _File:
    credential: PlainCredential = attrs.field(metadata=kind(ObjectOf(PlainCredential)))


def dump(credential: PlainCredential) -> str:
    """The file from which :func:`read` makes an equal credential."""
    return json.dumps(write_object(_File(credential=credential)), indent=1) + "\n"


def read(text: str) -> PlainCredential:
    """The credential in a file.

    :raises ValueError: when it holds none; the message says what is wrong, and never quotes the key.
    """
    # Editors of Windows put a byte order mark in front.
    octets = text.removeprefix("\ufeff").encode("utf-8", "replace")
    try:
        return read_object(_File, read_json(octets, octets_most=FILE_OCTETS_MOST)).credential
    except DocumentRefused as refused:
        raise ValueError(f"not a client's credential: {refused}") from None
