"""All operations, by name: the one list that the faces go by."""

from typing import Any

from smartproxy.backend.operations import proposing, sheets
from smartproxy.backend.operations.admin_token import ADMIN_TOKEN
from smartproxy.backend.operations.ca import CA
from smartproxy.backend.operations.client import CLIENT
from smartproxy.backend.operations.events import EVENTS
from smartproxy.backend.operations.history import HISTORY
from smartproxy.backend.operations.operation import Operation, operations_of
from smartproxy.backend.operations.partner import PARTNER
from smartproxy.backend.operations.settings import SETTINGS
from smartproxy.backend.operations.trial import TRIAL
from smartproxy.backend.operations.user import USER

MODULES = (proposing, sheets)
"""Modules that add operations to a family of another one."""
FAMILIES = (PARTNER, CA, CLIENT, SETTINGS, EVENTS, HISTORY, TRIAL, ADMIN_TOKEN, USER)
"""In the order in which the API's description lists them."""
OPERATIONS: dict[str, Operation[Any, Any]] = operations_of(FAMILIES)
