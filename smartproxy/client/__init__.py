"""Layer 4: the daemon inside, which dials the server and talks to the station and the backend."""
