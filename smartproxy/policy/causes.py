"""Why something happened: every cause that an event, a fault or the other daemon can name, each a stable code.

The one place for causes. A code is ``subject.what`` in lower case; it never changes its meaning, and is what detection
rules, scripts and the other daemon rely on. The sentence beside it, an event's ``message``, is for people and may
change. Rules of RFC 5024 that a peer breaks are not listed here: they stand with the code that judges them
(:mod:`smartproxy.oftp2`). Decides nothing.
"""

import enum
from typing import Self


class Cause(enum.StrEnum):
    """A cause; the value is its code.

    :ivar meaning: what the code says, in one sentence, for the documents.
    """

    meaning: str

    def __new__(cls, code: str, meaning: str = "") -> Self:
        """Keep the meaning beside the code; it may be left out only where a code is looked up."""
        made = str.__new__(cls, code)
        made._value_ = code
        made.meaning = meaning
        return made

    # sessions and their legs

    LEG_LOST = "leg.lost", "The connection to one side was lost."
    LEG_ENDED = "leg.ended", "The other daemon ended the session without an ESID."
    SESSION_COMPLETED = "session.completed", "One side ended the session with ESID 00."
    SESSION_ABORTED = "session.aborted", "One side ended the session with another ESID than 00."
    SESSION_CLOSED = "session.closed", "The other daemon asked to end the session."
    SESSION_KILLED = "session.killed", "An operator ended the session."
    SESSION_OPEN = "session.open", "A session with this id is open already."
    SESSION_FACTS = "session.facts", "What the server said of a session is not enough to begin it."
    OPENING_FAILED = "opening.failed", "A bug kept the other side of the session from being opened."
    DEADLINE_SSID = "deadline.ssid", "No SSID came in time."
    DEADLINE_OPENING = "deadline.opening", "The other side was not there in time."
    DEADLINE_AUTHENTICATION = "deadline.authentication", "SSIDs and secure authentication were not done in time."
    DEADLINE_BUFFER = "deadline.buffer", "An Exchange Buffer that was begun was not completed in time."
    DEADLINE_INACTIVITY = "deadline.inactivity", "No octets came for too long."
    DEADLINE_CLOSING = "deadline.closing", "The connections were not closed in time."
    INTERNAL_ERROR = "internal.error", "A bug of this program."

    # the tunnel

    TUNNEL_LOST = "tunnel.lost", "The tunnel between server and client was lost."
    TUNNEL_NONE = "tunnel.none", "There is no tunnel: no client, or no server, is connected."
    TUNNEL_CLOSED = "tunnel.closed", "The other daemon closed the connection."
    TUNNEL_STOPPED = "tunnel.stopped", "This daemon stops, or was told to end the connection."
    TUNNEL_IDLE = "tunnel.idle", "The connection was not needed."
    TUNNEL_NEWER = "tunnel.newer", "A newer connection of the same client took its place."
    TUNNEL_SILENT = "tunnel.silent", "The other daemon does not answer."
    TUNNEL_CLOSING = "tunnel.closing", "The other daemon did not close, or end a session, in time."
    TUNNEL_HELLO = "tunnel.hello", "The client did not say Hello in time, or Hello failed."
    TUNNEL_VIOLATION = "tunnel.violation", "The other daemon broke the tunnel's rules."
    TUNNEL_BUG = "tunnel.bug", "A bug of this program ended the connection."
    TUNNEL_QUESTION = "tunnel.question", "The other daemon could not do what it was asked; its own log says why."
    TUNNEL_UNKNOWN_CAUSE = "tunnel.unknown_cause", "The other daemon named a cause that this version does not know."
    TUNNEL_POOL = "tunnel.pool", "The client has no data connection for the session."
    TUNNEL_CROWDED = "tunnel.crowded", "Too many connections at the tunnel's port have not proved who they are."
    TUNNEL_VERSIONS = "tunnel.versions", "The versions of server and client cannot work together."
    TUNNEL_NAME_TAKEN = "tunnel.name_taken", "A client of the same name is connected already."
    TUNNEL_REFUSED = "tunnel.refused", "The other daemon ended the connection before it was ready."
    TUNNEL_CONNECT = "tunnel.connect", "There is no connection to the server."
    TUNNEL_TLS = "tunnel.tls", "The TLS handshake failed."
    TUNNEL_HANDSHAKE_TIMEOUT = "tunnel.handshake_timeout", "The TLS handshake was not complete in time."
    TUNNEL_UNPROVED = "tunnel.unproved", "The other end did not prove who it is."
    TUNNEL_WRONG_SERVER_KEY = "tunnel.wrong_server_key", "The server's key is none that this site licensed."
    TUNNEL_PROTOCOL = "tunnel.protocol", "The client names no kind of connection that the server knows."
    TUNNEL_NO_CONTROL = "tunnel.no_control", "A data connection came without its client's control connection."
    TUNNEL_TOO_MANY = "tunnel.too_many", "The client has too many data connections without a session."
    TUNNEL_EVENT_SIZE = "tunnel.event_size", "An event does not fit into the tunnel."
    TUNNEL_EVENTS_MANY = "tunnel.events_many", "Too many events waited for the tunnel."
    OPENING_VIOLATION = "opening.violation", "The program at the other side broke the protocol in its greeting."
    BOX_KIND = "box.kind", "A box is neither question nor answer."
    BOX_TWICE = "box.twice", "A box has the same key twice."
    BOX_KEYS = "box.keys", "A box has too many keys."
    BOX_SIZE = "box.size", "A box, or a value in it, is too large."
    VALUE_MALFORMED = "value.malformed", "A value of a question or an answer is not what it has to be."
    ANSWER_UNKNOWN = "answer.unknown", "An answer came to a question that was not asked."
    ANSWER_ERROR = "answer.error", "An answer is an error that the question does not know."
    ANSWER_UNREAD = "answer.unread", "Questions come, and their answers are not read."
    COMMAND_UNKNOWN = "command.unknown", "No command has this name."
    COMMAND_FORBIDDEN = "command.forbidden", "The command is not for this side to ask in this phase."
    QUESTION_TAG = "question.tag", "A question has no tag of its own."
    QUESTION_MANY = "question.many", "Too many questions are not answered yet."
    HELLO_TWICE = "hello.twice", "The client said Hello twice."
    TICKET_UNKNOWN = "ticket.unknown", "A ticket was never issued, was used before, or is too late."
    CHUNK_ORDER = "chunk.order", "A chunk of a configuration came out of order."
    CHUNK_MIXED = "chunk.mixed", "A chunk belongs to another configuration than the first."
    CHUNK_SIZE = "chunk.size", "A chunk of a configuration has the wrong size."
    DATA_ATTACH = "data.attach", "ATTACH came within a session, or from the wrong side."
    DATA_END = "data.end", "END came outside of a session."
    DATA_UNATTACHED = "data.unattached", "Octets came outside of a session."
    MARK_ATTACH = "mark.attach", "A data connection does not begin with ATTACH."
    MARK_KIND = "mark.kind", "There is no mark of this kind and length."
    MARK_LENGTH = "mark.length", "There is no mark of this length."
    MARK_UNIT = "mark.unit", "A unit is too short for its own header."

    # partners, the door and limits

    QUOTA_SESSIONS = "quota.sessions", "The limit of sessions is reached."
    QUOTA_PARTNER = "quota.sessions_per_partner", "The limit of sessions with one partner is reached."
    PENALTY_BANNED = "penalty.banned", "The address is banned."
    PENALTY_OVER = "penalty.over", "The time of a ban is over."
    PENALTY_NO_TLS = "penalty.no_tls", "The address is banned: what it sent is not TLS, again and again."
    PENALTY_HANDSHAKES = "penalty.handshakes", "The address is banned: its TLS handshakes failed again and again."
    PENALTY_SILENCE = "penalty.silence", "The address is banned: it connected and said nothing, again and again."
    PENALTY_CERTIFICATES = (
        "penalty.certificates",
        "The address is banned: its certificates were refused repeatedly.",
    )
    PENALTY_REVOKED = "penalty.revoked", "The address is banned: it showed revoked certificates."
    PENALTY_PROTOCOL = "penalty.protocol", "The address is banned: it broke the protocol again and again."
    PENALTY_IDENTITY = "penalty.identity", "The address is banned: it used codes of others."
    CONNECTION_SILENT = "connection.silent", "The connection ended before an octet came: somebody looked at the port."
    HANDSHAKE_TIMEOUT = "handshake.timeout", "The TLS handshake was not complete in time."
    HANDSHAKE_NOT_TLS = "handshake.not_tls", "What came is not TLS."
    HANDSHAKE_FAILED = "handshake.failed", "The TLS handshake failed."
    HANDSHAKE_ENDED = "handshake.ended", "The connection ended before TLS was established."
    HANDSHAKE_RENEGOTIATED = "handshake.renegotiated", "The peer wanted a second TLS handshake."

    # certificates and revocation

    CERTIFICATE_MISSING = "certificate.missing", "The peer showed no certificate."
    CERTIFICATE_UNKNOWN_CA = "certificate.unknown_ca", "The certificate comes from no configured CA and is not pinned."
    CERTIFICATE_EXPIRED = "certificate.expired", "The certificate has expired."
    CERTIFICATE_NOT_YET_VALID = "certificate.not_yet_valid", "The certificate is not valid yet."
    CERTIFICATE_REVOKED = "certificate.revoked", "The certificate is revoked."
    CERTIFICATE_REVOCATION_MISSING = "certificate.revocation_missing", "There is no revocation list of its issuer."
    CERTIFICATE_REVOCATION_STALE = "certificate.revocation_stale", "The revocation list of its issuer is not current."
    CERTIFICATE_BAD_SIGNATURE = "certificate.bad_signature", "The certificate's signature is not its issuer's."
    CERTIFICATE_WEAK_KEY = "certificate.weak_key", "The certificate's key is too weak."
    CERTIFICATE_WEAK_SIGNATURE = "certificate.weak_signature", "The certificate is signed with a hash that is too weak."
    CERTIFICATE_WRONG_PURPOSE = "certificate.wrong_purpose", "The certificate is not meant for this use."
    CERTIFICATE_PATH_TOO_LONG = "certificate.path_too_long", "The path from the certificate to its CA is too long."
    CERTIFICATE_NOT_A_CA = "certificate.not_a_ca", "A certificate of the path may not issue others."
    CERTIFICATE_INVALID_PATH = "certificate.invalid_path", "The path from the certificate to its CA is not valid."
    CERTIFICATE_UNREADABLE = "certificate.unreadable", "The certificate cannot be read."
    CERTIFICATE_NO_PARTNER = "certificate.no_partner", "The certificate is good, but belongs to no partner."
    CERTIFICATE_PARTNER_DISABLED = "certificate.partner_disabled", "The partner of the certificate is disabled."
    CERTIFICATE_AMBIGUOUS = "certificate.ambiguous", "The certificate fits the rules of more than one partner."
    CERTIFICATE_NOT_EXPECTED = "certificate.not_expected", "The called partner is not known by this certificate."
    CERTIFICATE_WRONG_NAME = "certificate.wrong_name", "The certificate does not bear the name of the called host."
    CERTIFICATE_NOT_CALLED = "certificate.not_called", "The partner's entry does not allow calls any more."

    # calls to partners and what programs inside ask for

    CALL_POLICY = "call.policy", "The partner may not be called."
    CALL_SOURCE = "call.source", "The address that the partner is called from cannot be used."
    CALL_NAME = "call.name", "The name of the partner's host is not known."
    CALL_CONNECT = "call.connect", "There is no connection to the partner."
    CALL_TLS = "call.tls", "The TLS handshake failed, or the partner's certificate does not prove who it is."
    CALL_SSRM = "call.ssrm", "The partner did not greet."
    CALL_SSID = "call.ssid", "The partner's SSID was not accepted."
    CALL_ESID = "call.esid", "The call that only tests the way to the partner did not end well."
    CALL_REFUSED = "call.refused", "The partner's host refuses the connection."
    CALL_NO_ROUTE = "call.no_route", "There is no route to the partner's host."
    CALL_NO_ANSWER = "call.no_answer", "The partner does not answer in time."
    CALL_NO_HANDSHAKE = "call.no_handshake", "The TLS handshake with the partner was not complete in time."
    CALL_ALERT = "call.alert", "The partner refused the connection with a TLS alert."
    CALL_RENEGOTIATED = "call.renegotiated", "The partner wanted a second TLS handshake."
    CALL_CLOSED = "call.closed", "The partner ended the connection before the session began."
    CALL_GREETING = "call.greeting", "What the partner sent is not SSRM."
    CALL_UNUSED = "call.unused", "The partner answered, but nobody inside took the call."
    CALL_NOT_ALLOWED = "call.not_allowed", "The partner's entry does not allow calls, or there is no such partner."
    REQUEST_MALFORMED = "request.malformed", "What a program inside asked for is not a request."
    REQUEST_UNKNOWN = "request.unknown", "What a program inside asked for is no partner that may be called, or several."
    SOURCE_MISSING = "source.missing", "The server does not have the address that partners are to be called from."

    # the station

    STATION_CONNECT = "station.connect", "There is no connection to the station."
    STATION_REFUSED = "station.refused", "The station's host refuses the connection."
    STATION_NAME = "station.name", "The name of the station's host is not known."
    STATION_NO_ROUTE = "station.no_route", "There is no route to the station's host."
    STATION_NO_ANSWER = "station.no_answer", "The station does not answer in time."
    STATION_GREETING = "station.greeting", "What the station sent is not SSRM."
    STATION_CLOSED = "station.closed", "The station ended the connection before it greeted."
    STATION_SILENT = "station.silent", "The station did not greet in time."

    # the configuration, licence and identity

    DOCUMENT_JSON = "document.json", "It is not JSON, or not in the strict form that SmartProxy reads."
    DOCUMENT_SIZE = "document.size", "It has too many octets, levels, lists and objects, entries or characters."
    DOCUMENT_TYPE = "document.type", "A value is of another JSON type than it has to be."
    DOCUMENT_VALUE = "document.value", "A value is outside of what it may be."
    DOCUMENT_VERSION = "document.version", "It has the form of another version of SmartProxy."
    DOCUMENT_KEY_MISSING = "document.key_missing", "A key is missing."
    DOCUMENT_KEY_UNKNOWN = "document.key_unknown", "A key is there that is not known."
    DOCUMENT_NOT_UNIQUE = "document.not_unique", "A value is used twice that may be used only once."
    DOCUMENT_NAME_UNKNOWN = "document.name_unknown", "A name refers to an entry that is not there."
    DOCUMENT_CONTRADICTION = "document.contradiction", "Two values contradict each other."
    LICENCE_MISSING = "licence.missing", "There is no licence file."
    LICENCE_UNREADABLE = "licence.unreadable", "The licence file cannot be read."
    LICENCE_DAMAGED = "licence.damaged", "The file holds no licence, or its signature does not fit."
    LICENCE_FOREIGN = "licence.foreign", "The licence is for another server's Proxy ID."
    LICENCE_NOT_YET_VALID = "licence.not_yet_valid", "The licence is not valid yet."
    LICENCE_EXPIRED = "licence.expired", "The licence has ended."
    LICENCE_WRONG_AUTHORITY = "licence.wrong_authority", "Another authority signed the licence than the one obeyed."
    LICENCE_FILE_UNWRITABLE = "licence_file.unwritable", "The licence file cannot be written."
    LICENCE_NOT_NEWER = "licence.not_newer", "The licence ends no later than the one in force."
    CONFIGURATION_NONE = "configuration.none", "The daemon has no configuration yet, or has it no more."

    # the daemons, their log and control socket

    DAEMON_STOPPING = "daemon.stopping", "The daemon was asked to stop."
    PORT_IN_USE = "port.in_use", "Another program has the port."
    PORT_NOT_ALLOWED = "port.not_allowed", "The daemon may not open the port; those below 1024 need a capability."
    PORT_NO_ADDRESS = "port.no_address", "The address belongs to another machine, or to none."
    PORT_UNUSABLE = "port.unusable", "The port could not be opened."
    CTL_SOCKET = "ctl.socket", "The control socket could not be opened."
    CTL_USER = "ctl.user", "Only root and the daemon's own user may use the control socket."
    LOG_FILE = "log.file", "A file of the log, or standard output, could not be written."
    LOG_OVERFLOW = "log.overflow", "Messages for a syslog are made faster than they are taken."
    LOG_RECEIVER = "log.receiver", "The syslog that receives messages cannot be reached."
    OPERATOR_COMMAND = "operator.command", "An operator asked for it with smartproxy ctl."
    OPERATOR_SIGNAL = "operator.signal", "The process got a signal."
    DAEMON_DRAINING = "daemon.draining", "The daemon is about to stop, and its drain time is over."

    # the backend, its interface and store

    BACKEND_UNAVAILABLE = "backend.unavailable", "The backend does not answer, or with something that is not its API."
    BACKEND_REFUSED = "backend.refused", "The backend does not do what it was asked."
    BACKEND_VERSION = "backend.version", "The backend cannot work with this version."
    API_BODY = "api.body", "The body of a call is not what the path takes."
    API_CSR = "api.csr", "The certificate request of a client cannot be used."
    API_INTERNAL = "api.internal", "The backend has a fault."
    API_METHOD = "api.method", "The path takes another method."
    API_NO_SITE = "api.no_site", "The site has no configuration yet."
    API_NO_TOKEN = "api.no_token", "The call has no token."
    API_PATH = "api.path", "There is no such path."
    API_STORE = "api.store", "The store does not have what the call needs."
    API_TOKEN = "api.token", "The token is not known, or its client may not call."
    API_TOO_LARGE = "api.too_large", "The body of a call is too large."
    API_TOO_MANY = "api.too_many", "There are too many events in one call."
    API_VERSION = "api.version", "Client and backend are of versions that do not work together."
    API_WAIT = "api.wait", "The time that a call wants to wait is no number of seconds that is allowed."
    API_WAITING = "api.waiting", "Too many calls of the client wait already."
    CRL_UNUSABLE = "crl.unusable", "The revocation list cannot be read, has no configured issuer, or is older."
    EVENTS_CATALOGUE = "events.catalogue", "A carried event does not stand in the catalogue."
    EVENTS_STORE = "events.store", "The store took events too slowly."

    # the plain pair

    DESTINATION_NOT_PERMITTED = "destination.not_permitted", "The plain server was not told to permit this destination."
    DESTINATION_NAME = "destination.name", "The name of the destination's host is not known."
    DESTINATION_NO_ROUTE = "destination.no_route", "There is no route to the destination's host."
    DESTINATION_NO_ANSWER = "destination.no_answer", "The destination does not answer in time."
    DESTINATION_REFUSED = "destination.refused", "The destination's host refuses the connection."
    TARGET_CONNECT = "target.connect", "The target inside cannot be reached."
    STREAM_CLOSED = "stream.closed", "One side closed its connection in order."
    STREAM_IDLE = "stream.idle", "Nothing moved in either direction for too long."
