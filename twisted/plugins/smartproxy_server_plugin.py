"""``twistd smartproxy-server``."""

from twisted.application.service import ServiceMaker

server = ServiceMaker(
    "SmartProxy server", "smartproxy.tap.server", "SmartProxy's daemon in the DMZ.", "smartproxy-server"
)
