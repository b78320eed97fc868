"""Configuration documents for the tests of policy."""

import base64
import copy
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.configuration import ConfigurationRefused, parse


def pem(label: str, der: bytes) -> str:
    """Octets as a PEM block."""
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"


FULL: dict[str, Any] = {
    "format": 1,
    "generation": 17,
    "store": "0123456789abcdef",
    "site": "Muster GmbH",
    "server": {
        "listeners": [{"address": "192.0.2.1", "port": 6619}, {"address": "::", "port": 0}],
        "balancers": ["192.0.2.32/28", "2001:db8:1::/64"],
        "deadlines": {
            "handshake": 11,
            "ssid": 31,
            "authentication": 61,
            "buffer": 62,
            "inactivity": 181,
            "closing": 6,
            "drain": 301,
            "opening": 21,
            "withdrawal": 61,
        },
        "limits": {
            "sessions": 2001,
            "sessions_per_partner": 201,
            "connections": 4001,
            "connections_per_address": 202,
            "unauthenticated_per_address": 101,
            "strangers_events": 12,
            "command_octets": 16385,
        },
        "penalties": {
            "enabled": False,
            "threshold": 21,
            "ban_seconds": 61,
            "ban_seconds_most": 601,
            "exempt": ["10.0.0.0/8", "2001:db8::/48"],
        },
        "identities": [
            {"name": "main", "certificate": pem("CERTIFICATE", b"own" * 40), "key": pem("PRIVATE KEY", b"secret" * 9)}
        ],
        "cas": [
            {
                "name": "acme-ca",
                "certificates": pem("CERTIFICATE", b"one") + pem("CERTIFICATE", b"two"),
                "revocation": "prefer",
                "grace_hours": 12,
                "lists": ["http://crl.example/1.crl", "https://[2001:db8::1]:8443/2.crl"],
                "approve_lists": True,
                "refuse_direct": True,
            }
        ],
        "revocation": [
            {
                "issuer": "ab" * 32,
                "issuer_name": "CN=ACME CA",
                "scope": {"points": ["URI:http://crl.example/1.crl"], "covered": "users"},
                "this_update": "2026-11-20T10:00:00Z",
                "next_update": "2026-11-27T10:00:00Z",
                "serials": ["a1b", "ffffffffffffffffffffffffffffffffffffffff"],
            },
            {
                "issuer": "cd" * 32,
                "issuer_name": None,
                "scope": {"points": [], "covered": "all"},
                "this_update": "2026-11-20T10:00:00Z",
                "next_update": None,
                "serials": [],
            },
        ],
        "partners": [
            {
                "name": "ACME",
                "enabled": True,
                "codes": ["O0013000001ACME", "O0013000001ACME     EU1"],
                "lowest_level": 2,
                "authentication": "required",
                "profile": "strict",
                "originators": ["O0013000001ACME"],
                "destinations": ["*"],
                "purpose": "server_auth",
                "certificates": [
                    {"by": "certificate", "sha256": "01" * 32},
                    {"by": "key", "sha256": "02" * 32},
                    {"by": "subject", "ca": "acme-ca", "serial_number": "O0013000001ACME"},
                    {"by": "san", "ca": "acme-ca", "san": "DNS:oftp.acme.example"},
                ],
                "outbound": {
                    "host": "oftp.acme.example",
                    "port": 6620,
                    "server_name": "acme.example",
                    "verify": "odette",
                    "ca": None,
                    "certificates": [
                        {"by": "subject", "ca": "acme-ca", "serial_number": "O0013000001ACME"},
                    ],
                    "source": "192.0.2.2",
                    "identity": "main",
                    "listener": 3307,
                },
                "watching": {
                    "silent_hours": 24,
                    "no_files_days": 7,
                    "eerp_hours": 0,
                    "downtimes": [
                        {"begins": "2026-12-24T00:00:00Z", "until": "2027-01-02T00:00:00Z", "why": "works holidays"}
                    ],
                },
            },
            {
                "name": "Foo & Söhne",
                "enabled": False,
                "codes": ["O0013000001FOO"],
                "lowest_level": 5,
                "authentication": "refused",
                "profile": "default",
                "originators": ["*"],
                "destinations": ["O0013000002ME"],
                "purpose": "any",
                "certificates": [{"by": "certificate", "sha256": "03" * 32}],
                "outbound": None,
                "watching": {"silent_hours": None, "no_files_days": None, "eerp_hours": None, "downtimes": []},
            },
        ],
        "licence": '{\n "licence": {}\n}\n',
        "source_address": "2001:db8::2",
        "source_address_missing": "stop",
    },
    "client": {
        "station": {"host": "station.example", "port": 3306, "timeout": 11, "retry": 90, "profile": "strict"},
        "pool": {"ready": 3, "most": 65},
        "deadlines": {
            "handshake": 12,
            "ssid": 32,
            "authentication": 62,
            "buffer": 63,
            "inactivity": 182,
            "closing": 7,
            "drain": 302,
            "opening": 22,
            "withdrawal": 62,
        },
        "limits": {"sessions": 2002, "openings_rate": 51, "reports_rate": 201, "command_octets": 16386},
        "outbound": {"enabled": False, "address": "192.0.2.9", "port": 65434},
        "copy_hours": 48,
    },
    "backend": {
        "keep_events_days": 90,
        "log": {"path": "/var/log/smartproxy/api.log", "level": "debug"},
        "download_networks": ["10.1.0.0/16"],
        "event_script": {
            "level": "error",
            "names": ["certificate.", "crl.stale"],
            "partners": ["ACME"],
            "hours": 48,
            "program": "/usr/local/bin/on-event",
            "seconds": 60,
            "at_once": 3,
            "waiting": 50,
        },
        "sheet": {
            "host": "oftp.muster.example",
            "port": 6620,
            "codes": ["O0013000001MUSTER"],
            "file_codes": ["O0013000001MUSTERFILES"],
            "buffer_octets": 4096,
            "credit": 99,
            "compression": "yes",
            "restart": "no",
            "contact": "EDI, +49 30 5550",
        },
        "mail": {
            "level": "warning",
            "names": ["licence."],
            "partners": ["BOLT"],
            "hours": 12,
            "host": "mail.example.com",
            "port": 465,
            "security": "implicit",
            "ca_file": "/etc/smartproxy/mail-ca.pem",
            "user": "oftp",
            "password_file": "/etc/smartproxy/mail-password",
            "from": "oftp@example.com",
            "to": ["edi@example.com"],
            "every_seconds": 600,
        },
        "watching": {"silent_hours": 48, "no_files_days": 0, "eerp_hours": 12},
        "four_eyes": ["partner.accept"],
        "page": {
            "address": "192.0.2.9",
            "port": 443,
            "certificate_file": "/etc/smartproxy/page.pem",
            "key_file": "/etc/smartproxy/page.key",
            "proxies": ["192.0.2.80/32"],
            "proxy_header": "forwarded",
        },
    },
}
"""A document in which nothing is as it is by default."""


