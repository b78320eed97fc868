"""All operations, by name: the one list that the faces go by."""

from typing import Any

from smartproxy.backend.operations import sheets
from smartproxy.backend.operations.operation import Operation, operations_of
from smartproxy.backend.operations.partner import PARTNER

MODULES = (sheets,)
"""Modules that add operations to a family of another one."""
FAMILIES = (PARTNER,)
"""In the order in which the API's description lists them."""
OPERATIONS: dict[str, Operation[Any, Any]] = operations_of(FAMILIES)
