"""``twistd smartproxy-backend``."""

from smartproxy.tap.extras import DaemonMaker

backend = DaemonMaker(
    "SmartProxy backend", "smartproxy.tap.backend", "SmartProxy's API, store and authority.", "smartproxy-backend"
)
