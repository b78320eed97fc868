"""PEM text (RFC 7468): its blocks, and what can be said of them without understanding their content.

Duty: split text into the DER octets of its blocks, so that a certificate in the configuration can be compared with one
on the wire by SHA-256. Never parses DER, and never repeats a block in an error: it may be a private key.
"""

import base64
import binascii
import hashlib
import re

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s([A-Za-z0-9+/=\s]+)-----END \1-----")


class NotPem(ValueError):
    """The text is not made of PEM blocks of the wanted label."""


def blocks(text: str, label: str) -> tuple[bytes, ...]:
    """The DER octets of all blocks of *text*, in their order; text between blocks is ignored (RFC 7468 section 5.2).

    :raises NotPem: if there is no block, one that is broken, or one of another label.
    """
    found = list(_BLOCK.finditer(text))
    if not found:
        raise NotPem(f"holds no PEM block; it has to begin with -----BEGIN {label}-----")
    if len(found) != text.count("-----BEGIN ") or len(found) != text.count("-----END "):
        raise NotPem("holds a PEM block that is cut or broken")
    for number, block in enumerate(found, 1):
        if block[1] != label:
            raise NotPem(f"PEM block {number} is a {block[1][:40]}; all have to be {label}")
    try:
        return tuple(base64.b64decode("".join(block[2].split()), validate=True) for block in found)
    except binascii.Error:
        raise NotPem("holds a PEM block that is not base64") from None


def sha256(der: bytes) -> str:
    """The SHA-256 in lower case hex, as certificates and keys are named in the configuration."""
    return hashlib.sha256(der).hexdigest()
