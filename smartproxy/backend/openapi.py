"""The API's description (OpenAPI 3.1), made of the operations' declarations.

Nothing about an operation or a value is said here: summaries, scopes, paths, kinds and helps are those of the
declarations. Here is only what each kind is called in JSON Schema, and what is the same for all operations.
"""

from collections.abc import Iterable
from typing import Any

import attrs

from smartproxy._version import __version__
from smartproxy.backend.operation_requests import ROOT, WITHOUT_BODY, ChangeTerms
from smartproxy.backend.operations.operation import Effect, Operation
from smartproxy.backend.operations.shapes import (
    MOMENT,
    AnyText,
    Foreseen,
    InBase64,
    Instantaneous,
    JsonObject,
    Word,
)
from smartproxy.policy import limits
from smartproxy.policy.schema import (
    Counts,
    ListOf,
    ObjectOf,
    Optional,
    PartOf,
    SettingDeclaration,
    Tagged,
    declarations,
)
from smartproxy.policy.values import (
    Address,
    Fixed,
    Flag,
    Instant,
    Line,
    Lines,
    Member,
    Network,
    PeerText,
    Pem,
    Serials,
    ValueKind,
    Whole,
)

Schema = dict[str, Any]

_DESCRIPTION = """\
What an operator does with the command `smartproxy`, over https. Each call sends `Authorization: Bearer TOKEN`; an \
administrator makes the token with `smartproxy admin-token create`. Errors are problem documents (RFC 9457) whose \
`type` is stable and whose `advice` says what to do."""
_ALWAYS = (400, 401, 403, 404, 405, 413, 426, 429, 500, 503)
_OF_CHANGES = (409, 412, 422, 428)
_WORDS = {
    400: "The call is not right; `errors` names each value that is wrong.",
    401: "The token is missing, not valid, or has ended.",
    403: "The token does not have the scope.",
    404: "It is not there.",
    405: "The path does not take the method.",
    409: "The name is taken, or the idempotency key was used for another call.",
    412: "It was changed since it was read.",
    413: "The body is too large.",
    422: "The configuration would not be valid, or what is given cannot be used.",
    426: "The caller says what it speaks, and the backend speaks nothing of it.",
    428: "If-Match is missing.",
    429: "Too many calls with tokens that are not valid.",
    500: "The backend has a fault.",
    503: "The store is busy; try again.",
}


def described(operations: Iterable[Operation[Any, Any]]) -> Schema:
    """The whole description."""
    schemas = _Schemas()
    paths: dict[str, Schema] = {}
    for each in operations:
        paths.setdefault(ROOT + "/".join(each.path), {})[each.method.lower()] = _operation(each, schemas)
    schemas.of(Foreseen)
    return {
        "openapi": "3.1.0",
        "info": {"title": "SmartProxy", "version": __version__, "description": _DESCRIPTION},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": _PROBLEM, **dict(sorted(schemas.found.items()))},
            "responses": {str(status): _problem(words) for status, words in _WORDS.items()},
            "headers": _HEADERS,
        },
    }


