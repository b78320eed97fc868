"""Where things are unless an operator says otherwise: one list for all daemons, commands and documents."""

from typing import Final

LICENCE_FILE: Final = "/etc/smartproxy.lic"
"""The server's licence."""
STATE_DIRECTORY: Final = "/var/lib/smartproxy"
"""What a daemon keeps: the server's identity key, the backend's store."""
STATE_DIRECTORY_VARIABLE: Final = "SMARTPROXY_STATE_DIR"
DATABASE_VARIABLE: Final = "SMARTPROXY_DATABASE"
STORE_KEY_VARIABLE: Final = "SMARTPROXY_STORE_KEY"
STORE_KEY_CREDENTIAL: Final = "smartproxy-store-key"
STORE_KEY_NAME: Final = "store.key"
"""What the store's secrets are encrypted with, in the state folder, if nothing else is said."""
TOKEN_VARIABLE: Final = "SMARTPROXY_TOKEN"
TOKEN_CREDENTIAL: Final = "smartproxy-token"
IDENTITY_KEY_NAME: Final = "identity.key"
"""The server's identity key in its state directory."""
SOCKET_SUFFIX: Final = ".sock"
"""Of a daemon's control socket, which has the program's name in its state directory."""
TUNNEL_PORT: Final = 2878
"""Where the server awaits its client."""
BACKEND_PORT: Final = 8443
"""Where the backend awaits its clients."""
