"""Every number of SmartProxy that bounds something: deadlines, counts, sizes, strengths.

Duty: one file in which an operator or an auditor finds each default, the range that a configuration may set it to, and
its unit. A number that a configuration can change is a :class:`Limit`; a number that it cannot change is a constant
with the unit in its name. Never holds a number of the protocol itself (field widths, reason codes): those are in
``oftp2/``.

RFC 5024: none; the figures are this site's policy.
"""

from typing import Final

import attrs


@attrs.frozen(kw_only=True)
class Limit:
    """A number that a configuration may set.

    :ivar default: the value if the configuration does not set it.
    :ivar least: the smallest value that a configuration may set.
    :ivar most: the largest value that a configuration may set.
    :ivar unit: what the number counts.
    """

    default: int
    least: int
    most: int
    unit: str

    @property
    def counted(self) -> str:
        """What the number counts, for people; empty where it counts nothing, as a port: its unit is in brackets."""
        return "" if self.unit.startswith("(") else self.unit

    def admits(self, value: int) -> bool:
        """Whether a configuration may set *value*."""
        return self.least <= value <= self.most


# Deadlines. All are absolute (from the start of what they watch) except the inactivity time.

#: From the accepted connection to the end of the TLS handshake.
HANDSHAKE: Final = Limit(default=10, least=1, most=120, unit="seconds")
#: From SSRM to the complete SSID of the side that called.
SSID: Final = Limit(default=30, least=1, most=300, unit="seconds")
#: From the begin of the session to the end of secure authentication.
AUTHENTICATION: Final = Limit(default=60, least=1, most=600, unit="seconds")
#: From the first to the last octet of one Exchange Buffer.
BUFFER: Final = Limit(default=60, least=1, most=600, unit="seconds")
#: Time without data in either direction of an established session.
INACTIVITY: Final = Limit(default=180, least=10, most=7200, unit="seconds")
#: From the start of closing a connection to its abort.
CLOSING: Final = Limit(default=5, least=1, most=60, unit="seconds")
#: From the request to stop a daemon to the ESID that ends the remaining sessions.
DRAIN: Final = Limit(default=300, least=0, most=86_400, unit="seconds")
#: From the generation that withdraws a partner's access to the end of its session, if it is not idle before.
WITHDRAWAL: Final = Limit(default=60, least=0, most=86_400, unit="seconds")
#: From the request to reach the other side of a session, the station or a called partner, to its SSRM.
OPENING: Final = Limit(default=20, least=1, most=120, unit="seconds")
#: From the client's dial to the station to the connection and its SSRM.
STATION_TIMEOUT: Final = Limit(default=10, least=1, most=120, unit="seconds")
#: From a call of the station, or of the plain pair's target, that failed to one that no session wants; 0 is never.
STATION_RETRY: Final = Limit(default=60, least=0, most=86_400, unit="seconds")

# Ports.

#: Where the server listens for partners: what IANA assigned to OFTP2 over TLS ("odette-ftps"); 0 is any free port.
LISTENER_PORT: Final = Limit(default=6619, least=0, most=65_535, unit="(a port)")
#: Where the station listens for sessions: what IANA assigned to OFTP without TLS ("odette-ftp").
STATION_PORT: Final = Limit(default=3305, least=1, most=65_535, unit="(a port)")
#: Where a partner is called: what IANA assigned to OFTP2 over TLS.
PARTNER_PORT: Final = Limit(default=6619, least=1, most=65_535, unit="(a port)")
#: The client's port for local programs that name the partner to call; 0 is any free port.
OUTBOUND_PORT: Final = Limit(default=65_433, least=0, most=65_535, unit="(a port)")
#: The client's port for local programs that call one certain partner.
PARTNER_LISTENER_PORT: Final = Limit(default=3306, least=1, most=65_535, unit="(a port)")

# Local programs that call partners.

#: From a local program's connection to the end of its request.
CALLER_SECONDS: Final = 10.0
#: From the dial to a partner to the connection, at most; what is left of the deadline of an opening if that is less.
CALL_CONNECT_SECONDS: Final = 10.0
#: How much longer the client waits for a partner than the server, so that it learns the exact cause.
CALL_PATIENCE_SECONDS: Final = 5.0

# Counts.

