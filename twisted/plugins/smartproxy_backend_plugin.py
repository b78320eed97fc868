"""``twistd smartproxy-backend``."""

from twisted.application.service import ServiceMaker

backend = ServiceMaker(
    "SmartProxy backend", "smartproxy.tap.backend", "SmartProxy's API, store and authority.", "smartproxy-backend"
)
