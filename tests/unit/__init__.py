"""One module at a time, no sockets."""