#: Sessions at one server, of all partners.
SESSIONS: Final = Limit(default=2000, least=1, most=100_000, unit="sessions")
#: Sessions of one verified partner.
SESSIONS_PER_PARTNER: Final = Limit(default=200, least=1, most=100_000, unit="sessions")
#: Accepted connections, verified or not, all together; beyond, a newcomer takes the place of one that proved nothing.
CONNECTIONS: Final = Limit(default=4000, least=1, most=200_000, unit="connections")
#: File descriptors of a daemon beside those of its connections and sessions: listeners, logs, some to spare.
DESCRIPTORS_SPARE: Final = 200
#: File descriptors that these limits need: every connection, one in the tunnel for every session, and those to spare.
DESCRIPTORS_LEAST: Final = CONNECTIONS.default + SESSIONS.default + DESCRIPTORS_SPARE
#: Share of the connections that is kept for addresses from which a partner was verified lately.
KEPT_PLACES_PERCENT: Final = 20
#: Share of the connections that may be in the handshake, of other addresses, while newcomers need places.
SHAKING_PERCENT: Final = 40
#: How long an address counts as verified lately.
VERIFIED_LATELY_SECONDS: Final = 7 * 86_400.0
#: Addresses that are remembered as verified lately; beyond, the one whose verification is oldest is forgotten.
VERIFIED_LATELY_MOST: Final = 10_000
#: How long a new process of a daemon may take until it serves, before the old one goes on without it.
SUCCESSION_SECONDS: Final = 60.0
#: Processes of one client that a server is connected with: the newest, and older ones whose sessions come to their end.
CLIENT_PROCESSES_MOST: Final = 4
#: Processes of one server that a client is connected with: the newest, and older ones whose sessions come to their end.
SERVER_PROCESSES_MOST: Final = 4
#: Connections that a port accepts in one turn of the reactor; the kernel holds the others until the next.
ACCEPTS_MOST: Final = 64
#: Connections that a port drops in such a turn beside these, because their callers have reset them already.
RESETS_MOST: Final = 512
#: Networks of balancers that a configuration may list.
BALANCER_NETWORKS_MOST: Final = 100
#: From a balancer's connection to the end of its header: a lost segment has time to come again.
BALANCER_HEADER_SECONDS: Final = 5.0
#: A header of the PROXY protocol, version 2, with everything that is told beside the addresses.
BALANCER_HEADER_OCTETS_MOST: Final = 4096
#: Connections of balancers whose header is not complete; one more replaces the oldest of the most crowded address.
BALANCER_WAITING_MOST: Final = 512
#: What a port spends on answering TLS hellos in one turn of the reactor; the others wait.
HANDSHAKES_SECONDS: Final = 0.003
#: Who waits for that goes behind those whose address came less often: in so long a time, and half of that before.
TURNS_SECONDS: Final = 60.0
#: Addresses that are counted for that.
TURNS_PREFIXES_MOST: Final = 20_000
#: Where so many wait, a port takes no connection of an address that came so often lately and proved nothing.
TURNS_WAITING_MANY: Final = 64
TURNS_HASTY: Final = 4
#: An address that proved an identity lately is before all others as long as it comes less often than that.
TURNS_KNOWN: Final = 64
#: Accepted connections of one address (IPv4 /32, IPv6 /64).
CONNECTIONS_PER_ADDRESS: Final = Limit(default=200, least=1, most=200_000, unit="connections")
#: Connections of one address (IPv4 /32, IPv6 /64) that are not authenticated.
UNAUTHENTICATED_PER_ADDRESS: Final = Limit(default=100, least=1, most=200_000, unit="connections")
#: Data connections that a client keeps ready in the tunnel.
POOL_READY: Final = Limit(default=2, least=0, most=1000, unit="connections")
#: Data connections of a client in the tunnel, ready or in use.
POOL_MOST: Final = Limit(default=2_000, least=1, most=100_000, unit="connections")

#: How long the backend keeps an event after its arrival; 0 keeps it for ever.
KEEP_EVENTS_DAYS: Final = Limit(default=400, least=0, most=36_500, unit="days")
#: For how many days before today a daemon keeps its daily log files; 0 keeps them for ever.
KEEP_LOGS_DAYS: Final = Limit(default=KEEP_EVENTS_DAYS.default, least=0, most=36_500, unit="days")

