"""The mail about events: what it says, what it never says, and what its settings have to be."""

import email
from collections import Counter
from datetime import timedelta
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import journal
from smartproxy.backend.alerts.mail import MailDigest, MailFailed, compose, digest_of, prepare
from smartproxy.backend.journal import StoredEvent
from smartproxy.logs.record import Record
from smartproxy.policy import limits
from smartproxy.policy.alerts import Mail, MailSecurity, check_mail
from smartproxy.policy.causes import Cause
from smartproxy.policy.schema import read_object
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.testing.pki import TestCa
from tests.unit.commands import CommandCase
from tests.unit.odd_files import block, der_of
from tests.unit.sites import NOW

MAIL = Mail(host="mail.example.com", sender="oftp@example.com", to=("edi@example.com", "night@example.com"))
HEADERS = {
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "Content-Type",
    "Content-Transfer-Encoding",
    "MIME-Version",
}
"""All headers that a mail has."""


def event(number: int = 1, **fields: Any) -> StoredEvent:
    """An event as it lies in the store."""
    told = {"port": 6619, "cause": Cause.PORT_IN_USE, **fields}
    record = Record("listener.failed", NOW + timedelta(seconds=number), "server", number, told)
    return attrs.evolve(journal.shown(record), number=number)


def read(octets: bytes) -> EmailMessage:
    """A mail as its reader gets it."""
    message = email.message_from_bytes(octets, policy=default)
    assert isinstance(message, EmailMessage)
    return message


class Composed(SynchronousTestCase):
    """What it says."""

    def test_one(self) -> None:
        """One event: level, name and partner are the subject; the event is whole in the text, and what to do."""
        message = read(compose(MAIL, digest_of("Muster GmbH", [event(4711, partner="ACME")]), NOW))
        self.assertEqual(message["Subject"], "SmartProxy Muster GmbH: CRITICAL listener.failed ACME")
        self.assertEqual(message["From"], "oftp@example.com")
        self.assertEqual(message["To"], "edi@example.com, night@example.com")
        self.assertEqual(message["Auto-Submitted"], "auto-generated")
        text = message.get_content()
        for part in ("1 event at Muster GmbH", "4711 2026-11-20T", "port=6619", "smartproxy ignore add"):
            self.assertIn(part, text)
        self.assertEqual(set(message.keys()), HEADERS)

    def test_flood(self) -> None:
        """Many events are one mail: counted by level, name and partner, the first ones whole, the rest a number."""
        events = [event(number, partner="ACME" if number % 3 else "BOLT") for number in range(1, 3001)]
        message = read(compose(MAIL, digest_of("Muster GmbH", events), NOW))
        self.assertEqual(message["Subject"], "SmartProxy Muster GmbH: CRITICAL listener.failed ACME and 2999 more")
        lines = message.get_content().splitlines()
        self.assertIn("  2000  CRITICAL listener.failed ACME", lines)
        self.assertIn("  1000  CRITICAL listener.failed BOLT", lines)
        self.assertIn("... and 2980 more", lines)
        self.assertEqual(len([each for each in lines if "port=6619" in each]), limits.MAIL_EVENTS_MOST)

    def test_many_kinds(self) -> None:
        """The rarest kinds are one number."""
        kinds = Counter({("critical", "listener.failed", f"P{number}"): 2 for number in range(60)})
        text = read(compose(MAIL, MailDigest(site="x", events=[event()], kinds=kinds), NOW)).get_content()
        self.assertIn("    20  others", text.splitlines())

    def test_no_header_from_outside(self) -> None:
        """What a peer, or the site's name, has in it begins no header and no second part, whichever break it takes."""
        for line_break in ("\r\n", "\n", "\r", "\x0b", "\x85", "\u2028", "\r\n\r\n"):
            nasty = f"ACME{line_break}Bcc: thief@evil.example{line_break}{line_break}--=\x00"
            stored = event(1, partner=nasty, detail=nasty)
            for digest in (
                digest_of(nasty, [stored]),
                # As if it had not been escaped when it was stored.
                MailDigest(
                    site=nasty, events=[attrs.evolve(stored, name=nasty)], kinds=Counter({("x", "y", nasty): 2})
                ),
            ):
                octets = compose(MAIL, digest, NOW)
                message = read(octets)
                self.assertEqual(set(message.keys()), HEADERS, line_break)
                self.assertNotIn(b"\nBcc", octets.replace(b"\r", b"\n"))
                self.assertEqual(message["To"], "edi@example.com, night@example.com")
                self.assertIn("Bcc: thief", str(message["Subject"]))
                self.assertFalse(message.is_multipart())
                self.assertNotIn("\x00", message.get_content())

    def test_settings_make_no_header(self) -> None:
        """Addresses are addresses alone."""
        for address in (
            "a@b.example\r\nBcc: c@d.example",
            "a@b,c@d",
            "A <a@b.example>",
            '"a"@b',
            "a b@c",
            "ä@b.example",
        ):
            with self.assertRaises(DocumentRefused):
                read_object(Mail, {"to": [address]})
            with self.assertRaises(DocumentRefused):
                read_object(Mail, {"from": address})

    def test_letters(self) -> None:
        """Letters of any script arrive as they are, and a long text in lines that mail servers take."""
        message = compose(MAIL, digest_of("Müller 東京", [event(message="ß" * 2000)]), NOW)
        self.assertIn("Müller 東京", str(read(message)["Subject"]))
        self.assertIn("ß" * 500, read(message).get_content())
        self.assertLess(max(map(len, message.split(b"\n"))), 998)
        self.assertTrue(message.isascii())