_PROBLEM: Schema = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "advice"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:smartproxy:problem:"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "advice": {"type": "string", "description": "what to do"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["where", "message"],
                "properties": {"where": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

_HEADERS: Schema = {
    "ETag": {"description": "What the answer is known by.", "schema": {"type": "string"}},
    "Generation": {"description": "The generation that was made.", "schema": {"type": "string"}},
}


def _problem(words: str) -> Schema:
    return {
        "description": words,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _operation(operation: Operation[Any, Any], schemas: "_Schemas") -> Schema:
    changes = operation.effect is Effect.CHANGE
    answer: Schema = {"schema": schemas.of(operation.gives)}
    headers = {"ETag": {"$ref": "#/components/headers/ETag"}}
    if changes:
        headers["SmartProxy-Generation"] = {"$ref": "#/components/headers/Generation"}
    done = {"description": "Done.", "headers": headers, "content": {"application/json": answer}}
    responses: Schema = {"201" if operation.creates else "200": done}
    if changes:
        rehearsed = {"$ref": "#/components/schemas/Foreseen"}
        if operation.creates:
            responses["200"] = {
                "description": "A dry run: what would be done.",
                "content": {"application/json": {"schema": rehearsed}},
            }
        else:
            answer["schema"] = {"anyOf": [answer["schema"], rehearsed]}
    if operation.method == "GET":
        responses["304"] = {"description": "It is what the caller has."}
    for status in (*_ALWAYS, *(() if operation.effect is Effect.READ else _OF_CHANGES)):
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    found: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Needs the scope `{operation.scope}`.",
        "tags": [operation.family.name],
        "parameters": _parameters(operation, schemas),
        "responses": responses,
    }
    if operation.method not in WITHOUT_BODY:
        body = schemas.whole(each for each in declarations(operation.takes) if each.key not in operation.placed)
        found["requestBody"] = {
            "required": bool(body.get("required")),
            "content": {"application/json": {"schema": body}},
        }
    return found


def _parameters(operation: Operation[Any, Any], schemas: "_Schemas") -> list[Schema]:
    found = []
    for each in declarations(operation.takes):
        if each.key in operation.placed:
            found.append({"name": each.key, "in": "path", "required": True, "schema": schemas.of_kind(each.kind)})
        elif operation.method in WITHOUT_BODY:
            found.append(_in_query(each, schemas))
    if operation.effect is Effect.CHANGE:
        found += [_in_query(each, schemas) for each in declarations(ChangeTerms)]
    if operation.method == "POST":
        found.append(
            _header(
                "Idempotency-Key",
                "Repeated with its key within a day, the call is answered again, not done again.",
            )
        )
    if operation.conditional:
        found.append(
            _header("If-Match", "The ETag of the state that the caller has seen; * for any. It is needed.", needed=True)
        )
    if operation.method == "GET":
        found.append(_header("If-None-Match", "The ETag of the answer that the caller has."))
    return found


def _header(name: str, words: str, *, needed: bool = False) -> Schema:
    forms = {
        "Idempotency-Key": {"type": "string", "pattern": "^[!-~]{1,255}$"},
        "If-Match": {"type": "string", "pattern": r'^(\*|"[!#-~]{1,64}")$'},
        "If-None-Match": {"type": "string", "pattern": r'^(\*|"[!#-~]{1,64}")$'},
    }
    return {"name": name, "in": "header", "required": needed, "description": words, "schema": forms[name]}


def _in_query(each: SettingDeclaration, schemas: "_Schemas") -> Schema:
    kind = each.kind.within if isinstance(each.kind, Optional) else each.kind
    schema = schemas.of_kind(kind)
    if each.default is not attrs.NOTHING and each.default is not None:
        schema = {**schema, "default": each.kind.write(each.default)}
    needed = each.default is attrs.NOTHING
    return {"name": each.key, "in": "query", "required": needed, "description": each.people.help, "schema": schema}


@attrs.frozen
class _Schemas:
    """The schemas of classes, each made once.

    :ivar found: by the classes' names.
    """

    found: dict[str, Schema] = attrs.field(factory=dict)

    def of(self, cls: type[Any]) -> Schema:
        """A reference to the schema of a class."""
        if cls.__name__ not in self.found:
            # Before its fields: a class may hold itself.
            self.found[cls.__name__] = {}
            self.found[cls.__name__] = self.whole(declarations(cls))
        return {"$ref": f"#/components/schemas/{cls.__name__}"}

    def whole(self, fields: Iterable[SettingDeclaration]) -> Schema:
        """The schema of an object with these fields."""
        properties: dict[str, Schema] = {}
        required = []
        for each in fields:
            properties[each.key] = self._field(each)
            if each.default is attrs.NOTHING:
                required.append(each.key)
        return {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            **({"required": required} if required else {}),
        }

    def _field(self, each: SettingDeclaration) -> Schema:
        schema = self.of_kind(each.kind)
        return {**schema, "description": each.people.help} if each.people.help else schema

    def of_kind(self, kind: ValueKind) -> Schema:
        """The schema of a value of a kind."""
        match kind:
            case Optional():
                return {"anyOf": [self.of_kind(kind.within), {"type": "null"}]}
            case ListOf():
                return {
                    "type": "array",
                    "items": self.of_kind(kind.item),
                    "minItems": kind.least,
                    "maxItems": kind.most,
                }
            case ObjectOf():
                return self.of(kind.cls)
            case PartOf():
                fields = [each for each in declarations(kind.cls) if each.key in kind.kinds]
                schema = self.whole(fields)
                schema.pop("required", None)
                return {**schema, **({"required": sorted(kind.required)} if kind.required else {})}
            case Tagged():
                return {"oneOf": [self._tagged(kind.key, cls) for cls in kind.classes]}
            case Counts():
                counts = {key: self.of_kind(Whole(limit)) for key, limit in kind.limits.items()}
                return {"type": "object", "properties": counts, "additionalProperties": False}
            case _:
                return _single(kind)

    def _tagged(self, key: str, cls: type[Any]) -> Schema:
        schema = self.whole(declarations(cls))
        schema["properties"] = {key: {"const": getattr(cls, key)}, **schema["properties"]}
        schema["required"] = [key, *schema.get("required", ())]
        return schema


_NO_BLANKS_AROUND = r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$"


def _single(kind: ValueKind) -> Schema:
    match kind:
        case Flag():
            return {"type": "boolean"}
        case Whole():
            return {"type": "integer", "minimum": kind.limit.least, "maximum": kind.limit.most}
        case JsonObject():
            return {"type": "object"}
        case Fixed():
            return {"const": kind.number}
        case Member():
            return {"enum": [each.value for each in kind.members]}
        case Word():
            return {"enum": list(kind.words)}
        case Instantaneous():
            return {"type": "string", "pattern": f"^{MOMENT}$"}
        case Instant():
            return {"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"}
        case Line():
            pattern = _NO_BLANKS_AROUND if kind.pattern is None else f"^(?:{kind.pattern})$"
            return {"type": "string", "minLength": 1, "maxLength": kind.most, "pattern": pattern}
        case Lines():
            return {"type": "string", "minLength": 1, "maxLength": kind.most}
        case Pem():
            return {"type": "string", "maxLength": limits.PEM_CHARACTERS_MOST, "description": f"PEM, {kind.label}"}
        case PeerText():
            return {"type": "string", "maxLength": kind.most, "pattern": r"^[^\x00-\x1f\x7f]*$"}
        case Address() | Network() | AnyText():
            return {"type": "string"}
        case InBase64():
            return {"type": "string", "contentEncoding": "base64", "maxLength": kind.characters_most}
        case Serials():
            return {"type": "array", "items": {"type": "string", "pattern": "^[0-9a-f]{1,40}$"}}
        case _:
            return {}