#: Where the page is at its own address; 0 is any free port.
PAGE_PORT: Final = Limit(default=8444, least=0, most=65_535, unit="(a port)")
#: The port on the sheet for partners; 0: the server's own.
SHEET_PORT: Final = Limit(default=0, least=0, most=65_535, unit="(a port)")
#: The station's Exchange Buffer size that partners are told (SSIDSDEB); 0: they are told none.
SHEET_BUFFER: Final = Limit(default=0, least=0, most=99_999, unit="octets")
#: The station's credit that partners are told (SSIDCRED); 0: they are told none.
SHEET_CREDIT: Final = Limit(default=0, least=0, most=999, unit="buffers")

#: Characters of the comment on a change.
COMMENT_CHARACTERS_MOST: Final = 500

# What the backend does about events: the event script, mail, ignore rules.

#: How old an event may be that starts the event script or a mail.
ALERT_HOURS: Final = Limit(default=24, least=1, most=8760, unit="hours")
#: Names of events, and of partners, that a selection lists.
ALERT_NAMES_MOST: Final = 1_000
#: How long one run of the event script may take.
SCRIPT_SECONDS: Final = Limit(default=30, least=1, most=600, unit="seconds")
#: Runs of the event script at the same time.
SCRIPTS: Final = Limit(default=2, least=1, most=16, unit="programs")
#: Events that wait for the event script; beyond, they are counted and start nothing.
SCRIPT_WAITING: Final = Limit(default=1_000, least=1, most=100_000, unit="events")
#: How often a run is begun that ended with the backend: the first time, and once more.
SCRIPT_ATTEMPTS_MOST: Final = 2
#: From the end of the time limit to the kill, for what does not end when it is asked to.
SCRIPT_KILL_SECONDS: Final = 1.0
#: Alerts that are looked at in one go.
ALERTS_AT_ONCE: Final = 100
#: How much of what the event script wrote stands in the event of its failure: the end of it.
ALERT_DETAIL_CHARACTERS: Final = 120
#: What is kept of what the event script writes.
SCRIPT_OUTPUT_OCTETS: Final = 8 * 1024
#: Hours and days after which a partner is told of; its planned downtimes, and the words why.
WATCH_HOURS: Final = Limit(default=0, least=0, most=8_760, unit="hours")
WATCH_DAYS: Final = Limit(default=0, least=0, most=3_650, unit="days")
DOWNTIMES_MOST: Final = 100
DOWNTIME_CHARACTERS_MOST: Final = 200
#: Trust lists: how often they are downloaded, and what is read of one.
TRUST_LIST_HOURS: Final = Limit(default=24, least=1, most=720, unit="hours")
TRUST_LIST_SIGNERS_MOST: Final = 10
TRUST_LIST_OCTETS_MOST: Final = 8 * 1024 * 1024
TRUST_LIST_SERVICES_MOST: Final = 5_000
TRUST_LIST_TEXT_MOST: Final = 200
TRUST_LIST_TOLD_MOST: Final = 10
#: Files with certificates and keys: PEM blocks of one, and rounds of key derivation for its password (for scrypt,
#: cost x block size x parallelization). OpenSSL writes 2,048 rounds, keystores up to a million.
PEM_BLOCKS_MOST: Final = 1_000
DERIVATION_ROUNDS_MOST: Final = 2_500_000
#: Operations that two administrators have to want.
FOUR_EYES_MOST: Final = 200
#: Where a mail server takes mail from programs (RFC 6409).
MAIL_PORT: Final = Limit(default=587, least=1, most=65_535, unit="(a port)")
#: From one mail to the next; what happens between them is in one mail.
MAIL_EVERY: Final = Limit(default=300, least=1, most=86_400, unit="seconds")
#: From the call of the mail server to its word that it has the mail, and for each of its answers.
MAIL_SECONDS: Final = 120.0
MAIL_ANSWER_SECONDS: Final = 30.0
#: How long a mail server that has the mail may take to say goodbye.
MAIL_GOODBYE_SECONDS: Final = 5.0
#: After that long a mail that failed is tried again: twice as long each time, from the first to the second number.
MAIL_AGAIN_SECONDS: Final = (60.0, 600.0)
#: How often the store is asked to note what became of a mail.
MAIL_NOTED_TRIES: Final = 3
#: Events that wait for a mail; beyond, they are counted and stand in none.
MAIL_WAITING_MOST: Final = 10_000
#: Events that a mail shows whole, and kinds of events that it counts; the others are one number.
MAIL_EVENTS_MOST: Final = 20
MAIL_KINDS_MOST: Final = 50
#: Addresses that mail goes to, and the characters of one.
MAIL_ADDRESSES_MOST: Final = 20
MAIL_ADDRESS_CHARACTERS_MOST: Final = 254
#: The longest subject of a mail.
MAIL_SUBJECT_CHARACTERS_MOST: Final = 200
#: The longest path of a file in a setting.
PATH_CHARACTERS_MOST: Final = 1024
#: Ignore rules.
IGNORE_RULES_MOST: Final = 1_000
#: The longest text, and the longest description, of an ignore rule.
IGNORE_TEXT_CHARACTERS_MOST: Final = 500

