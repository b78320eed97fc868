"""How local programs ask for a connection to a partner: a port of its own, HTTP CONNECT or SOCKS5."""
