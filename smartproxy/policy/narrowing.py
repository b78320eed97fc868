"""What a partner may do by one entry and may not by another, as operators are told before they change it.

Compares what the entries allow, and not what the partner really does. How its certificates are recognized is not
judged here.
"""

from collections.abc import Iterator

from smartproxy.oftp2.roles import Profile
from smartproxy.policy.partners import ANY_CODE, Authentication, Partner, Purpose

_NARROWER = (Purpose.ANY, Purpose.SERVER_AUTH, Purpose.STRICT)


def narrowings(before: Partner, after: Partner) -> Iterator[str]:
    """What *after* refuses and *before* allows; each is a sentence without full stop."""
    for code in before.codes:
        if code not in after.codes:
            yield f"its code {code} is not known any more"
    if after.lowest_level > before.lowest_level:
        yield f"release levels below {after.lowest_level.label} are refused"
    if after.authentication not in (before.authentication, Authentication.EITHER):
        yield f"secure authentication is {after.authentication.value}"
    if (before.profile, after.profile) == (Profile.DEFAULT, Profile.STRICT):
        yield "no departure from RFC 5024 is tolerated any more"
    if _NARROWER.index(after.purpose) > _NARROWER.index(before.purpose):
        yield f"the extended key usage of its certificate has to be {after.purpose.value}"
    for what, old, new in (
        ("originators", before.originators, after.originators),
        ("destinations", before.destinations, after.destinations),
    ):
        if ANY_CODE not in new and set(old) - set(new):
            yield f"files with other {what} than {', '.join(new)} are refused"
    if before.outbound is not None and after.outbound is None:
        yield "it is not called any more"
