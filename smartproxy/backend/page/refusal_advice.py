"""What an operator reads of a refusal: a title, and the next steps, by its cause; and the text for the partner.

The words are this page's; what happened and what the partner has to do are policy's
(:mod:`smartproxy.policy.explanations`), translated by the catalogues.
"""

import gettext
from collections.abc import Mapping
from datetime import datetime

import attrs

from smartproxy.backend.operations.refusal import KnownRefusal
from smartproxy.backend.page.rendering import utc
from smartproxy.backend.page.said import Saying
from smartproxy.backend.page.texts import later
from smartproxy.policy.causes import Cause


@attrs.frozen
class AdviceButton:
    """A button beside the steps.

    :ivar place: a page; what a posted one does needs no more.
    """

    label: str
    place: str
    posted: bool = False


def _setting(label: str, name: str) -> AdviceButton:
    return AdviceButton(label, f"/settings/{name}")


@attrs.frozen
class RefusalAdvice:
    """What is said of a cause.

    :ivar title: a sentence with ``%(who)s``; empty: the cause in the words of the event is the title.
    :ivar steps: what one can do, in its order.
    :ivar ways: where one can do it.
    """

    title: str
    steps: tuple[str, ...]
    ways: tuple[AdviceButton, ...] = ()


ASK = later("Ask the partner for its new certificate, and compare the SHA-256 by telephone.")
_COMPARE = later("Compare the SHA-256 with the partner, by telephone or with what it publishes.")
_WHICH_CA = later("Find out from the issuer which CA it is, and whether you want to trust it: then load the CA.")
_VERIFY_BY_PIN = later(
    "Or trust this certificate alone, and set on the partner's page that the certificate of its server is verified by"
    " the pin."
)
ADVICE: Mapping[str, RefusalAdvice] = {
    "certificate.no_partner": RefusalAdvice(
        later("%(who)s presents a certificate that nobody here knows"),
        (
            _COMPARE,
            later("Trust the certificate beside the one that is known; both are good until the old one ends."),
        ),
    ),
    "certificate.self_signed": RefusalAdvice(
        later("%(who)s presents a self-signed certificate that nobody here knows"),
        (
            _COMPARE,
            later("Choose whose it is, and trust it."),
        ),
    ),
    "certificate.unknown_ca": RefusalAdvice(
        later("%(who)s presents a certificate of a CA that is not known here"),
        (
            _WHICH_CA,
            later("Or trust this certificate alone, if the partner confirms its SHA-256."),
        ),
    ),
    "certificate.expired": RefusalAdvice(later("The certificate of %(who)s has ended"), (ASK,)),
    "certificate.not_yet_valid": RefusalAdvice(
        later("The certificate of %(who)s is not valid yet"),
        (later("Have the partner use its old one until then, or compare the clocks."),),
    ),
    "certificate.revoked": RefusalAdvice(
        later("The certificate of %(who)s is revoked"),
        (later("Do not trust it. Ask the partner what happened, and for a new certificate with a new key."),),
    ),
    "certificate.revocation_missing": RefusalAdvice(
        later("There is no revocation list for the certificate of %(who)s"),
        (
            later("Approve the address that the certificate names, or load the list of its CA."),
            later("A list that is approved is downloaded within minutes, and again by itself."),
        ),
    ),
    "certificate.revocation_stale": RefusalAdvice(
        later("The revocation list for the certificate of %(who)s is out of date"),
        (later("See why no newer list was downloaded; load one by hand if the CA cannot be reached."),),
    ),
    "certificate.wrong_purpose": RefusalAdvice(
        later("The certificate of %(who)s is not made for TLS clients"),
        (
            later("Ask the partner for a certificate with the extended key usage clientAuth."),
            later("Or allow certificates for servers from this partner, too."),
        ),
    ),
    "certificate.self_signed.outgoing": RefusalAdvice(
        later("%(who)s presents a self-signed certificate that nobody here knows"),
        (_COMPARE, _VERIFY_BY_PIN),
    ),
    "certificate.unknown_ca.outgoing": RefusalAdvice(
        later("%(who)s presents a certificate of a CA that is not known here"),
        (_WHICH_CA, _VERIFY_BY_PIN),
    ),
    "certificate.wrong_purpose.outgoing": RefusalAdvice(
        later("The certificate of %(who)s is not made for TLS servers"),
        (
            later("Ask the partner for a certificate with the extended key usage serverAuth."),
            later("Or allow certificates for clients from this partner, too."),
        ),
    ),
    "certificate.partner_disabled": RefusalAdvice(
        later("%(who)s is disabled here, and calls"),
        (later("Enable the partner, or tell it that it is not expected."),),
    ),
    "certificate.ambiguous": RefusalAdvice(
        later("The certificate of %(who)s belongs to more than one partner"),
        (later("Remove the rule of one of them: a certificate names exactly one partner."),),
    ),
    "certificate.missing": RefusalAdvice(
        later("%(who)s presents no certificate"),
        (later("Tell the partner to configure its certificate and key for calls to you."),),
    ),
    Cause.IDENTITY_CODE: RefusalAdvice(
        later("%(who)s gives an SSIDCODE that is not its own"),
        (
            later("See which code it gave: a misspelled one has to be corrected there."),
            later("If the code is really the partner's, add it."),
        ),
    ),
    Cause.IDENTITY_LEVEL: RefusalAdvice(
        later("%(who)s offers an OFTP level that is too low"),
        (later("Have the partner set its program to OFTP 2.0, or allow the lower level in its entry."),),
    ),
    Cause.IDENTITY_AUTHENTICATION: RefusalAdvice(
        later("%(who)s does not agree about secure authentication"),
        (later("Set it alike on both sides: in the partner's entry, or in its program."),),
    ),
}
"""What is said of a cause, by the key of its explanation.

As with explanations, a key that ends with ``.outgoing`` replaces the one without, where this site called.
"""
_RUNS = later("See whether the station runs, and whether its log tells of this session.")
_PARTS = later("See whether server and client run and are connected, and what their logs say.")
_AGAIN = later("See on the overview whether it is over. The partner need not change anything.")
_LIMIT = later("Raise the limit if the partner's sessions are wanted, and the machine has room for them.")
_FIREWALL = later("Ask the partner whether its firewall ends idle connections; compare the times.")
_REPORT = later("Report it with the recording of the session and the logs of server and client: it is a bug.")
_NODES = AdviceButton(later("Nodes and licences"), "/nodes")
_OVERVIEW = AdviceButton(later("Overview"), "/")
_TEST_STATION = AdviceButton(later("Test the station"), "/overview/test-station", posted=True)
_STATION = (_TEST_STATION, _setting(later("The station's address"), "client.station.host"))
_LEVEL = later("Set the station to OFTP 2.0, or allow the lower level in the partner's entry.")
OURS_ADVICE: Mapping[str, RefusalAdvice] = {
    "station": RefusalAdvice("", (_RUNS, later("Compare the station's address and port with its settings.")), _STATION),
    Cause.IDENTITY_STATION_LEVEL: RefusalAdvice("", (_LEVEL,), (_TEST_STATION,)),
    "violation.station": RefusalAdvice(
        "", (later("Report the rule and the recording of the session to the vendor of the station."),)
    ),
    "deadline.station": RefusalAdvice("", (_RUNS,), _STATION),
    "aborted.station": RefusalAdvice(
        "", (later("See in the station's log why it ended the session: often by the password, or an unknown partner."),)
    ),
    "deadline.opening": RefusalAdvice("", (_RUNS,), _STATION),
    "tunnel": RefusalAdvice("", (_PARTS,), (_NODES,)),
    "lost": RefusalAdvice("", (_PARTS, _RUNS, _FIREWALL), (_NODES, _TEST_STATION)),
    "lost.partner": RefusalAdvice("", (_FIREWALL,)),
    "daemon": RefusalAdvice("", (_AGAIN,), (_NODES,)),
    "worker": RefusalAdvice("", (later("See in the server's log why its worker ended."), _REPORT), (_NODES,)),
    "failed": RefusalAdvice("", (_REPORT,), (_NODES,)),
    "session": RefusalAdvice("", (_AGAIN,), (_NODES,)),
    "balancer": RefusalAdvice(
        "",
        (later("Set the load balancer to send the PROXY protocol, or take its address out of the setting."),),
        (_setting(later("The load balancers"), "server.balancers"),),
    ),
    "quota": RefusalAdvice("", (_LIMIT,), (_setting(later("The limit"), "server.limits.sessions"),)),
    Cause.QUOTA_PARTNER: RefusalAdvice(
        "", (_LIMIT,), (_setting(later("The limit"), "server.limits.sessions_per_partner"),)
    ),
    Cause.QUOTA_ADDRESS: RefusalAdvice(
        "", (_LIMIT,), (_setting(later("The limit"), "server.limits.connections_per_address"),)
    ),
    Cause.QUOTA_UNAUTHENTICATED: RefusalAdvice(
        "", (_LIMIT,), (_setting(later("The limit"), "server.limits.unauthenticated_per_address"),)
    ),
    "certificate.not_called": RefusalAdvice(
        "", (later("Say on the partner's page where it is called, if calls to it are to be allowed again."),)
    ),
    "call.policy": RefusalAdvice(
        "",
        (later("Say on the partner's page where it is called, and allow calls in the settings."),),
        (_setting(later("Calls to partners"), "client.outbound.enabled"),),
    ),
    "call.not_allowed": RefusalAdvice(
        "",
        (later("Say on the partner's page where it is called, and enable the partner if it is disabled."),),
        (_setting(later("Calls to partners"), "client.outbound.enabled"),),
    ),
    "call.source": RefusalAdvice(
        "",
        (later("Give the server a source address that its machine has."),),
        (_setting(later("The source address"), "server.source_address"),),
    ),
    "source": RefusalAdvice(
        "",
        (later("Give the server a source address that its machine has."),),
        (_setting(later("The source address"), "server.source_address"),),
    ),
    "call.unused": RefusalAdvice(
        "", (later("See why the station, or the program that asked for the call, ended before the partner answered."),)
    ),
    "ours": RefusalAdvice(
        "",
        (later("The cause is on this side: look at the overview. The partner need not change anything."),),
        (_OVERVIEW,),
    ),
}
"""What is said of the causes on this side, by the key of their explanation, their own code, or the subject of one."""
STRANGERS = ("handshake", "penalty", "quota", "connection")
"""The subjects of causes that callers without a name have, which need nobody."""


