"""Trust lists (ETSI TS 119 612) as an operator names them: where a list is, and whose signature it has to have.

Duty: the entry of a trust list, which is in no document. A list is never trusted by itself: it proposes CAs.
"""

import attrs

from smartproxy.policy import limits
from smartproxy.policy.certificates.downloads import URL_PATTERN
from smartproxy.policy.schema import ForPeople, Optional, kind
from smartproxy.policy.values import NAME, Line, Pem, Whole


@attrs.frozen(kw_only=True)
class TrustListEntry:
    """A trust list.

    :ivar name: its unique name at this site.
    :ivar signers: the certificates of which one has to have signed it, as PEM.
    :ivar url: where it is downloaded from; ``None``: it is loaded from files.
    :ivar hours: how often it is downloaded.
    """

    name: str = attrs.field(metadata=kind(NAME, people=ForPeople(listed=True)))
    signers: str = attrs.field(repr=False, metadata=kind(Pem(label="CERTIFICATE", most=limits.TRUST_LIST_SIGNERS_MOST)))
    url: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(
                Line(
                    most=limits.CRL_URL_OCTETS,
                    pattern=URL_PATTERN,
                    form="the address of a trust list such as https://tsl.example/tsl.xml",
                )
            ),
            people=ForPeople(help="where it is downloaded from", unset="from files", listed=True),
        ),
    )
    hours: int = attrs.field(
        default=limits.TRUST_LIST_HOURS.default,
        metadata=kind(Whole(limits.TRUST_LIST_HOURS), people=ForPeople(help="download it every so many hours")),
    )
