"""How subcommands show certificates: to people as a table, to scripts as documents."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smartproxy.tap.commands.console import table, when

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


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
