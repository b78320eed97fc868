"""The words of a partner's sheet, in the languages that it can be had in."""

import enum

import attrs


class Language(enum.StrEnum):
    """A language of the sheet."""

    EN = "en"
    DE = "de"


@attrs.frozen(kw_only=True)
class SheetWords:
    """All words in one language; those in braces are filled in."""

    title: str
    intro: str
    made: str
    unsaid: str
    yes: str
    no: str
    any: str
    none: str
    # How the partner calls us.
    call_us: str
    company: str
    contact: str
    host: str
    port: str
    transport: str
    transport_value: str
    our_codes: str
    our_file_codes: str
    our_certificate: str
    our_calling_certificate: str
    subject: str
    issuer: str
    serial: str
    sha256: str
    valid_until: str
    # How we call the partner.
    call_you: str
    never: str
    from_address: str
    any_address: str
    your_name: str
    pinned: str
    by_name: str
    by_odette: str
    # The session.
    session: str
    levels: str
    secure: str
    secure_required: str
    secure_refused: str
    secure_either: str
    buffer: str
    octets: str
    credit: str
    compression: str
    restart: str
    # What we know of the partner.
    of_you: str
    your_codes: str
    originators: str
    destinations: str
    certificates: str
    pin_of_certificate: str
    pin_of_key: str
    known_pin: str
    by_subject: str
    by_san: str
    # What we need.
    needed: str
    need_certificate: str
    need_usage_strict: str
    need_usage_server_auth: str
    need_usage_any: str
    need_codes: str
    need_address: str
    need_contact: str
    need_password: str
    need_notice: str
    need_lists: str


ENGLISH = SheetWords(
    title="OFTP2 connection of {partner} with {site}",
    intro="How {partner} reaches {site} by OFTP2 (RFC 5024), and what both have to know. This sheet contains no "
    "password and no private key.",
    made="As of",
    unsaid="we will tell you separately",
    yes="yes",
    no="no",
    any="any",
    none="none",
    call_us="You call us",
    company="Company",
    contact="Contact",
    host="Host name or address",
    port="Port",
    transport="Transport",
    transport_value="TLS 1.3 or TLS 1.2 from the first octet on; we ask for your certificate",
    our_codes="Our identification code (SSIDCODE)",
    our_file_codes="Our codes in files (SFIDORIG, SFIDDEST)",
    our_certificate="The certificate that our server shows",
    our_calling_certificate="The certificate that we show when we call you",
    subject="Subject",
    issuer="Issuer",
    serial="Serial number",
    sha256="SHA-256 fingerprint",
    valid_until="Valid until",
    call_you="We call you",
    never="We do not call you: you fetch what is for you.",
    from_address="We call from",
    any_address="no fixed address",
    your_name="Your certificate",
    pinned="has to be one of those that we know (below)",
    by_name="has to come from a CA that we trust and contain the name {name}",
    by_odette="has to come from a CA that we trust and contain your Odette ID",
    session="The session",
    levels="Release levels (SSIDLEV)",
    secure="Secure authentication (SSIDAUTH)",
    secure_required="yes, required",
    secure_refused="no",
    secure_either="as you like",
    buffer="Exchange Buffer size (SSIDSDEB)",
    octets="{count} octets",
    credit="Credit (SSIDCRED)",
    compression="Compression (SSIDCMPR)",
    restart="Restart (SSIDREST)",
    of_you="What we know of you",
    your_codes="Your identification code (SSIDCODE)",
    originators="Originators of your files (SFIDORIG)",
    destinations="Destinations of your files (SFIDDEST)",
    certificates="Your certificates",
    pin_of_certificate="certificate with the SHA-256 fingerprint {sha256}",
    pin_of_key="any certificate of the key with the SHA-256 {sha256}",
    known_pin="{pin} ({subject}, valid until {until})",
    by_subject="certificates of the CA {ca} with the serialNumber {name} in the subject",
    by_san="certificates of the CA {ca} with the name {name}",
    needed="What we need from you",
    need_certificate="Your TLS certificate with all certificates of its issuers (PEM or DER), and its SHA-256 "
    "fingerprint on another way than the file.",
    need_usage_strict="It has to be usable by TLS clients: extended key usage clientAuth, or no such extension.",
    need_usage_server_auth="Its extended key usage has to be clientAuth or serverAuth, or it has no such extension.",
    need_usage_any="Its extended key usage does not matter.",
    need_codes="Your SSIDCODE, and the codes that you use in SFIDORIG and SFIDDEST if they are others.",
    need_address="The host name or address and the port at which we can reach you, if we are to call you.",
    need_contact="Somebody whom we can call when a connection fails.",
    need_password="The passwords (SSIDPSWD) of both sides are agreed on another way; they are never written here.",
    need_notice="Your next certificate, at least two weeks before you use it: both are valid at the same time then.",
    need_lists="Your CA has to publish its revocation list in time: without a current one we refuse the certificate.",
)

