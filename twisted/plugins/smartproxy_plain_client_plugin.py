"""``twistd smartproxy-plain-client``."""

from smartproxy.tap.extras import DaemonMaker

plain_client = DaemonMaker(
    "SmartProxy plain client",
    "smartproxy.tap.plain_client",
    "The plain pair's daemon inside: any TCP protocol, no inspection.",
    "smartproxy-plain-client",
)
