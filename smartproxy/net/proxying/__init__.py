"""How programs of the inside ask for a connection to a partner: a port each, HTTP CONNECT, SOCKS5."""