def full() -> dict[str, Any]:
    """A copy of :data:`FULL` to change."""
    return copy.deepcopy(FULL)


def minimal(**server: Any) -> dict[str, Any]:
    """The shortest document, with what is given of the server's part."""
    return {"format": 1, "generation": 1, "site": "Muster GmbH", "server": server}


def octets(document: object) -> bytes:
    """A document as it arrives."""
    return json.dumps(document).encode()


def changed(path: str, value: object) -> dict[str, Any]:
    """A full document with *value* at *path*, such as ``server.partners.0.name``."""
    document = full()
    place: Any = document
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in way:
        place = place[step]
    place[last] = value
    return document


def without(path: str) -> dict[str, Any]:
    """A full document without what stands at *path*."""
    document = full()
    place: Any = document
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in way:
        place = place[step]
    del place[last]
    return document


class RefusingTestCase(SynchronousTestCase):
    """Tests of documents that are refused."""

    def assertRefused(self, document: object, where: str, cause: str) -> ConfigurationRefused:
        """A document is refused at *where*, with *cause* in the words."""
        refusal: ConfigurationRefused = self.assertRaises(ConfigurationRefused, parse, octets(document))
        self.assertEqual(refusal.where, where)
        self.assertIn(cause, refusal.message)
        return refusal
