"""The public test kit: certificates, stations, partners and faults for testing OFTP2 programs and SmartProxy itself.

- :mod:`~smartproxy.testing.pki` makes authorities, certificates with every oddity, and revocation lists.
- :mod:`~smartproxy.testing.entity` is an OFTP2 entity without sockets; :mod:`~smartproxy.testing.station` and
  :mod:`~smartproxy.testing.partner` put it on TCP and TLS.
- :mod:`~smartproxy.testing.hostile` has partners that break the rules, one scenario each.
- :mod:`~smartproxy.testing.site` runs a whole site as processes; ``python -m smartproxy.testing demo`` shows it.
"""
