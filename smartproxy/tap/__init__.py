"""Layer 5: command lines. Options and services of the twistd plugins, and the ``smartproxy`` command."""
