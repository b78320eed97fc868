"""``twistd smartproxy-client``."""

from smartproxy.tap.extras import DaemonMaker

client = DaemonMaker("SmartProxy client", "smartproxy.tap.client", "SmartProxy's daemon inside.", "smartproxy-client")