# The backend's port, before a caller is known by its token.

#: Connections to the backend; one more replaces the oldest of an unknown caller, from the most crowded address.
BACKEND_CONNECTIONS_MOST: Final = 512
#: Connections of unknown callers from one address (IPv4 /32, IPv6 /64); one more replaces the oldest of them.
BACKEND_STRANGERS_PER_ADDRESS_MOST: Final = 64
#: Addresses whose connections are not replaced, because a call from there showed a good token lately.
BACKEND_ADDRESSES_SPARED_MOST: Final = 256
#: From the connection to the end of the first call's headers, TLS included.
BACKEND_HEADERS_SECONDS: Final = 10.0
#: From the end of a call's headers to the end of its body.
BACKEND_BODY_SECONDS: Final = 20.0
#: For a file with revocation lists.
BACKEND_LARGE_BODY_SECONDS: Final = 120.0
#: Networks of the reverse proxies in front of the page.
PAGE_PROXIES_MOST: Final = 100
#: So long the link works by which a site is set up.
SETUP_LINK_SECONDS: Final = 12 * 3600.0

# Sizes.

#: One Exchange Buffer other than DATA, once both SSIDs are exchanged.
COMMAND_OCTETS: Final = Limit(default=16_384, least=1_010, most=65_535, unit="octets")

#: The largest number that a field of an event holds: all up to it are exact in every database and every JSON reader.
NUMBER_MOST: Final = 2**53

# The tunnel between server and client.

#: Time between two pings while they are answered.
PING_SECONDS: Final = 10.0
#: Time in which a ping must be answered; a missed one is followed by the next at once.
PING_ANSWER_SECONDS: Final = 5.0
#: Pings missed in a row after which the tunnel is lost: 10 + 3 * 5 s, well before half a minute has passed.
PINGS_MISSED_MOST: Final = 3
#: Time in which any other question must be answered, unless its asker sets another.
QUESTION_SECONDS: Final = 10.0
#: Time in which the client must have its Hello answered: the server may have to ping an older connection first.
HELLO_SECONDS: Final = 15.0
#: Unanswered questions in one direction.
QUESTIONS_MOST: Final = 64
#: Questions that wait for their turn to be sent.
QUESTIONS_WAITING_MOST: Final = 4_000
#: Answers that wait because the peer does not read.
ANSWERS_UNREAD_MOST: Final = 1_000
BOX_KEYS_MOST: Final = 64
BOX_OCTETS_MOST: Final = 256 * 1024
#: One piece of a configuration on its way to the server.
CHUNK_OCTETS: Final = 32 * 1024
#: Pieces that are on their way without having been acknowledged.
CHUNKS_AHEAD: Final = 8
#: A configuration is hashed, and answered by the backend, in pieces of this size; others have their turn between.
DIGEST_PIECE_OCTETS: Final = 4 * 1024 * 1024
ANSWER_PIECE_OCTETS: Final = 256 * 1024
#: Octets of events that travel in one question.
REPORTS_OCTETS: Final = 48 * 1024
#: From a ticket's issue to its use.
TICKET_SECONDS: Final = 10.0
#: Connections to the tunnel port that have sent no whole TLS record; one more replaces one of the most crowded address.
TUNNEL_SILENT_MOST: Final = 512
#: Connections to the tunnel port in the TLS handshake; one more replaces one of the most crowded address.
TUNNEL_STRANGERS_MOST: Final = 256
#: Addresses from which a client was admitted that are remembered: they have as many places of their own.
TUNNEL_KNOWN_MOST: Final = 1_000
#: TLS handshakes a second that any other address (IPv4 /32, IPv6 /64) may begin at the tunnel port.
TUNNEL_HANDSHAKES_RATE: Final = 20.0
#: For so many seconds' worth there is room at once.
TUNNEL_HANDSHAKES_SECONDS: Final = 2.0
#: Addresses whose handshakes are counted apart.
TUNNEL_HANDSHAKES_PREFIXES_MOST: Final = 10_000
#: Data connections of one client that carry no session.
DATA_IDLE_MOST: Final = 1_000
#: A ready data connection that was not used for so long is replaced, before a firewall forgets it silently.
DATA_REFRESH_SECONDS: Final = 240.0
#: A data connection beyond the ready ones is kept for so long after a session.
DATA_SURPLUS_SECONDS: Final = 30.0
#: Time between two looks at the pool of data connections.
POOL_UPKEEP_SECONDS: Final = 10.0
#: The client's wait before it dials the server again: the first, and the longest.
RECONNECT_SECONDS_FIRST: Final = 1.0
RECONNECT_SECONDS_MOST: Final = 30.0
#: A tunnel that still cannot be set up for the same reason is reported again after so long.
TROUBLE_AGAIN_SECONDS: Final = 600.0

