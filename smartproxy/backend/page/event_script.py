"""What events start: how the event script and mail are set, what came of the last runs, and a test run."""

from smartproxy.backend.alerts.intake import AlertChannel, AlertState
from smartproxy.backend.alerts.mail_tests import SENT_WITHIN
from smartproxy.backend.errors import BackendError
from smartproxy.backend.operations import event_script, settings
from smartproxy.backend.operations.event_script import RunsWanted, ScriptTestWanted, TestedScript
from smartproxy.backend.operations.settings import KnownSetting, SettingsWanted
from smartproxy.backend.operations.shapes import Nothing
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.setting_texts import text_of
from smartproxy.backend.page.settings import told_value
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import PageVisit

RUNS_SHOWN = 50
STATES = {
    AlertState.WAITING: ("info", later("waits")),
    AlertState.DONE: ("good", later("done")),
    AlertState.FAILED: ("bad", later("failed")),
    AlertState.OLD: ("info", later("too old")),
    AlertState.DROPPED: ("warn", later("left out")),
    AlertState.LOST: ("warn", later("left out")),
}
"""How far it is with a run: the kind of mark, and a word."""


async def shown(visit: PageVisit) -> Shown:
    """Settings, runs and mails."""
    return await _page(visit)


async def tested(visit: PageVisit) -> Shown:
    """Run the script with an example, and show what came of it."""
    event = visit.form.one("event")
    number = int(event) if event.isdecimal() and event.isascii() and len(event) < 19 else None
    if event and number is None:
        return await _page(visit, fault=visit.text("This is no event's number."))
    try:
        done = (await visit.call(event_script.test, ScriptTestWanted(event=number))).answer
    except BackendError as error:
        return await _page(visit, fault=str(error))
    return await _page(visit, done=done)


async def mail_asked(visit: PageVisit) -> Shown:
    """Have a mail sent to try the settings."""
    try:
        await visit.call(event_script.ask_mail, Nothing())
    except BackendError as error:
        return await _page(visit, fault=str(error))
    return visit.redirect("/event-script#mail")


async def mail_live(visit: PageVisit) -> Shown:
    """What came of it so far."""
    return visit.part("mail_test.html", **await _mail_test(visit))


async def _mail_test(visit: PageVisit) -> dict[str, object]:
    tested = (await visit.call(event_script.mail_test, Nothing())).answer
    waits = tested.asked is not None and tested.ended is None and visit.now < tested.asked + SENT_WITHIN
    return {"mail": tested, "waits": waits}


async def _page(visit: PageVisit, done: TestedScript | None = None, fault: str = "") -> Shown:
    script = (await visit.call(settings.show, SettingsWanted(prefix="backend.event_script"))).answer.items
    mail = (await visit.call(settings.show, SettingsWanted(prefix="backend.mail"))).answer.items
    runs = (await visit.call(event_script.runs, RunsWanted(limit=RUNS_SHOWN))).answer.items
    mails = (await visit.call(event_script.runs, RunsWanted(channel=AlertChannel.MAIL, limit=RUNS_SHOWN))).answer.items
    return visit.render(
        "event_script.html",
        status=422 if fault else 200,
        program=_value(script, "program"),
        host=_value(mail, "host"),
        blocks=[(later("Event script"), _rows(visit, script)), (later("Mail"), _rows(visit, mail))],
        parts=[(later("Runs of the event script"), runs[::-1]), (later("Events in mails"), mails[::-1])],
        states=STATES,
        **await _mail_test(visit),
        done=done,
        fault=fault,
    )


def _value(found: tuple[KnownSetting, ...], name: str) -> object:
    return next(each.value for each in found if each.name.endswith(f".{name}"))


def _rows(visit: PageVisit, found: tuple[KnownSetting, ...]) -> list[tuple[str, str, str]]:
    return [(each.name, visit.text(text_of(each.name)), _told(visit, each)) for each in found]


def _told(visit: PageVisit, each: KnownSetting) -> str:
    """A setting's value, with what it counts."""
    value = told_value(visit, each.value)
    return value if each.unit is None or each.value is None else f"{value} {visit.text(each.unit)}"


ROUTES = (
    Route("GET", "/event-script", event_script.runs, shown),
    Route("POST", "/event-script/test", event_script.test, tested),
    Route("POST", "/event-script/mail", event_script.ask_mail, mail_asked),
    Route("GET", "/event-script/mail/live", event_script.mail_test, mail_live, by_itself=True),
)
