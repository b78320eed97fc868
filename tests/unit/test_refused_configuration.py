"""Tests of configuration documents with one wrong value: refused with its place, and with what would be right."""

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ConfigurationRefused, parse
from tests.unit.documents import RefusingTestCase, changed, octets, pem, without


class RefusalTests(RefusingTestCase):
    """Anything wrong is refused, with the place, and with what would be right."""

    def test_not_an_object(self) -> None:
        """A document is an object."""
        for document, name in (
            ([], "a list"),
            ("x", "a text"),
            (1, "a number"),
            (None, "null"),
            (True, "true or false"),
        ):
            self.assertRefused(document, "document", f"is {name}; has to be an object")

    def test_surprises_of_json(self) -> None:
        """What is refused while reading JSON is a refused configuration."""
        refusal = self.assertRaises(ConfigurationRefused, parse, b'{"format": 1, "format": 1}')
        self.assertEqual(str(refusal), "document: the key 'format' appears twice")

    def test_format(self) -> None:
        """A document of another version says so, and nothing else about its keys; no other type passes for it."""
        document = {"format": 2, "renamed": True}
        self.assertRefused(
            document, "format", "is 2; this version of SmartProxy reads 1 only: update the older of the two"
        )
        self.assertRefused(changed("format", True), "format", "is true or false; has to be the number 1")
        self.assertRefused(changed("format", "1"), "format", "is a text; has to be the number 1")

    def test_unknown_keys(self) -> None:
        """A misspelled key is refused wherever it stands, with the keys that are known there."""
        self.assertRefused(
            changed("sever", {}), "sever", "no such key; known here: backend, client, format, generation"
        )
        self.assertRefused(changed("server.deadlines.ssdi", 1), "server.deadlines.ssdi", "closing, drain")
        self.assertRefused(changed("server.partners.1.Name", "x"), "server.partners[1].Name", "no such key")
        self.assertRefused(
            changed("server.partners.0.certificates.2.sha256", "00" * 32),
            "server.partners[0].certificates[2].sha256",
            "no such key; known here: ca, serial_number",
        )

    def test_missing_keys(self) -> None:
        """What has no default must be there."""
        for path, where in (
            ("format", "format"),
            ("generation", "generation"),
            ("site", "site"),
            ("server.listeners.0.address", "server.listeners[0].address"),
            ("server.identities.0.key", "server.identities[0].key"),
            ("server.cas.0.certificates", "server.cas[0].certificates"),
            ("server.revocation.0.this_update", "server.revocation[0].this_update"),
            ("server.partners.0.codes", "server.partners[0].codes"),
            ("server.partners.0.certificates", "server.partners[0].certificates"),
            ("server.partners.0.certificates.0.sha256", "server.partners[0].certificates[0].sha256"),
        ):
            self.assertRefused(without(path), where, "is missing")

    def test_wrong_types(self) -> None:
        """A value of another type is refused, and names both; a boolean is no number."""
        for path, value, cause in (
            ("generation", "17", "is a text; has to be a number of (a generation)"),
            ("generation", True, "is true or false; has to be a number"),
            ("site", 3, "is a number; has to be a text"),
            ("server", [], "is a list; has to be an object"),
            ("server.listeners", {}, "is an object; has to be a list"),
            ("server.listeners.0.address", 5, "is a number; has to be an IPv4 or IPv6 address"),
            ("server.penalties.enabled", 1, "is a number; has to be true or false"),
            ("server.identities.0.certificate", None, "is null; has to be PEM text of a CERTIFICATE"),
            ("server.revocation.0.serials", "a1b", "is a text; has to be a list"),
            ("server.revocation.0.this_update", 0, "is a number; has to be a time"),
            ("server.licence", 1, "is a number; has to be a text"),
            ("server.partners.0.certificates.0", "pin", "is a text; has to be an object"),
            ("server.partners.0.lowest_level", True, "has to be one of 1, 2, 4, 5"),
            ("server.partners.0.profile", 1, "has to be one of default, strict"),
        ):
            where = path.replace(".0", "[0]")
            self.assertRefused(changed(path, value), where, cause)

    def test_ranges(self) -> None:
        """Each number has the range of its limit: its ends are allowed, one beyond is not."""
        for path, limit in (
            ("generation", limits.GENERATION),
            ("server.listeners.0.port", limits.LISTENER_PORT),
            ("server.deadlines.handshake", limits.HANDSHAKE),
            ("server.deadlines.inactivity", limits.INACTIVITY),
            ("client.deadlines.drain", limits.DRAIN),
            ("server.limits.command_octets", limits.COMMAND_OCTETS),
            ("server.cas.0.grace_hours", limits.REVOCATION_GRACE),
            ("client.station.port", limits.STATION_PORT),
            ("client.station.retry", limits.STATION_RETRY),
            ("client.limits.sessions", limits.SESSIONS),
        ):
            for value in (limit.least, limit.most):
                parse(octets(changed(path, value)))
            for value in (limit.least - 1, limit.most + 1):
                self.assertRefused(
                    changed(path, value),
                    path.replace(".0", "[0]"),
                    f"is {value}; has to be between {limit.least} and {limit.most} {limit.unit}",
                )

    def test_texts(self) -> None:
        """Names are printable, not empty, not too long, and have no blanks around them."""
        for value, cause in (
            ("", "is empty; has to have between 1 and 128 characters"),
            ("x" * 129, "has 129 characters"),
            ("a\nb", "control characters"),
            ("a\u202eb", "control characters"),
            ("a\ud800", "control characters"),
            (" a", "blanks around it"),
        ):
            self.assertRefused(changed("server.partners.0.name", value), "server.partners[0].name", cause)

    def test_forms(self) -> None:
        """Values of a certain form are refused in words that show the form."""
        for path, value, cause in (
            ("server.listeners.0.address", "localhost", "an IPv4 or IPv6 address such as"),
            ("server.listeners.0.address", "10.0.0.0/8", "an IPv4 or IPv6 address such as"),
            ("server.penalties.exempt.0", "10.0.0.1/8", "a network such as"),
            ("server.penalties.exempt.0", 8, "a network such as"),
            ("server.partners.0.certificates.0.sha256", "AB" * 32, "64 digits of lower case hex"),
            ("server.partners.0.certificates.1.sha256", "ab" * 31, "64 digits of lower case hex"),
            ("server.partners.0.certificates.3.san", "oftp.acme.example", "DNS:name, URI:uri or EMAIL:address"),
            ("server.partners.0.codes.0", "Ö", "printable ASCII"),
            ("server.partners.0.codes.0", "O" * 26, "between 1 and 25"),
            ("server.revocation.0.issuer", "x", "64 digits of lower case hex"),
            ("client.station.host", "a b", "a host name or an address"),
            ("server.licence", "a\0b", "control characters"),
            ("server.licence", "", "is empty"),
            ("server.licence", "x" * (limits.LICENCE_OCTETS_MOST + 1), "has to have between 1 and 65536"),
        ):
            where = path.replace(".0", "[0]").replace(".1.", "[1].").replace(".3.", "[3].")
            self.assertRefused(changed(path, value), where, cause)

    def test_times(self) -> None:
        """A time is in UTC, to the second, in one form."""
        for value in (
            "2026-11-20",
            "2026-11-20T10:00:00",
            "2026-11-20T10:00:00+00:00",
            "2026-02-30T10:00:00Z",
            "2026-1-2T3:4:5Z",
        ):
            self.assertRefused(
                changed("server.revocation.0.next_update", value),
                "server.revocation[0].next_update",
                "a time in UTC such as 2026-11-20T10:00:00Z",
            )

    def test_serial_numbers(self) -> None:
        """A serial number is lower case hex of 20 octets at most; the place names the one that is not."""
        for value in ("", "0x1", "AB", "1" * 41, 5):
            document = changed("server.revocation.0.serials", ["a1b", value])
            self.assertRefused(document, "server.revocation[0].serials[1]", "1 to 40 digits of lower case hex")

    def test_counts(self) -> None:
        """A partner needs a code and a certificate; lists are not longer than their limit; nothing goes out yet."""
        rule = {"by": "key", "sha256": "00" * 32}
        for path, value, cause in (
            ("server.partners.0.codes", [], "has 0 entries; has to have between 1 and 1000"),
            ("server.partners.0.codes", ["O"] * 1001, "has 1001 entries"),
            ("server.partners.0.certificates", [], "has 0 entries; has to have between 1 and 100"),
            ("server.partners.0.certificates", [rule] * 101, "has 101 entries"),
            ("client.outbound", [], "is a list; has to be an object"),
        ):
            self.assertRefused(changed(path, value), path.replace(".0", "[0]"), cause)

    def test_too_many_serial_numbers(self) -> None:
        """A revocation set has its limit too."""
        self.patch(limits, "SERIALS_PER_ISSUER_MOST", 2)
        parse(octets(changed("server.revocation.0.serials", ["1", "2"])))
        self.assertRefused(
            changed("server.revocation.0.serials", ["1", "2", "3"]),
            "server.revocation[0].serials",
            "has 3 entries; at most 2 are allowed",
        )

    def test_rules(self) -> None:
        """A certificate rule says what it goes by."""
        for value in ("fingerprint", 1, None):
            self.assertRefused(
                changed("server.partners.0.certificates.1.by", value),
                "server.partners[0].certificates[1].by",
                "has to be one of certificate, key, subject, san",
            )

    def test_pem(self) -> None:
        """PEM text holds whole blocks of the right kind, and not too many of them."""
        good = pem("CERTIFICATE", b"x")
        for value, cause in (
            ("", "holds no PEM block; it has to begin with -----BEGIN CERTIFICATE-----"),
            (good + good[:-5], "cut or broken"),
            (good + "-----END CERTIFICATE-----", "cut or broken"),
            (good + pem("PRIVATE KEY", b"x"), "PEM block 2 is a PRIVATE KEY; all have to be CERTIFICATE"),
            ("-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----", "not base64"),
            (good * 1001, "holds 1001 blocks; at most 1000 are allowed"),
            (" " * (limits.PEM_CHARACTERS_MOST + 1), "has 1048577 characters; at most 1048576 are allowed"),
        ):
            self.assertRefused(changed("server.cas.0.certificates", value), "server.cas[0].certificates", cause)
        self.assertRefused(
            changed("server.identities.0.key", pem("PRIVATE KEY", b"x") * 2),
            "server.identities[0].key",
            "holds 2 blocks",
        )

    def test_text_around_pem(self) -> None:
        """Text around PEM blocks, as other programs write it, does no harm."""
        parse(octets(changed("server.cas.0.certificates", "subject=x\n" + pem("CERTIFICATE", b"x") + "\n# end")))


class Causes(RefusingTestCase):
    """What kind of thing is wrong, as a code that programs can rely on."""

    def test_codes(self) -> None:
        """Each kind of fault has its code, whatever the words are."""
        for document, cause in (
            (changed("site", 3), Cause.DOCUMENT_TYPE),
            (changed("site", " "), Cause.DOCUMENT_VALUE),
            (changed("site", ""), Cause.DOCUMENT_SIZE),
            (changed("format", 2), Cause.DOCUMENT_VERSION),
            (changed("unknown", 1), Cause.DOCUMENT_KEY_UNKNOWN),
            (without("site"), Cause.DOCUMENT_KEY_MISSING),
            (changed("server.partners.0.certificates.2.ca", "none"), Cause.DOCUMENT_NAME_UNKNOWN),
            (changed("client.pool.ready", 1000), Cause.DOCUMENT_CONTRADICTION),
        ):
            refused: ConfigurationRefused = self.assertRaises(ConfigurationRefused, parse, octets(document))
            self.assertIs(refused.cause, cause, refused)
        self.assertIs(self.assertRaises(ConfigurationRefused, parse, b"{").cause, Cause.DOCUMENT_JSON)
