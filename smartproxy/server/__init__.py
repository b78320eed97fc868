"""Layer 4: the daemon in the DMZ."""
