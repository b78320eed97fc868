"""An administrator's request as it came in: which operation, with which input and under which conditions.

Duty: find the operation of a method and a path; read its input from path, query and body by the declared kinds; read
the headers that name conditions. What is wrong is refused with
:class:`~smartproxy.backend.requests.ApiRefused`. The other side, which makes such a request of an operation and its
input, stands here too, so that both agree. Trusts nothing in a request.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import attrs
from twisted.web.iweb import IRequest

from smartproxy.backend.change import COMMENT
from smartproxy.backend.operations import crl
from smartproxy.backend.operations.list_files import ListFile
from smartproxy.backend.operations.operation import Effect, Operation
from smartproxy.backend.operations.performing import Terms
from smartproxy.backend.requests import API, ApiRefused, header_of, method_refused, too_large
from smartproxy.policy.causes import Cause
from smartproxy.policy.limits import API_BODY_OCTETS_MOST
from smartproxy.policy.schema import ForPeople, ListOf, Optional, declared, kind, read_object, write_object
from smartproxy.policy.strict_json import DocumentRefused, read
from smartproxy.policy.values import Flag, Line, Member, ValueKind, Whole

ROOT = f"/api/v{API}/admin/"
"""Below which the operations are."""
DESCRIPTION = f"/api/v{API}/openapi.json".encode("ascii")
"""Where the description of the operations is."""
_TAGS_MOST = 1000
_TAG = re.compile(r'(?:W/)?"([!#-~]{1,64})"')
_KEY = re.compile(r"[!-~]{1,255}")
_DIGITS_MOST = 19


class TooLarge(Exception):
    """What is to be sent does not go into one call; the text says what does."""


@attrs.frozen
class OperationPlaces:
    """Where operations are.

    :param operations: all of them.
    """

    _by_path: Mapping[tuple[str, ...], Mapping[str, Operation[Any, Any]]]

    @classmethod
    def of(cls, operations: Iterable[Operation[Any, Any]]) -> "OperationPlaces":
        """The places of some operations; a path that says a word comes before one that takes any name there."""
        found: dict[tuple[str, ...], dict[str, Operation[Any, Any]]] = {}
        for each in sorted(operations, key=lambda each: [part.startswith("{") for part in each.path]):
            found.setdefault(each.path, {})[each.method] = each
        return cls(found)

    def find(self, method: str, parts: tuple[str, ...]) -> tuple[Operation[Any, Any], dict[str, str]]:
        """The operation of a call, and what its path says of the input.

        :raises ApiRefused: when there is none.
        """
        for path, methods in self._by_path.items():
            if len(path) == len(parts) and all(
                want == part or (want.startswith("{") and part) for want, part in zip(path, parts, strict=True)
            ):
                if method not in methods:
                    raise method_refused(methods)
                placed = {want[1:-1]: part for want, part in zip(path, parts, strict=True) if want.startswith("{")}
                return methods[method], placed
        there = f"see {DESCRIPTION.decode('ascii')} for those that there are"
        raise ApiRefused(404, Cause.API_PATH, "no such path", there)


def parts_of(request: IRequest) -> tuple[str, ...]:
    """The parts of a call's path below the root, in which a part may hold a slash.

    :raises ApiRefused: when one is not UTF-8.
    """
    path: bytes = request.path
    try:
        return tuple(unquote_to_bytes(part).decode("utf-8") for part in path[len(ROOT) :].split(b"/"))
    except UnicodeDecodeError:
        raise ApiRefused(400, Cause.API_PATH, "the path is malformed", "send UTF-8, percent-encoded") from None


@attrs.frozen(kw_only=True)
class ChangeTerms:
    """What the query of a call says of the change that it makes.

    :ivar dry_run: whether it is only judged, and then undone.
    :ivar comment: why it is made, for the history.
    """

    dry_run: bool = attrs.field(
        default=False, metadata=kind(Flag(), people=ForPeople(help="only tell what would change, and whom it refuses"))
    )
    comment: str | None = attrs.field(
        default=None, metadata=kind(Optional(COMMENT), people=ForPeople(help="why, for the history of changes"))
    )


@attrs.frozen(kw_only=True)
class FileTerms(ChangeTerms):
    """What the query says of a call whose body is a file.

    :ivar name: what it is called in messages and in the history.
    """

    name: str = attrs.field(
        default="the list", metadata=kind(Line(most=4096), people=ForPeople(help="what it is called in messages"))
    )


def read_request(request: IRequest, operation: Operation[Any, Any], placed: Mapping[str, str]) -> tuple[Any, Terms]:
    """The input of an operation, as a call says it, and the conditions of the call.

    :raises ApiRefused: naming everything that is wrong.
    """
    in_query = declared(operation.takes) if operation.method in WITHOUT_BODY else {}
    of_change = declared(ChangeTerms) if operation.effect is Effect.CHANGE else {}
    try:
        query = _query(request, {**in_query, **of_change})
        terms = read_object(ChangeTerms, {key: query.pop(key) for key in of_change if key in query})
        said = query if operation.method in WITHOUT_BODY else _body(request)
        double = said.keys() & placed.keys()
        if double:
            raise DocumentRefused(
                where=sorted(double)[0], cause=Cause.DOCUMENT_KEY_UNKNOWN, message="stands in the path, and only there"
            )
        kinds = declared(operation.takes)
        in_path = {key: _plain(kinds[key], text) for key, text in placed.items()}
        return read_object(operation.takes, {**said, **in_path}), _terms(request, operation, terms)
    except DocumentRefused as refused:
        raise _input_refused(refused) from refused


def _input_refused(refused: DocumentRefused) -> ApiRefused:
    faults = tuple((each.where, each.message) for each in (refused, *refused.others))
    return ApiRefused(
        400, Cause.API_INPUT, f"the call is not right: {refused}", "send what the API's description says", faults
    )


def read_file_request(request: IRequest, operation: Operation[Any, Any]) -> tuple[str, Terms]:
    """What the file is called that is the body of a call, and the conditions of the call.

    :raises ApiRefused: naming everything that is wrong.
    """
    try:
        said = read_object(FileTerms, _query(request, declared(FileTerms)))
    except DocumentRefused as refused:
        raise _input_refused(refused) from refused
    return said.name, _terms(request, operation, ChangeTerms(dry_run=said.dry_run, comment=said.comment))


WITHOUT_BODY = frozenset({"GET", "DELETE"})
"""Methods whose input stands in path and query."""


def _terms(request: IRequest, operation: Operation[Any, Any], of_change: ChangeTerms) -> Terms:
    """The conditions of a call, from its headers beside those in its query.

    :raises ApiRefused: when one that is needed is missing, or one cannot be read.
    """
    key = header_of(request, b"idempotency-key") or None
    if key is not None and (operation.method != "POST" or _KEY.fullmatch(key) is None):
        raise ApiRefused(
            400,
            Cause.API_KEY,
            "Idempotency-Key is not usable here",
            "send 1 to 255 printable characters, with POST only",
        )
    seen = tags_of(request, b"if-match")
    if seen is None and operation.conditional:
        raise ApiRefused(
            428,
            Cause.API_CONDITION,
            "the call does not say which state it changes",
            "send If-Match with the ETag that you got, or If-Match: * to change whatever is there",
        )
    anyhow = seen is None or "*" in seen
    return Terms(
        seen=None if anyhow else [each.partition(".")[0] for each in seen or ()],
        key=key,
        comment=of_change.comment,
        dry_run=of_change.dry_run,
    )


def tags_of(request: IRequest, header: bytes) -> list[str] | None:
    """The tags in a header, without quotes; ``*`` for any; ``None`` where there is none.

    :raises ApiRefused: when it is longer than any that makes sense, or holds something else.
    """
    text = header_of(request, header)
    if not text:
        return None
    if text == "*":
        return ["*"]
    found = [_TAG.fullmatch(each.strip()) for each in text.split(",")] if len(text) <= _TAGS_MOST else [None]
    if not all(found):
        raise ApiRefused(
            400,
            Cause.API_ETAG,
            f"{header.decode('ascii')} is malformed",
            "send the ETag of an answer, in quotes",
        )
    return [each[1] for each in found if each is not None]


def request_of(operation: Operation[Any, Any], wanted: Any, terms: Terms) -> tuple[str, str, object | None]:
    """The call that carries an operation out: method, path with query below the root, and the document of its body."""
    said = write_object(wanted)
    of_change = write_object(ChangeTerms(dry_run=terms.dry_run, comment=terms.comment))
    path = "/".join(
        quote(str(said.pop(part[1:-1])), safe="") if part.startswith("{") else part for part in operation.path
    )
    body = None if operation.method in WITHOUT_BODY else said
    in_query = (said if body is None else {}) | (of_change if operation.effect is Effect.CHANGE else {})
    pairs = [
        f"{quote(name)}={quote(_in_query(each), safe='')}"
        for name, value in in_query.items()
        if value is not None and value is not False
        for each in (value if isinstance(value, list) else [value])
    ]
    return operation.method, path + ("?" + "&".join(pairs) if pairs else ""), body


def large_file(operation: Operation[Any, Any], wanted: Any) -> ListFile | None:
    """The file with revocation lists that is a call's body because it is too large to stand in a document.

    :raises TooLarge: when it is one of several.
    """
    if operation is not crl.load or sum(len(each.octets) for each in wanted.files) * 4 // 3 < API_BODY_OCTETS_MOST // 2:
        return None
    if len(wanted.files) != 1:
        raise TooLarge("together these files are too large for one call; load them one by one")
    file: ListFile = wanted.files[0]
    return file


def file_path(operation: Operation[Any, Any], name: str, terms: Terms) -> str:
    """Path with query below the root of a call whose body is a file."""
    said = write_object(FileTerms(name=name, dry_run=terms.dry_run, comment=terms.comment))
    pairs = [f"{key}={quote(_in_query(each), safe='')}" for key, each in said.items() if each]
    return "/".join(operation.path) + "?" + "&".join(pairs)


def _in_query(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _body(request: IRequest) -> dict[str, object]:
    """The object that a call carries; an empty one for none."""
    if getattr(request, "body_refused", False):
        raise ApiRefused(503, Cause.STORE_BUSY, "the store is busy", "send the call again in a few seconds")
    octets = b"" if request.content is None else request.content.read(API_BODY_OCTETS_MOST + 1)
    if len(octets) > API_BODY_OCTETS_MOST:
        raise too_large()
    document = read(octets, octets_most=API_BODY_OCTETS_MOST) if octets else {}
    if not isinstance(document, dict):
        raise DocumentRefused(where="body", cause=Cause.DOCUMENT_TYPE, message="has to be an object")
    return document


def _query(request: IRequest, kinds: Mapping[str, ValueKind]) -> dict[str, object]:
    """What the query says, as a document has it."""
    found: dict[str, object] = {}
    for name, values in (request.args or {}).items():
        try:
            key, texts = name.decode("utf-8"), [each.decode("utf-8") for each in values]
        except UnicodeDecodeError:
            raise DocumentRefused(where="query", cause=Cause.DOCUMENT_JSON, message="is not UTF-8") from None
        kind = kinds.get(key)
        if kind is None:
            raise DocumentRefused(where="query", cause=Cause.DOCUMENT_KEY_UNKNOWN, message=f"has no {key[:64]!a} here")
        kind = kind.within if isinstance(kind, Optional) else kind
        if isinstance(kind, ListOf):
            found[key] = [_plain(kind.item, text) for text in texts]
        elif len(texts) > 1:
            raise DocumentRefused(where=key, cause=Cause.DOCUMENT_NOT_UNIQUE, message="stands twice in the query")
        else:
            found[key] = _plain(kind, texts[0])
    return found


def _plain(kind: ValueKind, text: str) -> object:
    """A text of a query as the value that a document has; what it is not stays a text, which its kind refuses."""
    match kind:
        case Flag():
            return {"true": True, "false": False}.get(text, text)
        case Whole() if re.fullmatch(r"-?[0-9]+", text, re.ASCII) and len(text) <= _DIGITS_MOST:
            return int(text)
        case Member():
            return next((each.value for each in kind.members if str(each.value) == text), text)
        case _:
            return text
