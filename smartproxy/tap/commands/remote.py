"""Operations on a site from another machine: the same calls as on the local store, by https with a token.

Duty: turn an operation and its input into a call of the backend's API, and its answer into the operation's. The answer
is read as strictly as a configuration; a refusal is told in the backend's words. Trusts a backend whose certificate
checks out. Never follows a redirect, never shows the token.
"""

import codecs
import http.client
import json
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from smartproxy._version import __version__
from smartproxy.net import files
from smartproxy.policy.limits import API_ANSWER_OCTETS_MOST
from smartproxy.policy.schema import read_object
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.strict_json import read as read_json
from smartproxy.policy.versions import BACKEND, Part, PartsApart, agree

if TYPE_CHECKING:
    from smartproxy.backend.operations.operation import Answer, Input, Operation
    from smartproxy.backend.operations.performing import Terms

CALL_SECONDS = 60.0
LARGE_CALL_SECONDS = 300.0
"""For a file with revocation lists, which the backend reads before it answers."""
PORT = 8443
_SAID_BY_THE_OPERATION = frozenset({403, 404, 409, 412, 422})
"""Of these refusals the message says what to do, as it does on the local store."""


_AUTHORITY_OCTETS_MOST = 16 * 1024 * 1024
"""Of the file with the CAs that a backend is trusted by: a system's whole store is far smaller."""
_PART = Part(program="smartproxy", version=__version__)


class SiteFailed(Exception):
    """The site cannot be reached, or refused the call; the text says what to do."""


class SiteMisnamed(Exception):
    """The URL or the token cannot be one; the text says what would be."""