# What the client takes from each server: the host in the DMZ may have been taken over.

#: How old a client's copy may be that it starts with while the backend cannot be reached.
COPY_HOURS: Final = Limit(default=168, least=0, most=168, unit="hours")
#: Sessions that a server opens.
OPENINGS_RATE: Final = Limit(default=100, least=1, most=10_000, unit="sessions a second")
#: For so many seconds' worth there is room at once, as when all partners call again after a loss.
OPENINGS_SECONDS: Final = 4.0
#: Events that a server reports; a large one counts as several.
REPORTS_RATE: Final = Limit(default=200, least=10, most=100_000, unit="events a second")
#: For so many seconds' worth there is room at once: all that a server keeps while no client is connected.
REPORTS_SECONDS: Final = 60.0
#: Servers whose sessions and events are counted.
SERVERS_MOST: Final = 1_000

# Penalties (fail2ban-like, per address).

#: Points at which an address is banned.
BAN_THRESHOLD: Final = Limit(default=20, least=1, most=10_000, unit="points")
#: Length of the first ban; each further one is twice as long.
BAN: Final = Limit(default=60, least=1, most=86_400, unit="seconds")
#: Length of the longest ban.
BAN_MOST: Final = Limit(default=600, least=1, most=604_800, unit="seconds")

#: One point is forgotten at the end of each such step of time.
POINT_DECAY_SECONDS: Final = 10.0
#: A peer that does not accept our certificate may say so this often; that is no fault of its address.
DISTRUST_SECONDS: Final = 1.0
#: The doubling of bans ends when an address commits no fault for this time after its last ban.
BAN_MEMORY_SECONDS: Final = 3600.0
#: Addresses with points or a ban; further offenders are not counted.
PENALTY_PREFIXES_MOST: Final = 65_536
#: A full table is searched for forgotten entries no more often than this.
PENALTY_SWEEP_SECONDS: Final = 1.0
#: Exempt networks that a configuration may list.
EXEMPT_NETWORKS_MOST: Final = 1_000
#: A refusal of one address for one cause is reported no more often than this, at both of the server's ports.
REFUSED_TOLD_SECONDS: Final = 60.0
#: Pairs of address and cause for which the last report is remembered; all others share one report.
REFUSED_TOLD_MOST: Final = 1000

# What strangers can make a daemon write.

#: CPU time that an octet, a Data Exchange Buffer and any other may take: about ten times what honest ones do.
EFFORT_OCTET_SECONDS: Final = 50e-9
EFFORT_DATA_SECONDS: Final = 50e-6
EFFORT_COMMAND_SECONDS: Final = 1e-3
#: Whose octets take less of a processor than this share harms nobody, whatever they are.
EFFORT_SHARE: Final = 0.2
#: A session that takes more than it may for so long, without a break, is ended.
EFFORT_SECONDS: Final = 10.0

#: Years in which something can have happened that a daemon tells of: days may be added to such a time, or subtracted.
TOLD_YEARS: Final = range(1970, 9999)
#: Characters of a text in the portrait of a live session.
PORTRAIT_CHARACTERS_MOST: Final = 300
#: Parts in which one worker tells of its live sessions.
PORTRAIT_PAGES_MOST: Final = 200

