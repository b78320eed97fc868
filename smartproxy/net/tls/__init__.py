"""The one TLS world: contexts, verdicts on what peers show, and what is read from OpenSSL."""