class Settings(SynchronousTestCase):
    """What its settings have to be."""

    def test_contradictions(self) -> None:
        """Half of what it takes, and a password without TLS, are refused."""
        check_mail(Mail())
        check_mail(MAIL)
        check_mail(attrs.evolve(MAIL, user="u", password_file="/p"))
        for wrong, where, words in (
            (attrs.evolve(MAIL, sender=None), "from", "set them together"),
            (attrs.evolve(MAIL, to=()), "to", "set them together"),
            (attrs.evolve(MAIL, user="u"), "user", "password_file"),
            (attrs.evolve(MAIL, password_file="/p"), "user", "password_file"),
            (
                attrs.evolve(MAIL, user="u", password_file="/p", security=MailSecurity.NONE),
                "security",
                "starttls or implicit",
            ),
        ):
            refused = self.assertRaises(DocumentRefused, check_mail, wrong)
            self.assertEqual(refused.where, f"backend.mail.{where}")
            self.assertIn(words, refused.message)

    def test_password(self) -> None:
        """It is the first line of a file that nobody else may read, and is shown nowhere."""
        path = Path(self.mktemp()).absolute()
        path.write_text("sesame\r\nsecond line\n")
        path.chmod(0o600)
        mail = attrs.evolve(MAIL, user="u", password_file=str(path))
        sender = prepare(mail)
        self.assertEqual(sender.password, b"sesame")
        self.assertNotIn("sesame", repr(sender))
        path.chmod(0o604)
        self.assertIn("chmod 0600", self.refused(mail))
        path.chmod(0o600)
        path.write_text("\n")
        self.assertIn("is empty", self.refused(mail))
        path.unlink()
        self.assertIn("No such file", self.refused(mail))

    def test_authorities(self) -> None:
        """A file of CAs that is none is told; a good one is taken; without TLS none is read."""
        path = Path(self.mktemp()).absolute()
        mail = attrs.evolve(MAIL, ca_file=str(path))
        self.assertIn("cannot be read", self.refused(mail))
        path.write_text("nothing")
        self.assertIn("cannot be read", self.refused(mail))
        path.write_bytes(b"-----BEGIN CERTIFICATE-----\n\xff")
        self.assertIn("cannot be read", self.refused(mail))
        ca = TestCa.root("x")
        for label in ("CERTIFICATE", "X509 CERTIFICATE"):
            path.write_bytes(block(label, der_of(ca.credential.certificate)))
            self.assertIsNotNone(prepare(mail).tls)
        self.assertIsNone(prepare(attrs.evolve(mail, ca_file="/nowhere", security=MailSecurity.NONE)).tls)

    def refused(self, mail: Mail) -> str:
        """Why a mail cannot be prepared."""
        failed = self.assertRaises(MailFailed, prepare, mail)
        self.assertIs(failed.cause, Cause.MAIL_SETTINGS)
        return str(failed)


class Command(CommandCase):
    """``smartproxy mail`` and its settings."""

    def test_settings(self) -> None:
        """They are set together; what is missing is said."""
        self.assertIn("settings set backend.mail.host", self.refused("mail", "test"))
        self.assertIn("backend.mail.from", self.refused("settings", "set", "backend.mail.host", "mail.example"))
        self.do(
            *("settings", "set", "backend.mail.host", "mail.example", "backend.mail.from", "a@b.example"),
            *("backend.mail.to", "c@d.example,e@f.example"),
        )
        self.assertIn("c@d.example,e@f.example", self.do("settings", "show", "backend.mail").out)

    def test_file_missing(self) -> None:
        """A password that cannot be read is one line."""
        self.do(
            *("settings", "set", "backend.mail.host", "mail.example", "backend.mail.from", "a@b.example"),
            *("backend.mail.to", "c@d.example", "backend.mail.user", "u", "backend.mail.password_file", "/nowhere/p"),
        )
        self.assertIn("/nowhere/p cannot be read", self.refused("mail", "test"))