#: Events that unverified callers can cause, all together; what is more is counted by prefix and cause.
STRANGERS_EVENTS: Final = Limit(default=10, least=1, most=10_000, unit="events a second")
#: For so many seconds' worth of events there is room at once.
STRANGERS_EVENTS_SECONDS: Final = 2.0
#: What was counted and not written is told so often.
STRANGERS_TOLD_SECONDS: Final = 60.0
#: Prefixes and causes that are told then, each in an event; the rest by cause alone.
STRANGERS_TOLD_MOST: Final = 20
#: Prefixes and causes that are counted apart; beyond it the smallest are added up by cause.
STRANGERS_COUNTS_MOST: Final = 1000

# Certificates.

#: Shortest RSA modulus that is accepted.
RSA_BITS_LEAST: Final = 2048
#: Longest RSA modulus with which a signature is checked.
RSA_BITS_MOST: Final = 8192
#: Longest RSA exponent with which a signature is checked; nearly all keys have 65537.
RSA_EXPONENT_BITS_MOST: Final = 32
#: Microseconds that may go into the signatures above a pinned certificate, whose path nobody vouches for.
UNVOUCHED_PATH_MICROSECONDS: Final = 1800
#: Shortest elliptic curve that is accepted.
EC_BITS_LEAST: Final = 256
#: Certificates whose facts are kept, by their octets: those that were shown last.
CERTIFICATES_READ_MOST: Final = 256
#: Largest depth of a path's anchor (the leaf has depth 0).
PATH_DEPTH_MOST: Final = 5
#: How long a revocation list stays valid after its nextUpdate.
REVOCATION_GRACE: Final = Limit(default=0, least=0, most=72, unit="hours")
#: How long a revocation list without nextUpdate is current.
REVOCATION_UNDATED_FRESH_DAYS: Final = 7
#: Addresses of revocation lists that are reported: of one certificate, and of one CA in a day.
CRL_URLS_PER_CERTIFICATE: Final = 2
CRL_URLS_PER_DAY: Final = 20
#: The longest address of a revocation list that is reported.
CRL_URL_OCTETS: Final = 512
#: Addresses that the revocation lists of one CA are downloaded from.
LISTS_PER_CA_MOST: Final = 200
#: How far clocks may differ: ours and a CA's, or ours and what it was when a copy was kept.
CLOCK_TOLERANCE_SECONDS: Final = 300

# Downloads of revocation lists.

#: From the look-up of the host's name to the last octet, redirects included.
DOWNLOAD_SECONDS: Final = 60.0
#: From the attempt to connect to one address of the host to the connection.
DOWNLOAD_CONNECT_SECONDS: Final = 10.0
#: Addresses of one host that are tried.
DOWNLOAD_ADDRESSES_MOST: Final = 3
DOWNLOAD_OCTETS_MOST: Final = 64 * 1024 * 1024
#: Status line and headers, those of interim answers included.
DOWNLOAD_HEAD_OCTETS_MOST: Final = 64 * 1024
DOWNLOAD_REDIRECTS_MOST: Final = 3
#: CAs whose lists are downloaded at the same time; of one CA it is one after the other.
DOWNLOADS_AT_ONCE_MOST: Final = 4
#: Time between two looks at which lists are due, and at new proposals.
DOWNLOADS_LOOK_SECONDS: Final = 10.0
#: A list is looked for at this share of its life before its nextUpdate, and not sooner than so long before.
DOWNLOAD_MARGIN_SHARE: Final = 0.1
DOWNLOAD_MARGIN_SECONDS_MOST: Final = 43_200.0
#: The shortest and the longest time from one successful download to the next.
DOWNLOAD_AGAIN_SECONDS_LEAST: Final = 900.0
DOWNLOAD_AGAIN_SECONDS_MOST: Final = 86_400.0
#: The time after the first failed try, which doubles with each further one, and the longest.
DOWNLOAD_RETRY_SECONDS_FIRST: Final = 300.0
DOWNLOAD_RETRY_SECONDS_MOST: Final = 14_400.0
#: By which share of it such a time is cut at random, so that not all sites call at once.
DOWNLOAD_JITTER: Final = 0.1
#: Tries that have to fail one after the other before the daemon's state says so, where a list is still in force.
DOWNLOAD_FAILURES_TOLD: Final = 3
#: What the process that reads a list may use: memory, and computing time.
PARSING_OCTETS_MOST: Final = 2 * 1024 * 1024 * 1024
PARSING_SECONDS_MOST: Final = 120
#: Downloaded lists that are read at the same time.
PARSED_AT_ONCE_MOST: Final = 2
#: Networks from which lists may be downloaded although they are not public.
DOWNLOAD_NETWORKS_MOST: Final = 100

