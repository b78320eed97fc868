"""Why somebody was refused, in words that can be sent to him.

Duty: the one table of what a partner is told by the operator, and what he has to do, for every cause of a refusal. The
words are true for whoever reads them, name nothing of this site's inside, and blame nobody who is not to blame. Which
record a refusal has, and the facts around it, are the backend's affair.
"""

from typing import Final

import attrs

from smartproxy.policy.certificates.causes import RefusalCause


@attrs.frozen
class Explanation:
    """What a partner is told.

    :ivar happened: what happened, as a sentence to him.
    :ivar remedy: what he has to do, or can expect.
    """

    happened: str
    remedy: str


_OURS: Final = "The cause is on our side. Your settings need no change; please try again later."
_RENEW: Final = "Please get a certificate that is valid, and send us its public part before you use it."

_CERTIFICATES: Final = {
    RefusalCause.NO_CERTIFICATE: Explanation(
        "Your system did not present a TLS client certificate.",
        "Please configure your certificate and its private key for outgoing OFTP2 connections to us.",
    ),
    RefusalCause.UNKNOWN_AUTHORITY: Explanation(
        "We know neither your certificate nor the authority that issued it.",
        "Please send the intermediate certificates along with yours in the TLS handshake; if you do, send us the public"
        " part of your certificate and tell us who issued it.",
    ),
    RefusalCause.EXPIRED: Explanation("A certificate that your system presented has expired.", _RENEW),
    RefusalCause.NOT_YET_VALID: Explanation(
        "A certificate that your system presented is not valid yet.",
        "Please use your present certificate until the new one is valid, or check when it was meant to begin.",
    ),
    RefusalCause.REVOKED: Explanation(
        "The authority that issued your certificate has revoked it, or that of one of its own authorities.",
        "Please find out why from the authority. You need a new certificate with a new key; send us its public part.",
    ),
    RefusalCause.REVOCATION_MISSING: Explanation(
        "We have no revocation list of the authority that issued your certificate, so that we could not check it.",
        "The list has to be loaded on our side. Please tell us where your authority publishes it.",
    ),
    RefusalCause.REVOCATION_STALE: Explanation(
        "The revocation list that we have of your certificate's authority is out of date, so that we could not check"
        " your certificate.",
        "A current list has to be loaded on our side; please ask your authority if it has not published one.",
    ),
    RefusalCause.BAD_SIGNATURE: Explanation(
        "The signature of a certificate that your system presented is not that of its issuer.",
        "Please check that certificate, key and intermediate certificates are complete and belong together.",
    ),
    RefusalCause.WEAK_KEY: Explanation(
        "The key of a certificate that your system presented is too weak.",
        "Please get a certificate for an RSA key of 2048 bits or more, or an EC key of 256 bits or more.",
    ),
    RefusalCause.WEAK_SIGNATURE: Explanation(
        "A certificate that your system presented is signed with a hash that is not safe any more.",
        "Please have it issued again, signed with SHA-256 or better.",
    ),
    RefusalCause.WRONG_PURPOSE: Explanation(
        "Your certificate does not allow the use as a TLS client.",
        "Please get one with the extended key usage clientAuth (1.3.6.1.5.5.7.3.2).",
    ),
    RefusalCause.PATH_TOO_LONG: Explanation(
        "There are too many authorities between your certificate and one that we know.",
        "Please tell us which authority issued your certificate, so that we can add it.",
    ),
    RefusalCause.NOT_AN_AUTHORITY: Explanation(
        "Your certificate was issued with a certificate that must not issue others.",
        "Please present the certificates of the authorities that issued yours, and no others.",
    ),
    RefusalCause.INVALID_PATH: Explanation(
        "The certificates that your system presented do not form a valid path.",
        "Please check that your system presents its own certificate first, and then those of its authorities.",
    ),
    RefusalCause.UNREADABLE: Explanation(
        "A certificate that your system presented cannot be read: it breaks the rules of X.509.",
        "Please have it issued again.",
    ),
    RefusalCause.NO_PARTNER: Explanation(
        "Your certificate is valid, but it is not one that you have announced to us.",
        "Please send us its public part if it is a new one of yours, or use the one that we know.",
    ),
    RefusalCause.PARTNER_DISABLED: Explanation(
        "Your connection is switched off on our side.", "Please ask your contact here when it will be switched on."
    ),
    RefusalCause.AMBIGUOUS: Explanation("Our settings do not say clearly whose certificate yours is.", _OURS),
    RefusalCause.NOT_EXPECTED: Explanation(
        "Your server presented another certificate than the one that we know.",
        "Please send us the public part of the certificate that your server presents.",
    ),
    RefusalCause.WRONG_NAME: Explanation(
        "The certificate of your server does not bear the name under which we called it.",
        "Please get one for the host name that we are to call, or tell us the right name.",
    ),
    RefusalCause.NOT_CALLED: Explanation(
        "Our settings do not let us call you any more.", "Please ask your contact here if we are to call you again."
    ),
}

EXPLANATIONS: Final = {
    **{f"certificate.{cause.value}": explanation for cause, explanation in _CERTIFICATES.items()},
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
    "connection": Explanation("We could not take another connection.", _OURS),
    "violation": Explanation(
        "Your system sent something that the OFTP2 protocol (RFC 5024) does not allow at that place.",
        "Please give the rule and the section named here to the maker of your OFTP2 software.",
    ),
    "deadline": Explanation(
        "Your system let the time pass in which we waited for it.",
        "Please check whether your system, or a firewall before it, held the connection up.",
    ),
    "ours": Explanation("We could not take your session.", _OURS),
}
"""What partners are told, by ``subject.cause``; where there is no entry of its own, by the subject alone."""


def explanation(key: str) -> Explanation:
    """What a partner is told for a cause: the entry of its own, or that of its subject, or that it is our affair."""
    return EXPLANATIONS.get(key) or EXPLANATIONS.get(key.partition(".")[0]) or EXPLANATIONS["ours"]
