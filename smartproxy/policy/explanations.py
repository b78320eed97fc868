"""Why a partner was refused, or its session ended, in words that can be sent to the partner.

Duty: for every way in which a call or a session can end, say what happened and what the partner has to do. The texts
for certificate causes are those of :data:`~smartproxy.policy.certificates.causes.CERTIFICATE_CAUSES`. The texts
are true for every reader, contain no details of the internal network, and never blame the wrong side. The backend
finds the event of an end and the facts around it.
"""

from collections.abc import Mapping
from typing import Final

import attrs

from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES, NOTHING_TO_CHANGE, OURS, Explanation
from smartproxy.policy.faults import Step
from smartproxy.policy.outcomes import Outcome, Participant

OUR_CALL: Final = f"The cause is on our side. {NOTHING_TO_CHANGE}; our system has to call again."
"""What a partner is told to do where the cause is on our side, and we called."""

DISAGREEMENTS: Final = frozenset({"negotiation.authentication", "negotiation.direction"})
"""The rules that the second SSID breaks because the two sides are set differently: neither of them has a bug."""

EXPLANATIONS: Final[Mapping[str, Explanation]] = {
    **{cause: row.explanation for cause, row in CERTIFICATE_CAUSES.items()},
    **{
        f"{cause}.outgoing": row.called.explanation
        for cause, row in CERTIFICATE_CAUSES.items()
        if row.called.explanation
    },
    "certificate": Explanation(
        "Your certificate was refused.", "Please compare it with the certificate that is registered with us."
    ),
    "certificate.self_signed": Explanation(
        "Your certificate is self-signed, and it is not registered with us.",
        "Please send us the public part of your certificate, so that we can register it.",
    ),
    Cause.IDENTITY_CODE: Explanation(
        "The identification code (SSIDCODE) that your system sent is not assigned to your certificate.",
        "Please check the SSIDCODE that is configured for connections with us.",
    ),
    Cause.IDENTITY_LEVEL: Explanation(
        "The OFTP release level that your system offered is lower than agreed.",
        "Please configure OFTP 2.0 (SSIDLEV 5) for connections with us, or agree on a lower level with us.",
    ),
    Cause.IDENTITY_STATION_LEVEL: Explanation(
        "Our own system proposed an OFTP release level that is lower than agreed.",
        f"{NOTHING_TO_CHANGE}: we have to correct the settings of our system.",
        ours=True,
    ),
    Cause.IDENTITY_STATION_AUTHENTICATION: Explanation(
        "Our own system did not propose secure authentication (SSIDAUTH) as it is agreed.",
        f"{NOTHING_TO_CHANGE}: we have to correct the settings of our system.",
        ours=True,
    ),
    Cause.IDENTITY_ORIGINATOR: Explanation(
        "Your system sent a file whose originator (SFIDORIG) is not agreed with us.",
        "Please check the originator of the file; tell us if you send files for others.",
    ),
    Cause.IDENTITY_DESTINATION: Explanation(
        "Your system sent a file whose destination (SFIDDEST) is not agreed with us.",
        "Please check the destination of the file, and which of our codes you may send files to.",
    ),
    Cause.IDENTITY_AUTHENTICATION: Explanation(
        "The secure authentication setting (SSIDAUTH) of your system does not match ours.",
        "Please configure secure authentication as agreed with us.",
    ),
    "identity": Explanation(
        "The SSID that your system sent does not match our agreement.",
        "Please check the settings of connections with us.",
    ),
    "quota": Explanation(
        "All the sessions or connections that we can hold at the same time were in use.",
        f"{NOTHING_TO_CHANGE}; please try again later.",
        ours=True,
    ),
    Cause.QUOTA_PARTNER: Explanation(
        "Your system had reached the limit of parallel sessions with us.",
        "Please use fewer parallel sessions, or try again later; ask us if you need more.",
    ),
    Cause.QUOTA_ADDRESS: Explanation(
        "Too many connections from your address were open at the same time.",
        "Please use fewer parallel connections, and close those that your system does not use.",
    ),
    Cause.QUOTA_UNAUTHENTICATED: Explanation(
        "Too many connections from your address had begun TLS, and had not finished it.",
        "Please check what connects to us from your address; your system should open fewer connections at a time.",
    ),
    "handshake": Explanation(
        "The TLS connection could not be established.",
        "Please check that your system speaks TLS 1.2 or 1.3, with ephemeral keys (ECDHE) and AES-GCM or ChaCha20, and"
        " that it trusts our certificate.",
    ),
    "handshake.alert": Explanation(
        "Your system ended the TLS connection with the alert that is named here.",
        "The log of your OFTP2 software says why it sent the alert.",
    ),
    "handshake.distrusted": Explanation(
        "Your system did not accept our certificate, and ended the TLS connection with the alert that is named here.",
        "Please have your system trust our certificate, or the CA that issued it; tell us if you need it.",
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
    "handshake.balancer": Explanation(
        "Your system, or a load balancer in front of it, sent a header of the PROXY protocol before its TLS.",
        "Please switch the PROXY protocol off for the connection to us.",
    ),
    "balancer": Explanation(
        "A load balancer of ours did not say which system the connection came from.",
        "Please try again later: the fault is ours.",
    ),
    "handshake.not_tls": Explanation(
        "Your system sent something other than TLS to our port for OFTP2 over TLS.",
        "Please switch TLS on for the connection to us.",
    ),
    "handshake.timeout": Explanation(
        "Your system began a TLS connection, and did not complete it in time.",
        "Please check whether your system, or a firewall in front of it, delayed the connection.",
    ),
    "handshake.ended": Explanation(
        "Your system, or a firewall in front of it, closed the connection before TLS was established.",
        "Please look for the reason in the log of your OFTP2 software; it may not trust our certificate.",
    ),
    "handshake.renegotiated": Explanation(
        "Your system asked for a second TLS handshake within the connection, which we do not accept.",
        "Please switch TLS renegotiation off for the connection to us.",
    ),
    "penalty": Explanation(
        "Your address was blocked for a while after too many failed attempts.",
        "Please correct the cause of the failed attempts. The block ends automatically.",
    ),
    "violation.partner": Explanation(
        "Your system sent something that the OFTP2 protocol (RFC 5024) does not allow at that point.",
        "Please report the rule and section named here to the vendor of your OFTP2 software.",
    ),
    "violation.station": Explanation(
        "Our own system sent something that the OFTP2 protocol (RFC 5024) does not allow, and the session was ended.",
        OURS,
        ours=True,
    ),
    "negotiation.authentication": Explanation(
        "The two systems do not agree about secure authentication (SSIDAUTH).",
        "Please compare this setting with us.",
    ),
    "negotiation.direction": Explanation(
        "The two systems do not agree about who may send files (SSIDSR).",
        "Please compare this setting with us.",
    ),
    "deadline.partner": Explanation(
        "Your system did not respond in time.",
        "Please check whether your system, or a firewall in front of it, delayed the connection.",
    ),
    "deadline.station": Explanation(
        "Our own system did not respond in time, and the session was ended.", OURS, ours=True
    ),
    "lost.partner": Explanation(
        "The connection to your system was lost before the session was over.",
        "Please check whether your system, or a firewall or network in front of it, ended the connection.",
    ),
    "lost": Explanation("A connection on our side was lost, and the session was ended.", OURS, ours=True),
    "aborted.partner": Explanation(
        "Your system ended the session with the ESID reason code that is named here.",
        "Please look for the reason in the log of your OFTP2 software.",
    ),
    "aborted.station": Explanation(
        "Our system ended the session with the ESID reason code that is named here.",
        "Please check the password and the other settings of connections with us, or ask us for the reason.",
    ),
    "daemon": Explanation(
        "Our system was stopped or restarted, for example for maintenance, and the session was ended.",
        f"{NOTHING_TO_CHANGE}; please connect again later.",
        ours=True,
    ),
    "daemon.outgoing": Explanation(
        "Our system was stopped or restarted, for example for maintenance, and the session was ended.",
        OUR_CALL,
        ours=True,
    ),
    "session": Explanation("We ended the session.", OURS, ours=True),
    "session.killed": Explanation(
        "One of our operators ended the session.",
        "Please ask your contact at our company for the reason.",
    ),
    "session.costly": Explanation(
        "What your system sent took far more computing time than an ordinary session does, and we ended the session.",
        "Please ask the vendor of your OFTP2 software whether it sends TLS key updates, or very small or empty TLS"
        " or data records.",
    ),
    "completed": Explanation("The session ended as it should.", "You need not do anything."),
    "failed": Explanation("A fault in our software ended the session.", OURS, ours=True),
    "call": Explanation(
        "We called your system, and no OFTP2 session could be established.",
        "Please check that your system can be reached at the address that we called, and that it answers there.",
    ),
    "call.policy": Explanation("We could not call your system.", OUR_CALL, ours=True),
    "call.not_allowed": Explanation("Our settings do not allow calls to your system.", OUR_CALL, ours=True),
    "call.banned": Explanation(
        "We do not call your system for a while, because earlier sessions with it took far more computing time than"
        " ordinary sessions do, or because our processes ended while they carried them.",
        "Please ask the vendor of your OFTP2 software whether it sends TLS key updates, or very small or empty TLS"
        " or data records.",
    ),
    "call.source": Explanation("We could not call your system.", OUR_CALL, ours=True),
    "call.unused": Explanation(
        "We called your system, and ended the call before the session had begun.", OUR_CALL, ours=True
    ),
    "call.renegotiated": Explanation(
        "We called your system, and it asked for a second TLS handshake, which we do not accept.",
        "Please switch TLS renegotiation off for connections with us.",
    ),
    "call.tls": Explanation(
        "We called your system, and the TLS connection could not be established.",
        "Please check that your system trusts our certificate, and tell us if you need it.",
    ),
    "call.alert": Explanation(
        "We called your system, and it ended the TLS connection with the alert that is named here.",
        "The log of your OFTP2 software says why it sent the alert.",
    ),
    "call.distrusted": Explanation(
        "We called your system, and it did not accept our certificate: it sent the alert that is named here.",
        "Please have your system trust our certificate, or the CA that issued it; tell us if you need it.",
    ),
    "call.closed": Explanation(
        "We called your system, and it closed the connection before the session had begun.",
        "Please look for the reason in the log of your OFTP2 software; it may not trust our certificate.",
    ),
    "call.greeting": Explanation(
        "We called your system, and its answer was not that of an OFTP2 program.",
        "Please check which of your programs answers at the address and port that we called.",
    ),
    "ours": Explanation("We could not accept your session.", OURS, ours=True),
    "ours.outgoing": Explanation("We could not call your system.", OUR_CALL, ours=True),
}
"""The explanations by ``subject.what``; a key without an entry of its own uses the subject's.

An entry that ends with ``.outgoing`` replaces the one without, where we called.
"""


@attrs.frozen(kw_only=True)
class HowEnded:
    """How a session or call ended, or why it did not begin.

    :ivar cause: a code, or the rule of the protocol that was broken; empty where none is told.
    :ivar outcome: ``None`` where there was no session: a connection or a call was refused or failed.
    :ivar ended_by: who began the end; ``None`` where nobody is named.
    :ivar step: the step at which a call to the partner failed.
    :ivar outgoing: whether this site called.
    """

    cause: str
    outcome: Outcome | None = None
    ended_by: Participant | None = None
    step: Step | None = None
    outgoing: bool = False

    @property
    def key(self) -> str:
        """The key of the explanation, in :data:`EXPLANATIONS` or below one of its keys.

        Where a certificate or an SSID was refused, that is what the partner has to know, whatever it ended.
        """
        subject = self.cause.partition(".")[0]
        if subject in ("certificate", "identity"):
            return self.cause
        by = "" if self.ended_by is None else self.ended_by.value
        match self.outcome:
            case None:
                return self._refused(subject)
            case Outcome.VIOLATED:
                return self.cause if self.cause in DISAGREEMENTS else f"violation.{by}"
            case Outcome.EXPIRED:
                return f"deadline.{by}"
            case Outcome.STOPPED:
                return self.cause
            case Outcome.REFUSED | Outcome.UNREACHABLE:
                return self._refused(subject)
            case Outcome.LOST | Outcome.ABORTED | Outcome.FAILED | Outcome.COMPLETED:
                return f"{self.outcome.value}.{by}"

    @property
    def explanation(self) -> Explanation:
        """What the partner is told."""
        return explanation(self.key, outgoing=self.outgoing)

    def _refused(self, subject: str) -> str:
        """The key for what did not begin."""
        if subject == "call":
            return self.cause if self.step is None or self.cause in EXPLANATIONS else self.step.cause
        if self.outgoing and self.ended_by is Participant.PARTNER and subject in ("leg", "deadline"):
            return Cause.CALL_CLOSED if self.cause == Cause.LEG_LOST else Step.SSRM.cause
        if subject in ("handshake", "penalty") or (subject == "quota" and not self.outgoing):
            return self.cause
        return "ours"


def explanation(key: str, *, outgoing: bool = False) -> Explanation:
    """The explanation for a key: its own entry, else its subject's, else the one that says the cause is ours.

    :param outgoing: whether this site called the partner.
    """
    for each in (key, key.partition(".")[0], "ours"):
        if outgoing and (found := EXPLANATIONS.get(f"{each}.outgoing")) is not None:
            break
        if (found := EXPLANATIONS.get(each)) is not None:
            break
    assert found is not None
    return attrs.evolve(found, remedy=OUR_CALL) if outgoing and found.remedy == OURS else found