GERMAN = SheetWords(
    title="OFTP2-Verbindung zwischen {partner} und {site}",
    intro="So erreicht {partner} {site} über OFTP2 (RFC 5024), und das müssen beide wissen. Dieses Datenblatt enthält "
    "kein Passwort und keinen privaten Schlüssel.",
    made="Stand",
    unsaid="teilen wir gesondert mit",
    yes="ja",
    no="nein",
    any="beliebig",
    none="keine",
    call_us="Sie rufen uns an",
    company="Firma",
    contact="Ansprechpartner",
    host="Rechnername oder Adresse",
    port="Port",
    transport="Transport",
    transport_value="TLS 1.3 oder TLS 1.2 ab dem ersten Byte; wir verlangen Ihr Zertifikat",
    our_codes="Unsere Kennung (SSIDCODE)",
    our_file_codes="Unsere Kennungen in Dateien (SFIDORIG, SFIDDEST)",
    our_certificate="Das Zertifikat unseres Servers",
    our_calling_certificate="Das Zertifikat, mit dem wir Sie anrufen",
    subject="Inhaber",
    issuer="Aussteller",
    serial="Seriennummer",
    sha256="SHA-256-Fingerabdruck",
    valid_until="Gültig bis",
    call_you="Wir rufen Sie an",
    never="Wir rufen Sie nicht an: Sie holen ab, was für Sie bestimmt ist.",
    from_address="Wir rufen an von",
    any_address="keine feste Adresse",
    your_name="Ihr Zertifikat",
    pinned="muss eines von denen sein, die wir kennen (siehe unten)",
    by_name="muss von einer CA stammen, der wir vertrauen, und den Namen {name} enthalten",
    by_odette="muss von einer CA stammen, der wir vertrauen, und Ihre Odette-ID enthalten",
    session="Die Sitzung",
    levels="Protokollstufen (SSIDLEV)",
    secure="Secure Authentication (SSIDAUTH)",
    secure_required="ja, zwingend",
    secure_refused="nein",
    secure_either="nach Ihrer Wahl",
    buffer="Größe des Exchange Buffers (SSIDSDEB)",
    octets="{count} Byte",
    credit="Credit (SSIDCRED)",
    compression="Kompression (SSIDCMPR)",
    restart="Wiederaufsetzen (SSIDREST)",
    of_you="Was wir von Ihnen wissen",
    your_codes="Ihre Kennung (SSIDCODE)",
    originators="Absender Ihrer Dateien (SFIDORIG)",
    destinations="Empfänger Ihrer Dateien (SFIDDEST)",
    certificates="Ihre Zertifikate",
    pin_of_certificate="Zertifikat mit dem SHA-256-Fingerabdruck {sha256}",
    pin_of_key="jedes Zertifikat zum Schlüssel mit dem SHA-256-Wert {sha256}",
    known_pin="{pin} ({subject}, gültig bis {until})",
    by_subject="Zertifikate der CA {ca} mit der serialNumber {name} im Inhaber",
    by_san="Zertifikate der CA {ca} mit dem Namen {name}",
    needed="Was wir von Ihnen brauchen",
    need_certificate="Ihr TLS-Zertifikat mit allen Zertifikaten seiner Aussteller (PEM oder DER), und seinen "
    "SHA-256-Fingerabdruck auf einem anderen Weg als die Datei.",
    need_usage_strict="Es muss für TLS-Clients verwendbar sein: erweiterte Schlüsselverwendung clientAuth, oder keine "
    "solche Erweiterung.",
    need_usage_server_auth="Seine erweiterte Schlüsselverwendung muss clientAuth oder serverAuth sein, oder es hat "
    "keine solche Erweiterung.",
    need_usage_any="Seine erweiterte Schlüsselverwendung ist beliebig.",
    need_codes="Ihren SSIDCODE, und die Kennungen, die Sie in SFIDORIG und SFIDDEST verwenden, wenn es andere sind.",
    need_address="Den Rechnernamen oder die Adresse und den Port, unter denen wir Sie erreichen, wenn wir Sie anrufen "
    "sollen.",
    need_contact="Jemanden, den wir anrufen können, wenn eine Verbindung nicht zustande kommt.",
    need_password="Die Passwörter (SSIDPSWD) beider Seiten vereinbaren wir auf einem anderen Weg; sie stehen nie hier.",
    need_notice="Ihr nächstes Zertifikat, mindestens zwei Wochen bevor Sie es verwenden: dann gelten beide zugleich.",
    need_lists="Ihre CA muss ihre Sperrliste rechtzeitig veröffentlichen: ohne eine aktuelle weisen wir das Zertifikat "
    "ab.",
)

WORDS = {Language.EN: ENGLISH, Language.DE: GERMAN}
