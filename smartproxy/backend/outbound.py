"""How partners are called: what an operator says of it, merged into what was said before.

Works on the object of the configuration document as it is; what a value may be is judged by
:mod:`smartproxy.policy.configuration` when the change becomes a generation.
"""

from collections.abc import Mapping

from smartproxy.backend.change import Change
from smartproxy.backend.errors import NotFound
from smartproxy.backend.partners import find, note
from smartproxy.backend.schema import PartnerRow


def put(change: Change, name: str, values: Mapping[str, object]) -> PartnerRow:
    """Say how a partner is called; what is not given stays as it was.

    :raises NotFound: when there is no such partner, or he has no host yet and none is given.
    """
    row = find(change.session, name)
    merged = {**(row.outbound or {}), **values}
    if "host" not in merged:
        raise NotFound(f"where {name} is called is not known yet: give --host")
    row.outbound = merged
    note(change, row)
    return row


def remove(change: Change, name: str) -> PartnerRow:
    """Do not call a partner any more."""
    row = find(change.session, name)
    row.outbound = None
    note(change, row)
    return row
