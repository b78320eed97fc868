"""The tests. Unit, conformance and adapter tests open no socket and read no real clock.

Hypothesis judges values, never seconds: on a machine that does something else at the same time, too, a slow example is
no fault.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