# The configuration document.

DOCUMENT_OCTETS_MOST: Final = 32 * 1024 * 1024
DOCUMENT_DEPTH_MOST: Final = 16
DOCUMENT_DIGITS_MOST: Final = 19
#: Objects and lists in one document: a list of empty lists takes thirty times its size in memory.
DOCUMENT_CONTAINERS_MOST: Final = 1_000_000
#: The longest name of a revocation list's distribution point, and how many names one list has.
CRL_POINT_CHARACTERS: Final = 1024
CRL_POINT_NAMES_MOST: Final = 16
#: The longest name of a revocation list's issuer.
ISSUER_NAME_CHARACTERS_MOST: Final = 2048
#: Listeners, identities, CAs and revocation sets, of each.
DOCUMENT_ENTRIES_MOST: Final = 10_000
PARTNERS_MOST: Final = 50_000
CODES_PER_PARTNER_MOST: Final = 1_000
CERTIFICATES_PER_PARTNER_MOST: Final = 100
SERIALS_PER_ISSUER_MOST: Final = 2_000_000
#: Serial numbers of one revocation list that stand in the document itself; more follow it as octets.
SERIALS_IN_TEXT_MOST: Final = 1_000
#: Octets of serial numbers that follow a document.
SERIALS_OCTETS_MOST: Final = 64 * 1024 * 1024
#: A document with all that follows it.
DOCUMENT_WHOLE_OCTETS_MOST: Final = DOCUMENT_OCTETS_MOST + SERIALS_OCTETS_MOST
NAME_CHARACTERS_MOST: Final = 128
PEM_CHARACTERS_MOST: Final = 1024 * 1024
#: Numbered from 1 by the backend.
GENERATION: Final = Limit(default=1, least=0, most=2**63 - 1, unit="(a generation)")

# The backend's API, at both its ends.

#: The body of a call; a file with revocation lists may be larger.
API_BODY_OCTETS_MOST: Final = 1024 * 1024
#: The body of an answer; a configuration has a bound of its own.
API_ANSWER_OCTETS_MOST: Final = 32 * 1024 * 1024
#: Events in one call: as many as the backend takes, and as many as a client sends.
API_EVENTS_MOST: Final = 1_000
API_EVENTS_SENT: Final = 800
#: The octets of them, at most; ordinary events have fewer. A larger event is sent alone.
API_EVENTS_OCTETS_SENT: Final = 512 * 1024
#: Packed records of sessions in one call, and the octets of them that a client sends, as base64.
API_RECORDS_MOST: Final = 500
API_RECORDS_OCTETS_SENT: Final = 700_000
#: So long the backend holds a call that waits for something new, and so long a client has it wait.
API_WAIT_SECONDS_MOST: Final = 60
API_WAIT_SECONDS: Final = 50

# The backend's API for administrators.

#: Entries in one part of a list.
PAGE: Final = Limit(default=100, least=1, most=500, unit="entries")
#: Calls with unknown tokens of one network that are answered at once, and after how long one of them is forgotten.
GUESSES_FREE: Final = 5
GUESS_FORGOTTEN_SECONDS: Final = 60.0
#: The longest time that the answer to such a call waits, and how many wait at once, of one network and of all.
GUESS_SECONDS_MOST: Final = 16.0
GUESSES_HELD_MOST: Final = 4
GUESSES_HELD_IN_ALL: Final = 64
GUESSES_NETWORKS_MOST: Final = 1024
#: Events in one part of their list.
EVENTS_PAGE: Final = Limit(default=100, least=1, most=5_000, unit="events")
#: How long a call waits for the next event.
EVENTS_WAIT: Final = Limit(default=0, least=0, most=50, unit="seconds")
#: Rows of a table that one transaction deletes, and how long others may write before the next one: whoever waits for
#: SQLite's lock looks again every tenth of a second.
DELETED_AT_ONCE_MOST: Final = 5_000
DELETING_PAUSE_SECONDS: Final = 0.2
#: Numbered from 1 in the order of arrival.
EVENT_NUMBER: Final = Limit(default=0, least=0, most=2**63 - 1, unit="(the number of an event)")
#: The exit status of a program, or the negative number of the signal that ended it.
EXIT_STATUS: Final = Limit(default=0, least=-255, most=255, unit="(an exit status)")
#: How far a daemon's clock is behind the backend's, or ahead of it: all the years that an event may bear.
CLOCK_DIFFERENCE: Final = Limit(default=0, least=-(2**53), most=2**53, unit="milliseconds")
#: How far a look into the future reaches.
DAYS_AHEAD: Final = Limit(default=30, least=0, most=36_500, unit="days")

