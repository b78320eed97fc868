"""What an operator reads of a refusal: a title, and the next steps, by its cause; and the text for the partner.

The words are this page's; what happened and what the partner has to do are policy's
(:mod:`smartproxy.policy.explanations`), translated by the catalogues.
"""

import gettext
from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from smartproxy.backend.operations.refusal import KnownRefusal
from smartproxy.backend.page.rendering import utc
from smartproxy.backend.page.said import Saying
from smartproxy.backend.page.texts import later


@attrs.frozen
class RefusalAdvice:
    """What is said of a cause.

    :ivar title: a sentence with ``%(who)s``.
    :ivar steps: what one can do, in its order.
    """

    title: str
    steps: tuple[str, ...]


ASK = later("Ask the partner for its new certificate, and compare the SHA-256 by telephone.")
ADVICE: Mapping[str, RefusalAdvice] = {
    "certificate.no_partner": RefusalAdvice(
        later("%(who)s presents a certificate that nobody here knows"),
        (
            later("Compare the SHA-256 with the partner, by telephone or with what it publishes."),
            later("Trust the certificate beside the one that is known; both are good until the old one ends."),
        ),
    ),
    "certificate.self_signed": RefusalAdvice(
        later("%(who)s presents a self-signed certificate that nobody here knows"),
        (
            later("Compare the SHA-256 with the partner, by telephone or with what it publishes."),
            later("Choose whose it is, and trust it."),
        ),
    ),
    "certificate.unknown_ca": RefusalAdvice(
        later("%(who)s presents a certificate of a CA that is not known here"),
        (
            later("Find out from the issuer which CA it is, and whether you want to trust it: then load the CA."),
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
            later("Or allow certificates for servers from this partner."),
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
    "identity.code": RefusalAdvice(
        later("%(who)s gives an SSIDCODE that is not its own"),
        (
            later("See which code it gave: a misspelled one has to be corrected there."),
            later("If the code is really the partner's, add it."),
        ),
    ),
    "identity.level": RefusalAdvice(
        later("%(who)s offers an OFTP level that is too low"),
        (later("Have the partner set its program to OFTP 2.0, or allow the lower level in its entry."),),
    ),
    "identity.authentication": RefusalAdvice(
        later("%(who)s does not agree about secure authentication"),
        (later("Set it alike on both sides: in the partner's entry, or in its program."),),
    ),
}
STRANGERS = ("handshake", "penalty", "quota", "connection")
"""The subjects of causes that callers without a name have, which need nobody."""


def title_of(key: str) -> str:
    """The title of a cause, if it has one of its own."""
    known = ADVICE.get(key)
    return known.title if known else ""


def steps_of(key: str) -> Sequence[str]:
    """The next steps of a cause."""
    known = ADVICE.get(key)
    return known.steps if known else ()


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
