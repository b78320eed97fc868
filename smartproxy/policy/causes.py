"""Why something happened: every cause that an event, a fault or the other daemon can name, each a stable code.

The one place for causes. A code is ``subject.what`` in lower case; it never changes its meaning, and is what detection
rules, scripts and the other daemon rely on. The sentence beside it, an event's ``message``, is for people and may
change. Rules of RFC 5024 that a peer breaks are not listed here: they are listed with the code that judges them
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
    LEG_ENDED = "leg.ended", "The other daemon gave up the session before it had begun there."
    SESSION_COMPLETED = "session.completed", "One side ended the session with ESID 00."
    SESSION_ABORTED = "session.aborted", "One side ended the session with an ESID other than 00."
    SESSION_CLOSED = "session.closed", "The other daemon asked to end the session."
    SESSION_KILLED = "session.killed", "An operator ended the session."
    SESSION_COSTLY = "session.costly", "The partner's data took far more computing time than that of an honest session."
    SESSION_OPEN = "session.open", "A session with this id is open already."
    SESSION_FACTS = "session.facts", "The server sent incomplete facts about a new session."
    OPENING_FAILED = "opening.failed", "A bug prevented the connection to the session's other side."
    DEADLINE_SSID = "deadline.ssid", "No SSID arrived in time."
    DEADLINE_OPENING = "deadline.opening", "The other side of the session was not reached in time."
    DEADLINE_AUTHENTICATION = "deadline.authentication", "Secure authentication was not completed in time."
    DEADLINE_BUFFER = "deadline.buffer", "A started Exchange Buffer was not completed in time."
    DEADLINE_INACTIVITY = "deadline.inactivity", "No data arrived for too long."
    DEADLINE_CLOSING = "deadline.closing", "The connections were not closed in time."
    INTERNAL_ERROR = "internal.error", "A bug in SmartProxy."

    # workers

    WORKER_LOST = "worker.lost", "The worker process that carried the session has died."
    WORKER_HANGS = "worker.hangs", "A worker process gave no sign of life in time, and was ended."
    WORKER_VIOLATION = "worker.violation", "A worker process sent a message that it may not send, and was ended."
    WORKER_SIGNAL = "worker.signal", "A signal ended a worker process."
    WORKER_EXIT = "worker.exit", "A worker process ended by itself."
    WORKER_MEMORY = "worker.memory", "A worker process got no more memory, and ended."
    WORKER_ZYGOTE = "worker.zygote", "The process that makes workers has died, and all workers with it."
    WORKER_START = "worker.start", "A worker process could not be made ready."
    WORKER_REHEARSAL = "worker.rehearsal", "The rehearsal before the first worker failed."

    # the tunnel

    TUNNEL_LOST = "tunnel.lost", "The tunnel between server and client was lost."
    TUNNEL_NONE = "tunnel.none", "There is no tunnel: no client, or no server, is connected."
    TUNNEL_CLOSED = "tunnel.closed", "The other daemon closed the connection."
    TUNNEL_STOPPED = "tunnel.stopped", "This daemon is stopping, or was told to close the connection."
    TUNNEL_IDLE = "tunnel.idle", "The connection was not needed and was closed."
    TUNNEL_NEWER = "tunnel.newer", "A newer connection of the same client replaced it."
    TUNNEL_SILENT = "tunnel.silent", "The other daemon does not answer."
    TUNNEL_CLOSING = "tunnel.closing", "The other daemon did not close the connection, or end a session, in time."
    TUNNEL_HELLO = "tunnel.hello", "The client did not send Hello in time, or Hello failed."
    TUNNEL_VIOLATION = "tunnel.violation", "The other daemon violated the tunnel protocol."
    TUNNEL_BUG = "tunnel.bug", "A bug in SmartProxy ended the connection."
    TUNNEL_QUESTION = "tunnel.question", "The other daemon could not do what was asked; see its log."
    TUNNEL_UNKNOWN_CAUSE = "tunnel.unknown_cause", "The other daemon sent a cause that this version does not know."
    TUNNEL_POOL = "tunnel.pool", "The client has no data connection left for the session."
    TUNNEL_CROWDED = "tunnel.crowded", "Too many unauthenticated connections to the tunnel port."
    TUNNEL_HASTE = "tunnel.haste", "An address begins more TLS handshakes at the tunnel port than a client needs."
    TUNNEL_VERSIONS = "tunnel.versions", "The versions of server and client are not compatible."
    TUNNEL_NAME_TAKEN = "tunnel.name_taken", "A client with the same name is already connected."
    TUNNEL_REFUSED = "tunnel.refused", "The other daemon ended the connection before it was ready."
    TUNNEL_CONNECT = "tunnel.connect", "There is no connection to the server."
    TUNNEL_TLS = "tunnel.tls", "The TLS handshake failed."
    TUNNEL_HANDSHAKE_TIMEOUT = "tunnel.handshake_timeout", "The TLS handshake was not completed in time."
    TUNNEL_UNPROVED = "tunnel.unproved", "The other daemon could not be authenticated."
    TUNNEL_WRONG_SERVER_KEY = "tunnel.wrong_server_key", "The server's key is not licensed by this site."
    TUNNEL_PROTOCOL = "tunnel.protocol", "The client requested an unknown kind of connection."
    TUNNEL_WITHDRAWN = "tunnel.withdrawn", "The client was removed or disabled after its certificate was issued."
    TUNNEL_NO_CONTROL = "tunnel.no_control", "A data connection arrived from a client without a control connection."
    TUNNEL_TOO_MANY = "tunnel.too_many", "The client has too many idle data connections."
    TUNNEL_EVENT_SIZE = "tunnel.event_size", "An event is too large for the tunnel."
    TUNNEL_EVENTS_MANY = "tunnel.events_many", "Too many events are waiting for the tunnel."
    TUNNEL_PROCESSES = "tunnel.processes", "The server has more processes than a client keeps tunnels to."
    TUNNEL_NOT_CONFIGURED = (
        "tunnel.not_configured",
        "The server asked for a session that the client's configuration forbids.",
    )
    TUNNEL_OTHER_GENERATION = (
        "tunnel.other_generation",
        "The client's configuration forbids the session; the server may hold another one.",
    )
    TUNNEL_RATE = "tunnel.rate", "The server opens sessions faster than the client allows."
    TUNNEL_REPORTS = "tunnel.reports", "The server reports more events than the client takes."
    OPENING_VIOLATION = "opening.violation", "The program on the other side violated the protocol in its greeting."
    BOX_KIND = "box.kind", "A tunnel message is neither a question nor an answer."
    BOX_TWICE = "box.twice", "A tunnel message contains a key twice."
    BOX_KEYS = "box.keys", "A tunnel message has too many keys."
    BOX_SIZE = "box.size", "A tunnel message, or a value in it, is too large."
    VALUE_MALFORMED = "value.malformed", "A question or an answer contains an invalid value."
    ANSWER_UNKNOWN = "answer.unknown", "An answer arrived to a question that was not asked."
    ANSWER_ERROR = "answer.error", "An answer is an error that is not defined for its question."
    ANSWER_UNREAD = "answer.unread", "The other daemon sends questions but does not read the answers."
    COMMAND_UNKNOWN = "command.unknown", "The command is unknown."
    COMMAND_FORBIDDEN = "command.forbidden", "This side may not send the command in this phase."
    QUESTION_TAG = "question.tag", "A question has no unique tag."
    QUESTION_MANY = "question.many", "Too many questions are unanswered."
    HELLO_TWICE = "hello.twice", "The client sent Hello twice."
    TICKET_UNKNOWN = "ticket.unknown", "A ticket was never issued, was already used, or has expired."
    CHUNK_ORDER = "chunk.order", "A chunk of a configuration arrived out of order."
    CHUNK_MIXED = "chunk.mixed", "A chunk belongs to a different configuration from the first chunk."
    CHUNK_SIZE = "chunk.size", "A chunk of a configuration has the wrong size."
    DATA_ATTACH = "data.attach", "ATTACH arrived within a session, or from the wrong side."
    DATA_END = "data.end", "END arrived outside a session."
    DATA_UNATTACHED = "data.unattached", "Data arrived outside a session."
    MARK_ATTACH = "mark.attach", "A data connection does not begin with ATTACH."
    MARK_END = "mark.end", "END does not say how the session ended, or not in the right form."
    MARK_KIND = "mark.kind", "A mark has an unknown kind or length."
    MARK_LENGTH = "mark.length", "A mark has an invalid length."
    MARK_UNIT = "mark.unit", "A unit is too short for its own header."

    # partners, the door and limits

    QUOTA_DISPLACED = (
        "quota.displaced",
        "Too many connect at once: newcomers replaced connections that had proved nothing.",
    )
    QUOTA_HASTE = "quota.haste", "Too many connect at once: addresses that connect often and prove nothing are refused."
    QUOTA_CONNECTIONS = "quota.connections", "The limit of connections is reached."
    QUOTA_EARLY = "quota.early", "Most connections are in use; the others are kept for known addresses."
    QUOTA_ADDRESS = "quota.connections_per_address", "The limit of connections from one address is reached."
    QUOTA_UNAUTHENTICATED = (
        "quota.unauthenticated_per_address",
        "The limit of connections from one address that are not verified is reached.",
    )
    QUOTA_SESSIONS = "quota.sessions", "The session limit is reached."
    QUOTA_PARTNER = "quota.sessions_per_partner", "The limit of sessions with one partner is reached."
    PENALTY_BANNED = "penalty.banned", "The address is banned."
    PENALTY_OVER = "penalty.over", "A ban has ended."
    PENALTY_PARDONED = "penalty.pardoned", "A new configuration ended a ban that was for refused certificates."
    PENALTY_NO_TLS = "penalty.no_tls", "The address is banned: it repeatedly sent something other than TLS."
    PENALTY_HANDSHAKES = "penalty.handshakes", "The address is banned: its TLS handshakes failed repeatedly."
    PENALTY_SILENCE = "penalty.silence", "The address is banned: it repeatedly connected without sending anything."
    PENALTY_CERTIFICATES = (
        "penalty.certificates",
        "The address is banned: its certificates were refused repeatedly.",
    )
    PENALTY_REVOKED = "penalty.revoked", "The address is banned: it presented revoked certificates."
    PENALTY_PROTOCOL = "penalty.protocol", "The address is banned: it repeatedly violated the protocol."
    PENALTY_EFFORT = "penalty.effort", "The address is banned: its sessions took far too much computing time."
    PENALTY_DEATHS = (
        "penalty.deaths",
        "The address is banned: workers with its connections died repeatedly.",
    )
    PENALTY_IDENTITY = "penalty.identity", "The address is banned: it used SSIDCODEs of other partners."
    BALANCER_NO_HEADER = "balancer.no_header", "A balancer's connection began without a PROXY protocol header."
    BALANCER_BAD_HEADER = "balancer.bad_header", "The PROXY protocol header of a balancer is malformed."
    BALANCER_LATE = "balancer.late", "The PROXY protocol header of a balancer was not completed in time."
    BALANCER_CROWDED = "balancer.crowded", "Too many connections of balancers wait for their PROXY protocol header."
    CONNECTION_SILENT = "connection.silent", "The connection was closed before any data arrived: a port scan or check."
    HANDSHAKE_TIMEOUT = "handshake.timeout", "The TLS handshake was not completed in time."
    HANDSHAKE_SILENT = "handshake.silent", "The peer sent nothing: a program without TLS waits for our greeting."
    HANDSHAKE_PLAIN_OFTP = "handshake.plain_oftp", "The peer speaks OFTP without TLS."
    HANDSHAKE_PLAIN_HTTP = "handshake.plain_http", "The peer speaks HTTP."
    HANDSHAKE_PLAIN_SSH = "handshake.plain_ssh", "The peer speaks SSH."
    HANDSHAKE_BALANCER = (
        "handshake.balancer",
        "A PROXY protocol header came from an address that is no configured balancer.",
    )
    HANDSHAKE_NOT_TLS = "handshake.not_tls", "The peer sent something other than TLS."
    HANDSHAKE_ALERT = "handshake.alert", "The peer ended the TLS handshake with an alert."
    HANDSHAKE_DISTRUSTED = "handshake.distrusted", "The peer does not accept our certificate, and said so by an alert."
    HANDSHAKE_FAILED = "handshake.failed", "The TLS handshake failed."
    HANDSHAKE_ENDED = "handshake.ended", "The connection was closed before TLS was established."
    HANDSHAKE_RENEGOTIATED = "handshake.renegotiated", "The peer requested TLS renegotiation."

    # what a partner's entry allows

    IDENTITY_CODE = "identity.code", "The SSIDCODE is not assigned to the partner that the certificate identifies."
    IDENTITY_LEVEL = "identity.level", "The partner's release level is below the lowest that its entry allows."
    IDENTITY_STATION_LEVEL = (
        "identity.station_level",
        "The station's release level is below the lowest that the partner's entry allows.",
    )
    IDENTITY_AUTHENTICATION = (
        "identity.authentication",
        "Secure authentication (SSIDAUTH) is not as the partner's entry requires it.",
    )
    IDENTITY_STATION_AUTHENTICATION = (
        "identity.station_authentication",
        "The station's secure authentication (SSIDAUTH) is not as the partner's entry requires it.",
    )
    IDENTITY_ORIGINATOR = "identity.originator", "The partner's entry does not allow the file's originator."
    IDENTITY_DESTINATION = "identity.destination", "The partner's entry does not allow the file's destination."

    # certificates and revocation

    CERTIFICATE_MISSING = "certificate.missing", "The peer presented no certificate."
    CERTIFICATE_UNKNOWN_CA = (
        "certificate.unknown_ca",
        "The certificate is neither issued by a configured CA nor pinned.",
    )
    CERTIFICATE_EXPIRED = "certificate.expired", "The certificate has expired."
    CERTIFICATE_NOT_YET_VALID = "certificate.not_yet_valid", "The certificate is not valid yet."
    CERTIFICATE_REVOKED = "certificate.revoked", "The certificate is revoked."
    CERTIFICATE_REVOCATION_MISSING = (
        "certificate.revocation_missing",
        "There is no revocation list from its issuer that covers the certificate.",
    )
    CERTIFICATE_REVOCATION_STALE = (
        "certificate.revocation_stale",
        "The revocation list from the certificate's issuer is not current.",
    )
    CERTIFICATE_BAD_SIGNATURE = "certificate.bad_signature", "The certificate's signature was not made by its issuer."
    CERTIFICATE_WEAK_KEY = "certificate.weak_key", "The certificate's key is too weak."
    CERTIFICATE_EXPENSIVE_KEY = (
        "certificate.expensive_key",
        "A key in the path is larger than accepted, or of another kind.",
    )
    CERTIFICATE_WEAK_SIGNATURE = "certificate.weak_signature", "The certificate's signature uses a weak hash."
    CERTIFICATE_WRONG_PURPOSE = "certificate.wrong_purpose", "The certificate's key usage does not allow this use."
    CERTIFICATE_PATH_TOO_LONG = "certificate.path_too_long", "The path from the certificate to its CA is too long."
    CERTIFICATE_NOT_A_CA = "certificate.not_a_ca", "A certificate in the path is not a CA certificate."
    CERTIFICATE_INVALID_PATH = "certificate.invalid_path", "The path from the certificate to its CA is not valid."
    CERTIFICATE_UNREADABLE = "certificate.unreadable", "The certificate cannot be read."
    CERTIFICATE_FROM_ROOT = (
        "certificate.from_root",
        "A root issued the certificate directly, which is not accepted.",
    )
    CERTIFICATE_NO_PARTNER = "certificate.no_partner", "The certificate is valid, but not assigned to any partner."
    CERTIFICATE_PARTNER_DISABLED = "certificate.partner_disabled", "The certificate's partner is disabled."
    CERTIFICATE_AMBIGUOUS = "certificate.ambiguous", "The certificate matches the rules of more than one partner."
    CERTIFICATE_NOT_EXPECTED = "certificate.not_expected", "The certificate is not expected from the called partner."
    CERTIFICATE_WRONG_NAME = "certificate.wrong_name", "The certificate does not contain the name of the called host."
    CERTIFICATE_NOT_CALLED = "certificate.not_called", "The partner's entry does not allow outgoing calls."

    # downloads of revocation lists

    CRL_ADDRESS = "crl.address", "The host of a revocation list has no address that the backend may call."
    CRL_NAME = "crl.name", "The host name of a revocation list cannot be resolved."
    CRL_CONNECT = "crl.connect", "The connection to the host of a revocation list could not be made, or was lost."
    CRL_TLS = "crl.tls", "The TLS handshake with the host of a revocation list failed."
    CRL_TIME = "crl.time", "A revocation list did not arrive in time."
    CRL_SIZE = "crl.size", "A revocation list, or the head of the answer, is larger than is accepted."
    CRL_REDIRECT = "crl.redirect", "The answer refers to another host, or to too many other addresses."
    CRL_ANSWER = "crl.answer", "The answer is not the list: another HTTP status, or an encoding."

    # calls to partners and what programs inside ask for

    CALL_POLICY = "call.policy", "Policy does not allow calls to the partner."
    CALL_SOURCE = "call.source", "The source address for calls to the partner cannot be used."
    CALL_NAME = "call.name", "The partner's host name cannot be resolved."
    CALL_CONNECT = "call.connect", "The connection to the partner could not be made."
    CALL_TLS = "call.tls", "The TLS handshake failed, or the partner's certificate was refused."
    CALL_SSRM = "call.ssrm", "The partner did not send SSRM."
    CALL_REFUSED = "call.refused", "The partner's host refused the connection."
    CALL_NO_ROUTE = "call.no_route", "There is no route to the partner's host."
    CALL_NO_ANSWER = "call.no_answer", "The partner did not answer in time."
    CALL_NO_HANDSHAKE = "call.no_handshake", "The TLS handshake with the partner was not completed in time."
    CALL_ALERT = "call.alert", "The partner refused the connection with a TLS alert."
    CALL_DISTRUSTED = "call.distrusted", "The partner does not accept our certificate, and said so by a TLS alert."
    CALL_RENEGOTIATED = "call.renegotiated", "The partner requested TLS renegotiation."
    CALL_CLOSED = "call.closed", "The partner closed the connection before the session started."
    CALL_GREETING = "call.greeting", "The partner sent something other than SSRM."
    CALL_UNUSED = "call.unused", "The partner answered, but the local caller was gone."
    CALL_NOT_ALLOWED = "call.not_allowed", "The partner does not exist, or its entry does not allow calls."
    CALL_BANNED = (
        "call.banned",
        "The partner is not called for a while: sessions with it took far too much computing time, or ended workers.",
    )
    REQUEST_MALFORMED = "request.malformed", "The request of a local program is malformed."
    REQUEST_UNKNOWN = "request.unknown", "The request of a local program does not match exactly one partner."
    SOURCE_MISSING = "source.missing", "The server does not have the configured source address."

    # the station

    STATION_CONNECT = "station.connect", "The connection to the station could not be made."
    STATION_REFUSED = "station.refused", "The station's host refused the connection."
    STATION_NAME = "station.name", "The station's host name cannot be resolved."
    STATION_NO_ROUTE = "station.no_route", "There is no route to the station's host."
    STATION_NO_ANSWER = "station.no_answer", "The station did not answer in time."
    STATION_GREETING = "station.greeting", "The station sent something other than SSRM."
    STATION_CLOSED = "station.closed", "The station closed the connection before it sent SSRM."
    STATION_SILENT = "station.silent", "The station did not send SSRM in time."

    # the configuration, licence and identity

    DOCUMENT_JSON = "document.json", "The document is not JSON in the strict form that SmartProxy reads."
    DOCUMENT_SIZE = "document.size", "The document, or a part of it, is too large."
    DOCUMENT_TYPE = "document.type", "A value has the wrong JSON type."
    DOCUMENT_VALUE = "document.value", "A value is not allowed."
    DOCUMENT_VERSION = "document.version", "The document has the format of another SmartProxy version."
    DOCUMENT_KEY_MISSING = "document.key_missing", "A key is missing."
    DOCUMENT_KEY_UNKNOWN = "document.key_unknown", "A key is unknown."
    DOCUMENT_NOT_UNIQUE = "document.not_unique", "A value that has to be unique is used twice."
    DOCUMENT_NAME_UNKNOWN = "document.name_unknown", "A name refers to an entry that does not exist."
    DOCUMENT_CONTRADICTION = "document.contradiction", "Two values contradict each other."
    DOCUMENT_OLDER = "document.older", "The document is older than the one in force, and of the same store."
    LICENCE_MISSING = "licence.missing", "There is no licence file."
    LICENCE_UNREADABLE = "licence.unreadable", "The licence file cannot be read."
    LICENCE_DAMAGED = "licence.damaged", "The file is not a licence, or its signature is wrong."
    LICENCE_FOREIGN = "licence.foreign", "The licence was issued for the Proxy ID of another server."
    LICENCE_NOT_YET_VALID = "licence.not_yet_valid", "The licence is not valid yet."
    LICENCE_EXPIRED = "licence.expired", "The licence has expired."
    LICENCE_WRONG_AUTHORITY = "licence.wrong_authority", "The licence is not signed by the accepted authority."
    LICENCE_FILE_CHANGED = "licence_file.changed", "The licence file holds something else than the licence in force."
    LICENCE_FILE_UNWRITABLE = "licence_file.unwritable", "The licence file cannot be written."
    LICENCE_NOT_NEWER = "licence.not_newer", "The licence does not end later than the one in force."
    CONFIGURATION_FAULT = "configuration.fault", "A fault of SmartProxy keeps a configuration from being put in force."
    COPY_UNREADABLE = "copy.unreadable", "The client's copy of the configuration cannot be read."
    COPY_OLD = "copy.old", "The client's copy of the configuration is too old, or its certificate has expired."
    COPY_UNWRITABLE = "copy.unwritable", "The client's copy of the configuration cannot be written."
    CONFIGURATION_NONE = "configuration.none", "The daemon has no configuration."

    # the daemons, their log and control socket

    DAEMON_SUCCEEDED = "daemon.succeeded", "A newer process of the daemon took over."
    DAEMON_STOPPING = "daemon.stopping", "The daemon was asked to stop."
    PORT_IN_USE = "port.in_use", "Another program is using the port."
    PORT_NOT_ALLOWED = "port.not_allowed", "The daemon may not open the port; ports below 1024 need a capability."
    PORT_NO_ADDRESS = "port.no_address", "The address is not one of this machine's addresses."
    PORT_UNUSABLE = "port.unusable", "The port could not be opened."
    STRANGERS_MANY = "strangers.many", "Unverified callers cause more events than are written in a second."
    CTL_SOCKET = "ctl.socket", "The control socket could not be opened."
    CTL_USER = "ctl.user", "Only root and the daemon's own user may use the control socket."
    LOG_FILE = "log.file", "A log file, or standard output, could not be written."
    LOG_OVERFLOW = "log.overflow", "Messages for syslog are produced faster than they can be sent."
    LOG_RECEIVER = "log.receiver", "The syslog receiver cannot be reached."
    OPERATOR_COMMAND = "operator.command", "An operator requested it with smartproxy ctl."
    OPERATOR_REQUEST = "operator.request", "An operator requested it through the backend."
    OPERATOR_SETTING = "operator.setting", "An operator changed a setting."
    OPERATOR_SIGNAL = "operator.signal", "The process received a signal."
    DAEMON_DRAINING = "daemon.draining", "The daemon is stopping, and its drain time is over."

    # the backend, its interface and store

    BACKEND_UNAVAILABLE = "backend.unavailable", "The backend does not answer, or its answer is not valid."
    BACKEND_REFUSED = "backend.refused", "The backend refused the call."
    BACKEND_VERSION = "backend.version", "The backend is not compatible with this version."
    API_BODY = "api.body", "The body of a call is not valid for its path."
    API_CROWDED = "api.crowded", "Too many connections to the backend whose callers are not known."
    API_CSR = "api.csr", "The certificate request of a client cannot be used."
    API_DEADLINE = "api.deadline", "A caller of the backend did not complete TLS, headers or body in time."
    API_ETAG = "api.etag", "The tag in If-None-Match is longer or larger than any that the backend gives."
    API_INTERNAL = "api.internal", "The backend has an internal error."
    API_METHOD = "api.method", "The path does not allow this method."
    API_NO_SITE = "api.no_site", "The site has no configuration yet."
    API_NO_TOKEN = "api.no_token", "The call has no token."
    API_PATH = "api.path", "The path does not exist."
    API_STORE = "api.store", "The store does not contain what the call needs."
    API_ADDRESS = "api.address", "The client called from another address than the one that it is bound to."
    API_TOKEN = "api.token", "The token is unknown."
    API_REMOVED = "api.removed", "The client was removed or disabled."
    API_TOO_LARGE = "api.too_large", "The body of a call is too large."
    API_TOO_MANY = "api.too_many", "There are too many events in one call."
    API_CHANGED = "api.changed", "The object was changed after the caller had read it."
    API_CONDITION = "api.condition", "A call that changes something has no If-Match header."
    API_ENDED = "api.ended", "The administrator's token has ended."
    API_GUESSING = "api.guessing", "Calls with tokens that are not known came repeatedly from one network."
    API_INPUT = "api.input", "A value of an administrator's call is not valid."
    API_KEY = "api.key", "The idempotency key of a call cannot be used, or was used for another call."
    API_NOT_FOUND = "api.not_found", "The object that the call names does not exist."
    API_REFUSED = "api.refused", "The configuration would not be valid with the change."
    TRUST_LIST_OLD = "trust_list.old", "The trust list is older than the one that was taken before."
    TRUST_LIST_OVER = "trust_list.over", "The next trust list is overdue, or the scheme has ended."
    TRUST_LIST_SIGNATURE = "trust_list.signature", "The trust list as a whole is not signed by a pinned certificate."
    TRUST_LIST_SIZE = "trust_list.size", "The trust list is larger than is accepted."
    TRUST_LIST_XML = (
        "trust_list.xml",
        "The trust list is malformed XML, is not in UTF-8, or has a DTD.",
    )
    API_SECOND = "api.second", "A call waits until a second administrator makes it, too."
    API_SCOPE = "api.scope", "The user's role or the program's token does not allow this."
    API_TAKEN = "api.taken", "The name is already taken."
    API_UNUSABLE = "api.unusable", "A file or value in the call cannot be used for its purpose."
    API_VERSION = "api.version", "The versions of caller and backend are not compatible."
    API_WAIT = "api.wait", "The waiting time of a call is not an allowed number of seconds."
    API_WAITING = "api.waiting", "Too many calls of the client are already waiting."
    PAGE_PASSWORD = "page.password", "User and password do not match."
    PAGE_LINK = "page.link", "A set-up link that does not work was opened."
    PAGE_CROWDED = "page.crowded", "Too many logins are waiting already, or too many failed."
    PAGE_FOREIGN = "page.foreign", "A change did not come from a form of the page."
    PAGE_CERTIFICATE = "page.certificate", "The files with the certificate of the page's own address cannot be used."
    PAGE_PLAIN = "page.plain", "A reverse proxy was called by http; the page is for https alone."
    CRL_UNUSABLE = "crl.unusable", "The revocation list is unreadable, partial, outdated, or from an unknown CA."
    ENDING_AUTHORITY = "ending.authority", "The certificate of the site's authority ends soon."
    ENDING_PAGE = "ending.page", "The certificate of the page's own address ends soon."
    ENDING_CHANGE_OVER = "ending.change_over", "A certificate that partners are shown is replaced soon, as planned."
    ENDING_CA = "ending.ca", "A certificate of a CA ends soon."
    ENDING_IDENTITY = "ending.identity", "The certificate that the server shows to partners ends soon."
    ENDING_LIST = "ending.list", "A revocation list ends soon, and no newer one was loaded."
    ENDING_PARTNER = "ending.partner", "The last certificate that is known of a partner ends soon."
    ENDING_TOKEN = "ending.token", "An administrator's token ends soon."
    ENDING_TUNNEL = "ending.tunnel", "A client did not renew its tunnel certificate."
    EVENTS_CATALOGUE = "events.catalogue", "A forwarded event is not in the catalogue."
    EVENTS_SET_ASIDE = (
        "events.set_aside",
        "The backend refuses the event even if it is sent alone; it is not sent again.",
    )
    AUDIT_BROKEN = "audit.broken", "A record of the audit trail was changed or removed."
    EVENTS_STORE = "events.store", "The store accepted events too slowly, or failed to store them."
    STORE_BUSY = (
        "store.busy",
        "The backend's store, or the backend, is busy or does not answer at the moment; the same may be tried again.",
    )
    STORE_OUTDATED = "store.outdated", "Another version of SmartProxy brought the backend's store up to date."

    # alerts

    SCRIPT_MISSING = "script.missing", "The event script does not exist or is not executable."
    SCRIPT_UNSAFE = "script.unsafe", "Every user may change the event script."
    SCRIPT_STATUS = "script.status", "The event script ended with an exit status other than 0, or by a signal."
    SCRIPT_TIMEOUT = "script.timeout", "The event script did not end within its time limit."
    SCRIPT_INTERRUPTED = "script.interrupted", "The backend ended while the event script ran, more than once."
    MAIL_SETTINGS = "mail.settings", "The password's file, or that of the CAs, cannot be used."
    MAIL_CONNECT = "mail.connect", "The mail server cannot be reached, or does not answer in time."
    MAIL_TLS = "mail.tls", "TLS with the mail server failed, or its certificate is not accepted."
    MAIL_LOGIN = "mail.login", "The mail server does not accept the login."
    MAIL_REFUSED = "mail.refused", "The mail server does not take the mail, or not for all addresses."
    MAIL_QUEUE = "mail.queue", "Too many events wait for a mail."
    SCRIPT_QUEUE = "script.queue", "Too many events wait for the event script."

    # the plain pair

    DESTINATION_NOT_PERMITTED = "destination.not_permitted", "The plain server does not permit this destination."
    DESTINATION_NAME = "destination.name", "The destination's host name cannot be resolved."
    DESTINATION_NO_ROUTE = "destination.no_route", "There is no route to the destination's host."
    DESTINATION_NO_ANSWER = "destination.no_answer", "The destination did not answer in time."
    DESTINATION_REFUSED = "destination.refused", "The destination's host refused the connection."
    TARGET_CONNECT = "target.connect", "The target in the internal network cannot be reached."
    STREAM_CLOSED = "stream.closed", "One side closed its connection normally."
    STREAM_IDLE = "stream.idle", "No data moved in either direction for too long."
