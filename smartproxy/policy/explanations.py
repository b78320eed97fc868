"""Why somebody was refused, in words that can be sent to the partner.

Duty: what a partner is told by the operator, and what it has to do, for every cause of a refusal; the words for causes
of certificates are those of :data:`~smartproxy.policy.certificates.causes.CERTIFICATE_CAUSES`. The words are true for
whoever reads them, name nothing of this site's inside, and blame nobody who is not to blame. Which record a refusal
has, and the facts around it, are the backend's affair.
"""

from collections.abc import Mapping
from typing import Final

from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES, OURS, Explanation

EXPLANATIONS: Final[Mapping[str, Explanation]] = {
    **{cause: row.explanation for cause, row in CERTIFICATE_CAUSES.items()},
    "certificate": Explanation(
        "Your certificate was refused.", "Please compare it with the one that you have announced to us."
    ),
    "identity.code": Explanation(
        "The identification code (SSIDCODE) that your system gave is not one that is agreed for your certificate.",
        "Please check the SSIDCODE that is configured for the connection to us.",
    ),
    "identity.level": Explanation(
        "The OFTP release level that your system offered is lower than we have agreed.",
        "Please configure OFTP 2.0 (SSIDLEV 5) for the connection to us, or agree a lower level with us.",
    ),
    "identity.authentication": Explanation(
        "Your system and our settings differ on secure authentication (SSIDAUTH).",
        "Please check whether secure authentication is configured as agreed with us.",
    ),
    "identity": Explanation(
        "What your system said of itself in the SSID is not what we have agreed.",
        "Please check the settings of the connection to us.",
    ),
    "quota": Explanation(
        "You had as many sessions with us at the same time as we allow.",
        "Please use fewer parallel sessions, or try again later; ask us if you need more.",
    ),
    "handshake": Explanation(
        "No TLS connection came about.",
        "Please check that your system speaks TLS 1.2 or 1.3, with ephemeral keys (ECDHE) and AES-GCM or ChaCha20, and"
        " that it trusts our certificate.",
    ),
    "connection.ban": Explanation(
        "Your address had made too many failed attempts, and was not let in for a while.",
        "Please correct the cause of the failed attempts before it; the address is let in again by itself.",
    ),
    "connection": Explanation("We could not take another connection.", OURS),
    "violation": Explanation(
        "Your system sent something that the OFTP2 protocol (RFC 5024) does not allow at that place.",
        "Please give the rule and the section named here to the maker of your OFTP2 software.",
    ),
    "deadline": Explanation(
        "Your system let the time pass in which we waited for it.",
        "Please check whether your system, or a firewall before it, held the connection up.",
    ),
    "ours": Explanation("We could not take your session.", OURS),
}
"""What partners are told, by ``subject.cause``; where there is no entry of its own, by the subject alone."""


def explanation(key: str) -> Explanation:
    """What a partner is told for a cause: the entry of its own, or that of its subject, or that it is our affair."""
    return EXPLANATIONS.get(key) or EXPLANATIONS.get(key.partition(".")[0]) or EXPLANATIONS["ours"]
