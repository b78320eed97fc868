"""What stands in a request of the API, read with care: token, body, conditions. And answers, as JSON."""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from twisted.web.iweb import IRequest

from smartproxy.backend.refusals import CallRefused

BODY_OCTETS_MOST = 1024 * 1024
WAIT_SECONDS_MOST = 60

_BEARER = re.compile(r"bearer +([!-~]{1,200})", re.IGNORECASE)
_ETAG = re.compile(r'"(\d{1,19})"')


def address_of(request: IRequest) -> str:
    """The address that a request came from, without its port."""
    return str(getattr(request.getClientAddress(), "host", "unknown"))


def token_of(request: IRequest) -> str:
    """The caller's token: of ``Authorization: Bearer``, or else of ``SmartProxy-Token``.

    The second is for sites where a web server in front of the backend needs the first for itself.

    :raises CallRefused: when there is none.
    """
    match = _BEARER.fullmatch((request.getHeader("authorization") or "").strip())
    token = match[1] if match else (request.getHeader("smartproxy-token") or "").strip()
    if not token:
        raise CallRefused(401, "no_token", "the call has no token", "send the header Authorization: Bearer TOKEN")
    return token


def body_of(request: IRequest) -> dict[str, Any]:
    """The JSON object that a request carries.

    :raises CallRefused: when it is larger than allowed, or is not one.
    """
    if request.content is None:
        return {}
    octets = request.content.read(BODY_OCTETS_MOST + 1)
    if len(octets) > BODY_OCTETS_MOST:
        raise too_large()
    try:
        body = json.loads(octets.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise CallRefused(400, "body", "the body is not JSON", "send one JSON object, in UTF-8") from error
    if not isinstance(body, dict):
        raise CallRefused(400, "body", "the body is not a JSON object", "send one JSON object, in UTF-8")
    return body


def too_large() -> CallRefused:
    """The refusal of a body that is larger than allowed."""
    return CallRefused(413, "too_large", "the body is too large", f"send {BODY_OCTETS_MOST} octets at most")


def known_generation(request: IRequest) -> int | None:
    """The generation that the caller has, by ``If-None-Match``; ``None`` when it has none, or one not of ours."""
    match = _ETAG.fullmatch((request.getHeader("if-none-match") or "").strip())
    return int(match[1]) if match else None


def wait_seconds(request: IRequest) -> int:
    """How long the caller is willing to wait for a change.

    :raises CallRefused: when that is not a number of seconds that is allowed.
    """
    given = (request.args or {}).get(b"wait", [b"0"])[-1]
    if not given.isdigit() or len(given) > 3 or int(given) > WAIT_SECONDS_MOST:
        raise CallRefused(400, "wait", "wait is not a number of seconds", f"send 0 to {WAIT_SECONDS_MOST}")
    return int(given)


def json_answer(request: IRequest, document: Mapping[str, object], status: int = 200) -> bytes:
    """A document as the answer."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"cache-control", b"no-store")
    return json.dumps(document).encode("utf-8")


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found