# The page.

#: Characters of a user's password.
PASSWORD: Final = Limit(default=12, least=12, most=256, unit="characters")
#: Hashes of passwords that are made at once, and logins that wait for theirs: a hash costs half a second and 64 MiB.
PASSWORDS_AT_ONCE: Final = 2
LOGINS_WAITING_MOST: Final = 16
#: A user who does nothing is logged out after the first, whoever it is after the second.
LOGIN_IDLE_SECONDS: Final = 30 * 60
LOGIN_SECONDS_MOST: Final = 12 * 3600
LOGINS_PER_USER_MOST: Final = 20
#: A form from somebody who is not known, such as a login.
FORM_OF_STRANGER_OCTETS_MOST: Final = 4096
FORM_FIELDS_MOST: Final = 1_000

# The licence, and what its authority certifies.

#: The time of day may step: who waits for the end of a licence or certificate, or for a renewal, looks this often.
CLOCK_LOOK_SECONDS: Final = 3_600.0
#: How long a plain client's credential is valid.
CREDENTIAL_DAYS: Final = Limit(default=365, least=1, most=3650, unit="days")
LICENCE_OCTETS_MOST: Final = 64 * 1024
#: Clients whose certificates a licence withdraws.
WITHDRAWN_MOST: Final = 300
#: What an administrator gives for a time, a licence or a token, lasts so many days at most: ten years.
GIVEN_DAYS_MOST: Final = 3_653
#: A licence's end is announced so many days before.
LICENCE_WARNING_DAYS: Final = (30, 14, 7, 1)

# One process after another.

#: Time between two looks whether what has to be there, or over, before another process takes over is.
SETTLING_SECONDS: Final = 0.1
#: The time until the next try at a part of the site that is away, which doubles with each further one, and the longest.
RETRY_SECONDS_FIRST: Final = 1.0
RETRY_SECONDS_MOST: Final = 30.0

# Workers.

#: Processes that wait for the next sessions where each session has one of its own.
PROCESSES_READY: Final = Limit(default=8, least=0, most=64, unit="processes")
#: They are made anew so long after one of them was taken, or as soon as a session has to wait: sessions come in bursts.
FILL_SECONDS: Final = 0.25

#: Workers of one daemon; with a process for each session, there are more processes, but no more workers than these.
WORKERS_MOST: Final = 1_024
#: New workers that a server may name in a second; as many as it may have, at once. A session may have one of its own.
WORKERS_NAMED_RATE: Final = 100.0
#: Where it names them faster, what it says is looked at so often.
WORKERS_NAMED_SECONDS: Final = 0.1
#: Unless another number is wanted, a daemon has one for each core, and no more than the default.
WORKERS: Final = Limit(default=8, least=0, most=8, unit="processes")
#: Memory of one worker for what it makes itself; one that needs more dies, and its sessions with it.
WORKER_DATA_OCTETS_MOST: Final = 4 * 1024 * 1024 * 1024
#: A worker that lived for so long is replaced at once; one that died sooner after the wait, which doubles each time.
WORKER_LIVED_SECONDS: Final = 10.0
WORKER_WAIT_SECONDS_FIRST: Final = 0.25
WORKER_WAIT_SECONDS_MOST: Final = 30.0
#: A daemon that has had no worker ready for so long says that it is down; one that starts needs less.
WORKERS_AWAITED_SECONDS: Final = 10.0
#: So many deaths within so long, of workers that had connections of one address or partner, are a fault of it.
DEATHS_MANY: Final = 3
DEATHS_SECONDS: Final = 60.0
#: Addresses that are remembered of the connections that a worker had; it may report faults of these alone.
WORKER_HOSTS_MOST: Final = 10_000
