"""``twistd smartproxy-client``."""

from twisted.application.service import ServiceMaker

client = ServiceMaker("SmartProxy client", "smartproxy.tap.client", "SmartProxy's daemon inside.", "smartproxy-client")
