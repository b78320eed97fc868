"""``twistd smartproxy-plain-server``."""

from smartproxy.tap.extras import DaemonMaker

plain_server = DaemonMaker(
    "SmartProxy plain server",
    "smartproxy.tap.plain_server",
    "The plain pair's daemon in the DMZ: any TCP protocol, no inspection.",
    "smartproxy-plain-server",
)
