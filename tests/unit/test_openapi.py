"""The API's description is valid, and says what the operations are."""

from typing import Any

from openapi_spec_validator import validate
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.openapi import described
from smartproxy.backend.operation_requests import ROOT
from smartproxy.backend.operations.operation import Effect
from smartproxy.backend.operations.registry import OPERATIONS
from smartproxy.policy.schema import declared
from smartproxy.policy.values import ValueKind


class Description(SynchronousTestCase):
    """The whole of it."""

    def setUp(self) -> None:
        """Make it."""
        self.document = described(OPERATIONS.values())

    def operations(self) -> dict[str, tuple[str, str, dict[str, Any]]]:
        """Path, method and description of each operation, by its name."""
        return {
            each["operationId"]: (path, method, each)
            for path, methods in self.document["paths"].items()
            for method, each in methods.items()
        }

    def test_valid(self) -> None:
        """It is OpenAPI 3.1."""
        validate(self.document)

    def test_every_operation(self) -> None:
        """Every operation is in it with its place, its scope, and every field of its input; nothing else is."""
        found = self.operations()
        self.assertEqual(found.keys(), OPERATIONS.keys())
        for name, operation in OPERATIONS.items():
            path, method, each = found[name]
            self.assertEqual((path, method), (ROOT + "/".join(operation.path), operation.method.lower()))
            self.assertIn(operation.scope, each["description"])
            own = {"dry_run", "comment"} if operation.effect is Effect.CHANGE else set()
            said = {one["name"] for one in each["parameters"] if one["in"] != "header"} - own
            if "requestBody" in each:
                said |= each["requestBody"]["content"]["application/json"]["schema"]["properties"].keys()
            self.assertEqual(said, set(declared(operation.takes)), name)
            needed = {one["name"] for one in each["parameters"] if one["in"] == "header" and one["required"]}
            self.assertEqual(needed, {"If-Match"} if operation.conditional else set(), name)

    def test_every_kind(self) -> None:
        """Every value says what it is; only what may be anything says nothing."""
        empty = []

        def walk(node: object, place: str) -> None:
            if isinstance(node, dict):
                for key, inner in node.get("properties", {}).items():
                    if not {"type", "anyOf", "oneOf", "$ref", "const", "enum"} & inner.keys():
                        empty.append(f"{place}.{key}")
                for key, inner in node.items():
                    walk(inner, key if key != "properties" else place)
            elif isinstance(node, list):
                for inner in node:
                    walk(inner, place)

        walk(self.document, "")
        anything = {f"EntryDifference.{key}" for key in ("name", "before", "after")}
        anything |= {"SettingValue.value", "KnownSetting.value", "KnownSetting.default", "KnownEvent.fields"}
        anything |= {"Fact.value", "KnownRecord.facts", "TestedScript.event"}
        self.assertEqual(set(empty), anything)

    def test_limits(self) -> None:
        """The bounds of a value are those of its kind."""
        schemas = self.document["components"]["schemas"]
        port = schemas["Outbound"]["properties"]["port"]
        kinds: dict[str, ValueKind] = declared(OPERATIONS["partner.list"].takes)
        limit: Any = kinds["limit"]
        (parameter,) = [e for e in self.operations()["partner.list"][2]["parameters"] if e["name"] == "limit"]
        self.assertEqual(parameter["schema"]["maximum"], limit.limit.most)
        self.assertEqual((port["type"], port["minimum"], port["maximum"]), ("integer", 1, 65535))
