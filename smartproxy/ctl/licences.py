"""What daemons answer of licences, made from the licences themselves.

Apart from :mod:`smartproxy.ctl.answers`, which the command imports at its start: reading a licence takes the library of
its signature along.
"""

from collections.abc import Mapping
from datetime import datetime

from smartproxy.ctl.answers import Licences, ToldLicence
from smartproxy.policy.licence import Licence, LicenceRefused, read


def told(licence: Licence, now: datetime) -> ToldLicence:
    """What is told of a licence."""
    return ToldLicence(
        proxy_id=licence.proxy_id,
        site=licence.site,
        valid_from=licence.valid_from,
        valid_until=licence.valid_until,
        days_left=licence.days_left(now),
        in_force=licence.in_force(now),
        limits=licence.limits,
    )


def read_licences(texts: Mapping[str, str], now: datetime) -> Licences:
    """What is told of licences as they were issued, by their Proxy IDs."""
    found = []
    for proxy_id, text in texts.items():
        try:
            found.append(told(read(text, proxy_id, now), now))
        except LicenceRefused as refused:
            found.append(ToldLicence(proxy_id=proxy_id, refused=str(refused)))
    return Licences(licences=tuple(found))
