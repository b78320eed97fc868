"""How subcommands take certificates, and show them: to people as a table, to scripts as documents."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smartproxy.tap.commands.console import CommandFailed, Console, table, when

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from smartproxy.backend.partners import Proof


def certificates_text(certificates: Sequence["Certificate"], empty: str = "") -> str:
    """Certificates as a table: whose, until when, which."""
    from smartproxy.backend.certificates import certificate_pin, name_text

    cells = [(name_text(each.subject), when(each.not_valid_after_utc), certificate_pin(each)) for each in certificates]
    return table(("SUBJECT", "UNTIL", "SHA-256"), cells, empty)


def certificate_documents(certificates: Sequence["Certificate"]) -> list[dict[str, object]]:
    """Certificates for scripts."""
    from smartproxy.backend.certificates import certificate_pin, key_pin, name_text

    return [
        {
            "subject": name_text(each.subject),
            "issuer": name_text(each.issuer),
            "not_before": each.not_valid_before_utc,
            "not_after": each.not_valid_after_utc,
            "sha256": certificate_pin(each),
            "key_sha256": key_pin(each),
        }
        for each in certificates
    ]


def pinned(console: Console, path: str) -> "Proof":
    """The partner's own certificate of a file, which may hold its chain too."""
    from smartproxy.backend.certificates import name_text, read_certificates
    from smartproxy.backend.partners import Proof

    found = read_certificates(console.read(path), path)
    issuers = {each.issuer for each in found if each.issuer != each.subject}
    own = [each for each in found if each.subject not in issuers] or found
    if len(own) > 1:
        names = "; ".join(name_text(each.subject) for each in own)
        raise CommandFailed(f"{path} holds several certificates ({names}); give each in a file of its own")
    return Proof.pinned(own[0], key=console.arguments.pin_key)


def plain_sha256(text: str) -> str:
    """A SHA-256 as it is stored; it may have been copied with colons and in capital letters."""
    return text.replace(":", "").replace(" ", "").lower()
