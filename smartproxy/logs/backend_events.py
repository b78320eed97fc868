"""The part of the catalogue that is about the backend: its store and callers, what it downloads, whom it tells.

Declarations alone; :mod:`smartproxy.logs.catalogue` is where they are found.
"""

from collections.abc import Mapping

from smartproxy.logs.fields import Audience, EventType, entries_of, joined
from smartproxy.logs.severity import Severity

_TRACE, _DEBUG, _INFO, _WARNING, _ERROR, _CRITICAL = Severity

# One entry: name, level, what happened, the fields that it always has, the fields that it may have.
BACKEND_EVENTS: Mapping[str, EventType] = joined(
    entries_of(
        "Backend",
        Audience.SECURITY,
        (
            "audit.anchored",
            _INFO,
            "The newest record of the audit trail, to check the trail by later.",
            "record hash",
            "",
        ),
        ("audit.broken", _CRITICAL, "The audit trail is not as it was written.", "cause", "record hash advice"),
        (
            "trust_list.failed",
            _WARNING,
            "A trust list could not be downloaded or taken; it is tried again after so many seconds.",
            "list cause",
            "seconds advice",
        ),
        (
            "trust_list.overdue",
            _ERROR,
            "The next trust list is overdue: what it withdraws is not learnt.",
            "list next_update",
            "advice",
        ),
        ("trust_list.proposed", _WARNING, "A trust list proposes CAs.", "list count", "names advice"),
        ("trust_list.taken", _INFO, "A trust list was taken.", "list count", "next_update"),
        (
            "trust_list.withdrawn",
            _CRITICAL,
            "A CA that is trusted here is withdrawn by its trust list, or not named there any more.",
            "list ca subject",
            "check advice",
        ),
        (
            "second.awaited",
            _WARNING,
            "An administrator wants something that is done when a second one wants it, too.",
            "command",
            "advice",
        ),
        (
            "certificate.proposed",
            _WARNING,
            "A partner that is recognized by a pinned certificate came with another one of the same CA and subject.",
            "partner certificate_sha256",
            "subject issuer serial not_after advice",
        ),
        (
            "backend.call_refused",
            _WARNING,
            "A call of the backend's API was refused.",
            "cause",
            "method path status advice ours theirs",
        ),
        ("backend.duty_lost", _WARNING, "Another backend does what runs by itself from now on.", "cause", ""),
        ("backend.duty_taken", _INFO, "This backend does what runs by itself from now on.", "", ""),
        (
            "backend.guessing",
            _WARNING,
            "Calls with administrators' tokens that nobody has come repeatedly; their answers are slowed down.",
            "cause",
            "",
        ),
        (
            "page.certificate_failed",
            _ERROR,
            "The files with the page's certificate cannot be used; it shows what it showed before.",
            "path cause",
            "advice",
        ),
        (
            "page.certificate_kept",
            _INFO,
            "A certificate was uploaded for the page's own address.",
            "command subject not_after certificate_sha256",
            "",
        ),
        (
            "page.certificate_used",
            _INFO,
            "The page shows this certificate at its own address from now on.",
            "subject not_after certificate_sha256 mode",
            "",
        ),
        ("page.login", _INFO, "A user logged in to the page.", "names", ""),
        ("page.login_refused", _WARNING, "A login to the page was refused.", "cause", "names"),
        ("page.logout", _INFO, "A user logged out of the page.", "names", ""),
        ("page.refused", _WARNING, "The page refused a change that its user sent.", "cause", "names method path"),
        ("backend.reached", _INFO, "The backend answers again.", "", "url duration version"),
        (
            "backend.site_found",
            _INFO,
            "The site was set up: the backend shows its certificate and answers its clients from now on.",
            "site",
            "certificate_sha256",
        ),
        (
            "backend.unreachable",
            _ERROR,
            "The backend does not answer, or not correctly.",
            "cause",
            "url advice seconds",
        ),
        (
            "backend.version_refused",
            _ERROR,
            "Client and backend have versions that cannot work together.",
            "ours theirs",
            "url advice cause",
        ),
        ("events.dropped", _ERROR, "Events were lost before they reached the backend.", "count cause", "daemon"),
        (
            "events.refused",
            _WARNING,
            "An event from a daemon is not valid and was not stored.",
            "cause",
            "daemon event",
        ),
        (
            "events.set_aside",
            _ERROR,
            "An event that the backend does not take was set aside, so that it holds back no other.",
            "event cause",
            "daemon",
        ),
        (
            "store.outdated",
            _ERROR,
            "Another version of SmartProxy brought the store up to date: the backend has to be restarted.",
            "cause",
            "place",
        ),
        (
            "store.set_back",
            _WARNING,
            "The store is a copy from before a generation that a client has; it was given another id.",
            "generation previous",
            "client store",
        ),
        (
            "store.busy",
            _WARNING,
            "The store cannot be used at the moment: another program keeps it locked, or its server does not answer or "
            "takes no changes. The backend tries again.",
            "cause",
            "place",
        ),
        ("secret.on_command_line", _WARNING, "A secret can be read in the process list.", "option", "advice"),
    ),
    entries_of(
        "Alerts",
        Audience.OPERATIONS,
        (
            "event_script.dropped",
            _ERROR,
            "Events did not start the event script, because too many wait for it.",
            "count cause",
            "advice",
        ),
        (
            "event_script.failed",
            _ERROR,
            "The event script could not be started, or it failed.",
            "cause event event_number",
            "path exit_status seconds advice",
        ),
        ("ignore.changed", _INFO, "An ignore rule was added, changed or removed.", "ignored_by command", "count until"),
        ("ignore.expired", _INFO, "An ignore rule was removed: its time is over.", "ignored_by until count", ""),
        (
            "ignore.hit",
            _INFO,
            "An ignore rule silenced events; the newest is named.",
            "ignored_by count event event_number",
            "",
        ),
        ("mail.dropped", _ERROR, "Events stand in no mail, because too many wait for one.", "count cause", "advice"),
        ("mail.failed", _ERROR, "A mail could not be sent.", "cause count", "host port seconds names advice"),
        ("mail.sent", _INFO, "A mail about events was sent.", "count", "host port"),
    ),
    entries_of(
        "Watching the business",
        Audience.OPERATIONS,
        (
            "watch.eerp_overdue",
            _ERROR,
            "The end response (EERP or NERP) to a file has not come; several files: the oldest is named.",
            "partner link dataset stamp age",
            "originator count advice",
        ),
        (
            "watch.no_files",
            _ERROR,
            "A partner had sessions, and no file was transferred in them for too long.",
            "partner seconds",
            "advice",
        ),
        ("watch.recovered", _INFO, "What was told of a partner is over.", "partner event", "link dataset stamp age"),
        ("watch.silent", _ERROR, "A partner had no session for too long.", "partner seconds", "advice"),
    ),
)
"""By name, in the order of the documents."""
