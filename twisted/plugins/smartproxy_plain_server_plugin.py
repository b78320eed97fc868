"""``twistd smartproxy-plain-server``."""

from twisted.application.service import ServiceMaker

plain_server = ServiceMaker(
    "SmartProxy plain server",
    "smartproxy.tap.plain_server",
    "The plain pair's daemon in the DMZ: any TCP protocol, no inspection.",
    "smartproxy-plain-server",
)