def title_of(key: str, *, outgoing: bool) -> str:
    """The title of a cause, if it has one of its own.

    :param outgoing: whether this site called.
    """
    known = _own(key, outgoing=outgoing)
    return known.title if known else ""


def _own(key: str, *, outgoing: bool) -> RefusalAdvice | None:
    return (ADVICE.get(f"{key}.outgoing") if outgoing else None) or ADVICE.get(key)


def advice_of(key: str, cause: str, *, ours: bool, outgoing: bool) -> RefusalAdvice | None:
    """What is to be done about a refusal; ``None`` where the partner alone can do something.

    :param key: that of its explanation.
    :param cause: its code, which tells more where the partner is told only that the cause is on our side.
    :param ours: whether that is so.
    :param outgoing: whether this site called.
    """
    for each in (key, cause):
        found = _own(each, outgoing=outgoing) or (OURS_ADVICE.get(each) if each != "ours" else None)
        if found is not None:
            return found
    if not ours:
        return None
    for each in (cause, key):
        if (found := OURS_ADVICE.get(each.partition(".")[0])) is not None and found is not OURS_ADVICE["ours"]:
            return found
    return OURS_ADVICE["ours"]


TIME = later("Time: %(time)s")
SERIAL = later("Certificate: serial %(serial)s, SHA-256 %(sha256)s")
CODE = later("SSIDCODE: %(code)s")
SAW = later("Your system saw: %(saw)s")


def text_for_partner(found: KnownRefusal, when: datetime, texts: gettext.NullTranslations, words: Saying) -> str:
    """What can be sent to the partner, in the language of a catalogue; nothing of the inside is in it."""
    fields = found.event.fields
    said = texts.gettext
    lines = [said(found.happened), said(found.remedy), said(TIME) % {"time": utc(when)}]
    if fields.get("serial") and fields.get("certificate_sha256"):
        lines.append(said(SERIAL) % {"serial": fields["serial"], "sha256": fields["certificate_sha256"]})
    if found.code:
        lines.append(said(CODE) % {"code": found.code})
    if found.saw:
        lines.append(said(SAW) % {"saw": words.plain(found.saw)})
    return "\n".join(lines)
