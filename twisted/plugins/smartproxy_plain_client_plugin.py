"""``twistd smartproxy-plain-client``."""

from twisted.application.service import ServiceMaker

plain_client = ServiceMaker(
    "SmartProxy plain client",
    "smartproxy.tap.plain_client",
    "The plain pair's daemon inside: any TCP protocol, no inspection.",
    "smartproxy-plain-client",
)
