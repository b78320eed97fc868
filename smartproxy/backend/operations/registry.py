"""All operations, by name: the one list that the faces go by."""

from typing import Any

from smartproxy.backend.operations import proposing, second, sheets, watching
from smartproxy.backend.operations.account import ACCOUNT
from smartproxy.backend.operations.admin_token import ADMIN_TOKEN
from smartproxy.backend.operations.audit import AUDIT
from smartproxy.backend.operations.authority import AUTHORITY
from smartproxy.backend.operations.ca import CA
from smartproxy.backend.operations.client import CLIENT
from smartproxy.backend.operations.crl import CRL
from smartproxy.backend.operations.event_script import EVENT_SCRIPT
from smartproxy.backend.operations.events import EVENTS
from smartproxy.backend.operations.figures import FIGURES
from smartproxy.backend.operations.history import HISTORY
from smartproxy.backend.operations.identity import IDENTITY
from smartproxy.backend.operations.ignore import IGNORE
from smartproxy.backend.operations.licence import LICENCE
from smartproxy.backend.operations.nodes import NODES
from smartproxy.backend.operations.operation import Operation, operations_of
from smartproxy.backend.operations.overview import OVERVIEW
from smartproxy.backend.operations.partner import PARTNER
from smartproxy.backend.operations.refusal import REFUSAL
from smartproxy.backend.operations.session import SESSION
from smartproxy.backend.operations.settings import SETTINGS
from smartproxy.backend.operations.setup import SETUP
from smartproxy.backend.operations.transfer import TRANSFER
from smartproxy.backend.operations.trial import TRIAL
from smartproxy.backend.operations.trust_list import TRUST_LIST
from smartproxy.backend.operations.user import USER

MODULES = (proposing, second, sheets, watching)
"""Modules that add operations to a family of another one."""
FAMILIES = (
    PARTNER,
    CA,
    CRL,
    TRUST_LIST,
    IDENTITY,
    CLIENT,
    LICENCE,
    AUTHORITY,
    NODES,
    SETTINGS,
    EVENTS,
    TRANSFER,
    IGNORE,
    EVENT_SCRIPT,
    REFUSAL,
    SESSION,
    FIGURES,
    OVERVIEW,
    HISTORY,
    AUDIT,
    TRIAL,
    ADMIN_TOKEN,
    USER,
    ACCOUNT,
    SETUP,
)
"""In the order in which the API's description lists them."""
OPERATIONS: dict[str, Operation[Any, Any]] = operations_of(FAMILIES)
