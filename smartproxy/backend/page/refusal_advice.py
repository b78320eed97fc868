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
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES, COMPARE, VERIFY_BY_PIN


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


_SELF_SIGNED = later("%(who)s presents a self-signed certificate that nobody here knows")
ADVICE: Mapping[str, RefusalAdvice] = {
    **{cause: RefusalAdvice(row.title, row.steps) for cause, row in CERTIFICATE_CAUSES.items()},
    **{
        f"{cause}.outgoing": RefusalAdvice(row.called.title or row.title, row.called.steps or row.steps)
        for cause, row in CERTIFICATE_CAUSES.items()
    },
    "certificate.self_signed": RefusalAdvice(_SELF_SIGNED, (COMPARE, later("Choose whose it is, and trust it."))),
    "certificate.self_signed.outgoing": RefusalAdvice(_SELF_SIGNED, (COMPARE, VERIFY_BY_PIN)),
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
        (later("Make the two settings equal: change the partner's entry, or have the partner change its program."),),
    ),
    "negotiation.authentication": RefusalAdvice(
        later("%(who)s and the station do not agree about secure authentication"),
        (later("Set SSIDAUTH alike in the station and in the partner's program."),),
    ),
    "negotiation.direction": RefusalAdvice(
        later("%(who)s and the station do not agree about who may send files"),
        (later("Compare SSIDSR of the station and of the partner's program: S needs R or B on the other side."),),
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
_AUTHENTICATION = later("Set secure authentication (SSIDAUTH) alike in the station and in the partner's entry.")
OURS_ADVICE: Mapping[str, RefusalAdvice] = {
    "station": RefusalAdvice("", (_RUNS, later("Compare the station's address and port with its settings.")), _STATION),
    Cause.IDENTITY_STATION_LEVEL: RefusalAdvice("", (_LEVEL,), (_TEST_STATION,)),
    Cause.IDENTITY_STATION_AUTHENTICATION: RefusalAdvice("", (_AUTHENTICATION,)),
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
CALLED = later("We called: %(called)s")
PROTOCOL = {
    "rule": later("Rule that was broken: %(value)s"),
    "section": later("Section of RFC 5024: %(value)s"),
    "command": later("Command: %(value)s"),
    "field": later("Field of the command: %(value)s"),
}
SENT = later("Your system sent: %(sent)s")
SAW = later("Your system saw: %(saw)s")
REASON = later("ESID reason code: %(reason)s")


def text_for_partner(found: KnownRefusal, when: datetime, texts: gettext.NullTranslations, words: Saying) -> str:
    """What can be sent to the partner, in the language of a catalogue; nothing of the inside is in it."""
    fields = found.event.fields
    said = texts.gettext
    lines = [said(found.happened), said(found.remedy), said(TIME) % {"time": utc(when)}]
    if fields.get("serial") and fields.get("certificate_sha256"):
        lines.append(said(SERIAL) % {"serial": fields["serial"], "sha256": fields["certificate_sha256"]})
    if found.code:
        lines.append(said(CODE) % {"code": found.code})
    if found.called:
        lines.append(said(CALLED) % {"called": found.called})
    lines.extend(said(PROTOCOL[each.name]) % {"value": each.value} for each in found.protocol)
    if found.sent:
        lines.append(said(SENT) % {"sent": words.plain(found.sent)})
    if found.saw:
        lines.append(said(SAW) % {"saw": words.plain(found.saw)})
    if found.reason is not None:
        lines.append(said(REASON) % {"reason": f"{found.reason:02d}"})
    return "\n".join(lines)
