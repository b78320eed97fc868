"""DER, as far as a certificate has to be taken apart where cryptography reads all of it or nothing.

Duty: walk over the values that follow each other, and give each extension of a certificate in a certificate of its own,
so that one that cannot be read does not hide the others. Nothing that is made here is signed: it is for reading only.
Trusts nothing: what is cut raises an error, and the number of extensions is bounded.

X.690 sections 8.1 and 10.1; RFC 5280 section 4.1.
"""

from collections.abc import Iterator
from typing import Final

from cryptography import x509

from smartproxy.policy.certificates.decoding import certificate_in

EXTENSIONS_MOST: Final = 64
"""Extensions of a certificate that are looked at one by one."""
_SEQUENCE: Final = 0x30
_EXTENSIONS: Final = 0xA3


def values(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """The values that follow each other in some octets: tag and content of each.

    :raises ValueError: if one of them is cut.
    """
    at = 0
    while at < len(octets):
        if at + 2 > len(octets):
            raise ValueError("a value is cut")
        tag, length = octets[at], octets[at + 1]
        at += 2
        if length & 0x80:
            more = length & 0x7F
            length = int.from_bytes(octets[at : at + more], "big")
            at += more
        if at + length > len(octets):
            raise ValueError("a value is cut")
        yield tag, octets[at : at + length]
        at += length


def value(tag: int, content: bytes) -> bytes:
    """A value with its tag and length."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def dotted(content: bytes) -> str:
    """An object identifier's numbers.

    :raises ValueError: if there are none.
    """
    numbers, number = [], 0
    for octet in content:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    if not numbers:
        raise ValueError("an object identifier is empty")
    first = min(numbers[0] // 40, 2)
    return ".".join(str(each) for each in (first, numbers[0] - 40 * first, *numbers[1:]))


def extensions_alone(certificate: x509.Certificate) -> Iterator[tuple[str, x509.Certificate]]:
    """Each extension's number, with a copy of the certificate that has this extension only.

    :raises ValueError: if the extensions cannot be told apart, or are more than :data:`EXTENSIONS_MOST`.
    """
    ((_, signed),) = values(certificate.tbs_certificate_bytes)
    fields = list(values(signed))
    kept = b"".join(value(tag, content) for tag, content in fields if tag != _EXTENSIONS)
    after = value(_SEQUENCE, _algorithm(fields)) + value(0x03, b"\x00\x00")
    ((_, listed),) = (each for tag, content in fields if tag == _EXTENSIONS for each in values(content))
    for count, (tag, extension) in enumerate(values(listed)):
        if count == EXTENSIONS_MOST:
            raise ValueError("there are too many extensions")
        _, number = next(values(extension))
        alone = value(_EXTENSIONS, value(_SEQUENCE, value(tag, extension)))
        octets = value(_SEQUENCE, value(_SEQUENCE, kept + alone) + after)
        yield dotted(number), certificate_in(octets)


def _algorithm(fields: list[tuple[int, bytes]]) -> bytes:
    """The signature's algorithm, as it stands in what is signed."""
    return next(content for tag, content in fields if tag == _SEQUENCE)
