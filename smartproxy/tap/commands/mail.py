"""``smartproxy mail``: the mail that the backend sends for critical events."""

import contextlib
from typing import TYPE_CHECKING, Any

from smartproxy.tap.commands.arguments import Subparsers, action, subject
from smartproxy.tap.commands.console import CommandFailed, Console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smartproxy.backend.alerts.mail import Mailing

_EXAMPLES = """\
  smartproxy settings set backend.mail.host mail.example.com backend.mail.from oftp@example.com backend.mail.to \\
      edi@example.com backend.mail.user oftp backend.mail.password_file /etc/smartproxy/mail-password
  smartproxy mail test"""


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "mail", "the mail that the backend sends for critical events", _EXAMPLES)
    action(
        actions,
        "test",
        "Send a mail about an event that did not happen, and tell what the mail server says. Run this as the backend's "
        "user, who may read the file of the password.",
        test,
        _EXAMPLES,
    )


def test(console: Console) -> None:
    """Send a mail to try the settings."""
    from smartproxy.backend.alerts.mail import MailFailed, Mailing
    from smartproxy.backend.alerts.results import mail_to_try

    with console.reading() as session:
        trial = mail_to_try(session, console.now())
    mail = trial.mail
    try:
        sender = trial.prepared()
        refused = _send(lambda reactor: Mailing(reactor, sender, trial.message))
    except MailFailed as failed:
        said = f"; it says: {' '.join(failed.answer.split())[:200]}" if failed.answer else ""
        raise CommandFailed(f"{failed}{said} ({failed.cause})") from failed
    accepted = [each for each in mail.to if each not in refused]
    text = f"the mail server {mail.host} has taken the mail for {', '.join(accepted)}"
    if refused:
        text += f"; it refused {', '.join(refused)}"
    console.answer({"host": mail.host, "port": mail.port, "accepted": accepted, "refused": list(refused)}, text)
    if refused:
        raise CommandFailed("not all addresses are accepted; 'smartproxy settings show backend.mail.to' lists them")


def _send(mailing: Any) -> "Sequence[str]":
    """Send one mail in a reactor of its own.

    :raises MailFailed: when it is not sent.
    """
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react
    from twisted.python.failure import Failure

    results: list[Any] = []

    def begin(reactor: Any) -> Deferred[None]:
        made: Mailing = mailing(reactor)
        return Deferred.fromCoroutine(made.send()).addBoth(results.append)

    with contextlib.suppress(SystemExit):
        react(begin)
    if not results:
        raise CommandFailed("it was interrupted before the mail server had taken the mail")
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    found: Sequence[str] = result
    return found