@attrs.frozen(kw_only=True)
class RemoteSite:
    """A backend and who calls it.

    :ivar host: its name or address.
    :ivar tls: checks its certificate.
    :ivar token: of the administrator.
    """

    host: str
    port: int
    token: str = attrs.field(repr=False)
    tls: ssl.SSLContext

    @classmethod
    def of(cls, url: str, token: bytes, authority: str | None) -> "RemoteSite":
        """The site at a URL.

        :param token: what stands in the file of the token.
        :param authority: the file of the CA that issued the backend's certificate; the system's CAs without it.
        :raises SiteMisnamed: when the URL is none, or the token cannot be one.
        :raises SiteFailed: when the file cannot be read.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if host is None or parts.scheme != "https" or parts.path not in ("", "/") or parts.query or "@" in parts.netloc:
            raise SiteMisnamed("--url: give the backend's address, such as https://backend.example:8443")
        try:
            host.encode("idna")
        except UnicodeError:
            raise SiteMisnamed(f"--url: {host!a} is no host name: each part between dots has 1 to 63 octets") from None
        if not host.isprintable() or " " in host:
            raise SiteMisnamed(f"--url: {host!a} is no host name: it holds a blank")
        text = token.removeprefix(codecs.BOM_UTF8).strip().decode("ascii", "replace")
        if not text.isascii() or not text.isprintable() or " " in text or not text:
            raise SiteMisnamed(
                "--token-file: the file does not hold one token, as 'smartproxy admin-token create' makes it"
            )
        try:
            tls = ssl.create_default_context(cadata=None if authority is None else _pem_in(authority))
        except ssl.SSLError as error:
            raise SiteFailed(f"--backend-ca: {authority} holds no PEM certificate that can be read") from error
        except OSError as error:
            raise SiteFailed(f"cannot read {authority}: {error.strerror}") from error
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        return cls(host=host, port=port or PORT, token=text, tls=tls)

    def perform(self, operation: "Operation[Input, Answer]", wanted: "Input", terms: "Terms") -> "Answer":
        """Carry an operation out.

        :raises Rehearsed: for a dry run: it can be done.
        :raises SiteFailed: when it cannot be done, or the backend not be reached.
        """
        from smartproxy.backend.operation_requests import ROOT, TooLarge, file_path, large_file, request_of
        from smartproxy.backend.operations.operation import Effect
        from smartproxy.backend.operations.performing import Rehearsed
        from smartproxy.backend.operations.shapes import Foreseen

        method, path, document = request_of(operation, wanted, terms)
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json", **_PART.headers}
        body, seconds = None, CALL_SECONDS
        try:
            large = large_file(operation, wanted)
        except TooLarge as too_large:
            raise SiteFailed(str(too_large)) from too_large
        if large is not None:
            path, body, seconds = file_path(operation, large.name, terms), large.octets, LARGE_CALL_SECONDS
            headers["Content-Type"] = "application/pkix-crl"
        elif document is not None:
            body, headers["Content-Type"] = json.dumps(document).encode("ascii"), "application/json"
        if operation.conditional:
            # Only the fields that are given change, in one transaction, as on the local store.
            headers["If-Match"] = "*"
        status, octets, backend = self._call(method, ROOT + path, headers, body, seconds)
        try:
            answer = read_json(octets, octets_most=API_ANSWER_OCTETS_MOST, fractions=True)
            if status in (200, 201):
                if terms.dry_run and operation.effect is Effect.CHANGE:
                    raise Rehearsed(read_object(Foreseen, answer))
                return read_object(operation.gives, answer)
        except DocumentRefused as refused:
            raise SiteFailed(
                f"the answer of {self.host} is not what this version reads ({refused}); {_to_update(backend)}"
            ) from refused
        raise SiteFailed(self._refusal(status, answer))

    def _call(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, seconds: float
    ) -> tuple[int, bytes, Part]:
        """Status and body of the answer, and what the backend says of itself."""
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=seconds, context=self.tls)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            octets = response.read(API_ANSWER_OCTETS_MOST + 1)
        except ssl.SSLError as error:
            raise SiteFailed(self._without_tls(error)) from error
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise SiteFailed(
                f"cannot reach the backend at {self.host} port {self.port}: {why}; does smartproxy-backend run "
                "there, and is --url right?"
            ) from error
        finally:
            connection.close()
        return response.status, octets, self._backend(response)

    def _backend(self, response: http.client.HTTPResponse) -> Part:
        """What answers.

        It does not say so before it knows the caller, and backends of before never do: then the answer itself decides.

        :raises SiteFailed: when it says that it speaks nothing that this command speaks.
        """
        version, spoken = map(response.getheader, _PART.headers)
        if version is None:
            return Part.told(BACKEND, "of before", None)
        try:
            backend = Part.told(BACKEND, version, spoken)
            agree(_PART, backend)
        except ValueError:
            raise SiteFailed(f"{self.host} does not say as the backend does what it speaks; is --url right?") from None
        except PartsApart as apart:
            raise SiteFailed(str(apart)) from apart
        return backend

    def _without_tls(self, error: ssl.SSLError) -> str:
        """Why no TLS connection came about, and what to do."""
        # OpenSSL is loaded where something went wrong only: most calls need no more than the standard library.
        from smartproxy.net.tls.error_words import BACKEND_NOT_TLS, NOT_TLS, other_backend_name, reason_words
        from smartproxy.policy.certificates.causes import VerifyError

        place = f"{self.host} port {self.port}"
        if isinstance(error, ssl.SSLCertVerificationError):
            if error.verify_code in (VerifyError.HOSTNAME_MISMATCH, VerifyError.IP_ADDRESS_MISMATCH):
                return other_backend_name(self.host)
            told = f"the certificate of {self.host} is not trusted: {error.verify_message}"
            if error.verify_code in (VerifyError.CERT_NOT_YET_VALID, VerifyError.CERT_HAS_EXPIRED):
                return (
                    f"{told}; compare the clocks of both machines, and if they are right, have a new one issued: "
                    "smartproxy authority https, on the backend's machine, and restart smartproxy-backend"
                )
            return f"{told}; give --backend-ca FILE (smartproxy authority show -o FILE, on the backend's machine)"
        words = reason_words(error)
        if words in NOT_TLS:
            return f"cannot reach the backend at {place}: {BACKEND_NOT_TLS}"
        return (
            f"cannot reach the backend at {place}: TLS failed ({words or 'the connection ended'}); does "
            "smartproxy-backend run there, and is --url right?"
        )

    def _refusal(self, status: int, answer: Any) -> str:
        """What a refused call is told."""
        problem = answer if isinstance(answer, dict) else {}
        detail, advice = problem.get("detail"), problem.get("advice")
        if not isinstance(detail, str) or not isinstance(advice, str):
            return f"{self.host} answered {status}, and not as the backend does; is --url right?"
        return detail if status in _SAID_BY_THE_OPERATION else f"{detail}; {advice}"


def _pem_in(path: str) -> str:
    """What stands in a file with certificates of CAs; text of other languages between them does not matter.

    :raises ssl.SSLError: when nothing does: the system's CAs would be trusted.
    :raises OSError: when it cannot be read.
    """
    with files.opened(path) as file:
        octets = file.read(_AUTHORITY_OCTETS_MOST)
    if not octets.strip():
        raise ssl.SSLError
    return octets.decode("ascii", "replace").encode("ascii", "replace").decode("ascii")


def _to_update(backend: Part) -> str:
    """Which part to update, or where else the fault is, after an answer that cannot be read."""
    try:
        agree(_PART, backend)
    except PartsApart as apart:
        return f"is --url the backend's? If it is, {apart.advice}"
    return f"update the older of {_PART} and {backend}"
