"""One generation of the configuration, as the partners' side of the server uses it."""

from collections.abc import Callable
from datetime import datetime

import attrs

from smartproxy.net.tls.context import PartnerContexts
from smartproxy.policy.configuration import ServerPart


@attrs.frozen
class Generation:
    """A generation with its TLS contexts; a connection keeps the one that was in force when it was accepted."""

    part: ServerPart
    contexts: PartnerContexts

    @classmethod
    def build(cls, part: ServerPart, now: Callable[[], datetime]) -> "Generation":
        """Make the contexts of a generation.

        :raises CertificateUnusable: if one of its certificates cannot be used.
        """
        return cls(part, PartnerContexts(part.server, now))
