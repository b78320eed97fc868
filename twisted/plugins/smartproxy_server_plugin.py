"""``twistd smartproxy-server``."""

from smartproxy.tap.extras import DaemonMaker

server = DaemonMaker(
    "SmartProxy server", "smartproxy.tap.server", "SmartProxy's daemon in the DMZ.", "smartproxy-server"
)
