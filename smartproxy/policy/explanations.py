"""Why a partner was refused, in words that can be sent to the partner.

Duty: for every cause of a refusal, say what happened and what the partner has to do. The texts for certificate
causes are those of :data:`~smartproxy.policy.certificates.causes.CERTIFICATE_CAUSES`. The texts
are true for every reader, contain no details of the internal network, and never blame the wrong side. The backend
finds the record of a refusal and the facts around it.
"""

from collections.abc import Mapping
from typing import Final

from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES, OURS, Explanation

EXPLANATIONS: Final[Mapping[str, Explanation]] = {
    **{cause: row.explanation for cause, row in CERTIFICATE_CAUSES.items()},
    "certificate": Explanation(
        "Your certificate was refused.", "Please compare it with the certificate that is registered with us."
    ),
    "certificate.self_signed": Explanation(
        "Your certificate is self-signed, and it is not registered with us.",
        "Please send us the public part of your certificate, so that we can register it.",
    ),
    "identity.code": Explanation(
        "The identification code (SSIDCODE) that your system sent is not assigned to your certificate.",
        "Please check the SSIDCODE that is configured for the connection to us.",
    ),
    "identity.level": Explanation(
        "The OFTP release level that your system offered is lower than agreed.",
        "Please configure OFTP 2.0 (SSIDLEV 5) for the connection to us, or agree on a lower level with us.",
    ),
    "identity.station_level": Explanation(
        "Our own system proposed an OFTP release level that is lower than agreed.",
        "You need not change anything: we have to correct the settings of our system.",
    ),
    "identity.originator": Explanation(
        "Your system sent a file whose originator (SFIDORIG) is not agreed with us.",
        "Please check the originator of the file; tell us if you send files for others.",
    ),
    "identity.destination": Explanation(
        "Your system sent a file whose destination (SFIDDEST) is not agreed with us.",
        "Please check the destination of the file, and which of our codes you may send files to.",
    ),
    "identity.authentication": Explanation(
        "The secure authentication setting (SSIDAUTH) of your system does not match ours.",
        "Please configure secure authentication as agreed with us.",
    ),
    "identity": Explanation(
        "The SSID that your system sent does not match our agreement.",
        "Please check the settings of the connection to us.",
    ),
    "quota": Explanation(
        "Your system had reached the limit of parallel sessions with us.",
        "Please use fewer parallel sessions, or try again later; ask us if you need more.",
    ),
    "handshake": Explanation(
        "The TLS connection could not be established.",
        "Please check that your system speaks TLS 1.2 or 1.3, with ephemeral keys (ECDHE) and AES-GCM or ChaCha20, and"
        " that it trusts our certificate.",
    ),
    "handshake.alert": Explanation(
        "Your system ended the TLS connection with the alert that is named here.",
        "Please check that your system trusts our certificate, and tell us if you need it. The log of your OFTP2"
        " software says why it sent the alert.",
    ),
    "handshake.silent": Explanation(
        "Your system connected and sent nothing.",
        "Please switch TLS on for the connection to us: a program that speaks OFTP without TLS waits for a greeting"
        " that comes after the TLS handshake only.",
    ),
    "handshake.plain_oftp": Explanation(
        "Your system sent OFTP without TLS to our port for OFTP2 over TLS.",
        "Please switch TLS on for the connection to us.",
    ),
    "handshake.plain_http": Explanation(
        "Your system sent HTTP to our port for OFTP2 over TLS.",
        "Please check which program of yours connects to this port; it has to speak OFTP2 over TLS.",
    ),
    "handshake.plain_ssh": Explanation(
        "Your system sent SSH to our port for OFTP2 over TLS.",
        "Please check which program of yours connects to this port; it has to speak OFTP2 over TLS.",
    ),
    "connection.ban": Explanation(
        "Your address was blocked for a while after too many failed attempts.",
        "Please correct the cause of the failed attempts. The block ends automatically.",
    ),
    "connection": Explanation("We could not accept another connection.", OURS),
    "violation": Explanation(
        "Your system sent something that the OFTP2 protocol (RFC 5024) does not allow at that point.",
        "Please report the rule and section named here to the vendor of your OFTP2 software.",
    ),
    "deadline": Explanation(
        "Your system did not respond in time.",
        "Please check whether your system, or a firewall in front of it, delayed the connection.",
    ),
    "leg.lost": Explanation(
        "The connection to your system was lost during the session.",
        "Please check whether your system, or a firewall or network in front of it, ended the connection.",
    ),
    "aborted.partner": Explanation(
        "Your system ended the session with the ESID reason code that is named here.",
        "Please look for the reason in the log of your OFTP2 software.",
    ),
    "aborted.station": Explanation(
        "Our system ended the session with the ESID reason code that is named here.",
        "Please check the password and the other settings of the connection to us, or ask us for the reason.",
    ),
    "call": Explanation(
        "We called your system, and no OFTP2 session could be established.",
        "Please check that your system can be reached at the address that we called, and that it answers there.",
    ),
    "call.policy": Explanation("We could not call your system.", OURS),
    "call.source": Explanation("We could not call your system.", OURS),
    "call.tls": Explanation(
        "We called your system, and the TLS connection could not be established.",
        "Please check that your system trusts our certificate, and tell us if you need it.",
    ),
    "ours.outgoing": Explanation("Our session with your system could not be completed.", OURS),
    "ours": Explanation("We could not accept your session.", OURS),
}
"""The explanations by ``subject.cause``; a cause without an entry of its own uses the subject's."""


def explanation(key: str) -> Explanation:
    """The explanation for a cause: its own entry, else its subject's, else the one that says the cause is ours."""
    return EXPLANATIONS.get(key) or EXPLANATIONS.get(key.partition(".")[0]) or EXPLANATIONS["ours"]
