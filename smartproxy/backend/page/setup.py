"""The guided set-up: from a site and an administrator to the first session, step by step.

Which steps are done is read from the store at every request: what was begun elsewhere, or interrupted, goes on here.
"""

import re
from datetime import timedelta
from typing import Any

import attrs

from smartproxy.backend.errors import BackendError, Unusable
from smartproxy.backend.operations import authority, client, identity, licence, partner, setup
from smartproxy.backend.operations import settings as settings_operations
from smartproxy.backend.operations.partner import CODE_UNKNOWN
from smartproxy.backend.operations.setup import STATION_HOST, STATION_PORT, SiteProgress
from smartproxy.backend.operations.shapes import GivenFile, Named, Nothing
from smartproxy.backend.page.dropped_certificates import facts_in
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.typed_times import last_second
from smartproxy.backend.page.visit import PageRefused, PageVisit
from smartproxy.backend.settings import LISTENERS
from smartproxy.backend.station_probe import SECONDS, Answer, look
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.permissions import AdminRole

IDENTITY = "main"
"""The name of the identity that the set-up makes."""
CLIENT = "inner"
_LIVE = ("machines", "partner", "session")
"""The steps that wait for something."""
_STEPS = (
    ("site", later("Site and authority")),
    ("administrator", later("First administrator")),
    ("station", later("Station")),
    ("identity", later("Certificate for partners")),
    ("licence", later("Licence for the server")),
    ("machines", later("Server and client")),
    ("partner", later("First partner")),
    ("session", later("First session")),
)
_FOUND = {
    Answer.SSRM: later("An OFTP2 station answered: SSRM."),
    Answer.SILENT: later(
        "Something accepts connections there, but did not greet within %(seconds)s seconds. A station greets at once "
        "(SSRM). Is it a port for TLS? SmartProxy calls the station without TLS."
    ),
    Answer.CLOSED: later(
        "It hung up before it greeted. Does the station allow calls from this machine? See the station's log."
    ),
    Answer.OTHER: later("What answers there is no OFTP2 station: it says something else than SSRM. Check the port."),
    Answer.REFUSED: later("It refuses the connection: nothing listens at this port. Does the station run?"),
    Answer.NAME: later("This name is not known. Check how it is written, or type the address."),
    Answer.NO_ROUTE: later("There is no route to it. Check the address, and the firewall between."),
    Answer.NO_ANSWER: later("It does not answer within %(seconds)s seconds. Check the address, and the firewall."),
}
_YEAR = timedelta(days=365)


@attrs.frozen
class SetupStep:
    """A step as the page shows it.

    :ivar state: ``done``, ``now`` for the first that is not done, or ``next``.
    """

    number: int
    key: str
    title: str
    state: str


def steps_of(found: SiteProgress) -> tuple[SetupStep, ...]:
    """The steps, and which of them are done."""
    done = {
        "site": found.site is not None,
        "administrator": found.administrator,
        "station": found.station_host is not None,
        "identity": found.identity is not None,
        "licence": found.proxy_id is not None,
        "machines": found.client_seen is not None and found.server_seen is not None,
        "partner": found.code is not None,
        "session": found.finished,
    }
    due = next((key for key, _ in _STEPS if not done[key]), "")
    return tuple(
        SetupStep(number, key, title, "done" if done[key] else "now" if key == due else "next")
        for number, (key, title) in enumerate(_STEPS, 1)
    )


async def shown(visit: PageVisit) -> Shown:
    """The steps, with the one that is due, or that is asked for, open."""
    return await _page(visit, visit.argument("step"))


async def live(visit: PageVisit) -> Shown:
    """Who has appeared, as the part of the page that looks again by itself."""
    found = (await visit.call(setup.show, Nothing())).answer
    step = visit.argument("step")
    return visit.render(f"setup_live_{step if step in _LIVE else _LIVE[-1]}.html", found=found)


async def station(visit: PageVisit) -> Shown:
    """Look whether a station answers, and save its address if it does, or if that is wanted all the same."""
    host, typed = visit.form.one("host"), visit.form.one("port")
    if not host or not re.fullmatch("[0-9]{1,5}", typed) or not 0 < int(typed) < 65536:
        return await _page(visit, "station", visit.text("Type a host name or an address, and a port from 1 to 65535."))
    port = int(typed)
    found = await look(visit.backstage.clock, host, port)
    words = visit.text(_FOUND[found], seconds=SECONDS) if "%" in _FOUND[found] else visit.text(_FOUND[found])
    if found is not Answer.SSRM and not visit.form.checked("anyhow"):
        return await _page(visit, "station", words, insist=True)
    values = tuple(
        settings_operations.SettingValue(name=name, value=value)
        for name, value in ((STATION_HOST, host), (STATION_PORT, port))
    )
    try:
        await visit.call(settings_operations.put, settings_operations.SettingValues(items=values))
    except BackendError as error:
        return await _page(visit, "station", str(error))
    return visit.redirect("/setup", words, "good" if found is Answer.SSRM else "warn")


async def identity_imported(visit: PageVisit) -> Shown:
    """Import key and certificate, or the certificate that was asked for."""
    files = tuple(
        GivenFile(name=each.name, octets=each.octets) for field in ("file", "chain") for each in _files(visit, field)
    )
    if not files:
        return await _page(visit, "identity", visit.text("Choose a file, or drop one."))
    found = (await visit.call(setup.show, Nothing())).answer
    password = visit.form.secret("password") or None
    has_key = password is not None or any(identity.holds_key(each.octets) for each in files)
    try:
        if found.request is not None and not has_key:
            done = await visit.call(identity.complete, identity.RequestAnswer(name=found.request, files=files))
        else:
            wanted = identity.IdentityImport(name=found.request or IDENTITY, files=files, password=password)
            done = await visit.call(identity.take_in, wanted)
    except BackendError as error:
        return await _page(visit, "identity", str(error))
    told = visit.text("Key and certificate are in the store; servers get them over the tunnel.")
    return visit.warned("/setup", told, done.answer.warnings)


async def identity_requested(visit: PageVisit) -> Shown:
    """Make a key, and a request for its certificate."""
    form = visit.form
    wanted = identity.RequestWanted(
        name=IDENTITY,
        common_name=form.one("common_name"),
        organization=form.one("organization") or None,
        country=form.one("country").upper() or None,
        serial_number=form.one("serial_number") or None,
        names=(form.one("common_name"),) if form.one("common_name") else (),
    )
    try:
        await visit.call(identity.request, wanted)
    except BackendError as error:
        return await _page(visit, "identity", str(error))
    return visit.redirect("/setup?step=identity", visit.text("The key is made. Send the request to your CA."))


async def request_saved(visit: PageVisit) -> Shown:
    """The request as a file."""
    found = (await visit.call(setup.show, Nothing())).answer
    if found.request is None:
        raise PageRefused(404, visit.text("This is not there"), visit.text("No certificate is asked for."))
    text = (await visit.call(identity.show, Named(name=found.request))).answer.request or ""
    return _file(visit, "smartproxy.csr", "application/pkcs10", text)


async def licensed(visit: PageVisit) -> Shown:
    """Sign a licence for the server whose Proxy ID was typed."""
    proxy_id = "".join(visit.form.one("proxy_id").split())
    try:
        end = last_second(visit, visit.form.one("until"))
        await visit.call(licence.issue, licence.LicenceOrder(proxy_id=proxy_id, valid_until=end))
    except BackendError as error:
        return await _page(visit, "licence", str(error))
    return visit.redirect("/setup?step=licence", visit.text("The licence is signed. Save it, and take it to the DMZ."))


async def licence_saved(visit: PageVisit) -> Shown:
    """The newest licence as a file."""
    found = (await visit.call(setup.show, Nothing())).answer
    text = (await visit.call(licence.show, licence.LicenceWanted(proxy_id=found.proxy_id))).answer.text
    return _file(visit, "smartproxy.lic", "application/octet-stream", text)


async def client_added(visit: PageVisit) -> Shown:
    """Make the client's token, or another one; it is shown in this answer and never again."""
    found = (await visit.call(setup.show, Nothing())).answer
    if found.client is None:
        made = (await visit.call(client.add, client.ClientAddition(name=CLIENT))).answer
    else:
        made = (await visit.call(client.renew, Named(name=found.client))).answer
    return await _page(visit, "machines", token=made.token)


async def partner_added(visit: PageVisit) -> Shown:
    """Add the first partner by its certificate; its code may follow."""
    file, code = visit.form.file("certificate"), visit.form.one("code").upper()
    try:
        if file is None:
            raise Unusable(visit.text("Choose the partner's certificate, or drop it."))
        facts = await visit.backstage.runner.run(facts_in, file.octets, file.name)
        wanted = partner.PartnerAddition(
            partner={"name": visit.form.one("name"), "codes": (code or CODE_UNKNOWN,)},
            pinned=(partner.GivenCertificate(pem=facts.pem),),
        )
        done = await visit.call(partner.add, wanted)
    except BackendError as error:
        return await _page(visit, "partner", str(error))
    told = visit.text("%(name)s is known by its certificate.", name=wanted.name)
    if facts.others_count:
        count = facts.others_count
        told += " " + visit.text("The file holds others (%(count)s), which are not needed.", count=count)
    return visit.warned("/setup", told, done.answer.warnings)


async def code_typed(visit: PageVisit) -> Shown:
    """Give the first partner its code: the one that was presented, or the one that was typed."""
    found, code = (await visit.call(setup.show, Nothing())).answer, visit.form.one("code").upper()
    try:
        if not code:
            await visit.call(setup.take_code, Nothing())
        elif found.partner is not None:
            await visit.call(partner.alter, partner.PartnerAlteration(name=found.partner, partner={"codes": (code,)}))
    except BackendError as error:
        return await _page(visit, "partner", str(error))
    return visit.redirect("/setup", visit.text("The code is known now; the partner can call again."))


async def _page(visit: PageVisit, wanted: str, fault: str = "", **more: Any) -> Shown:
    found = (await visit.call(setup.show, Nothing())).answer
    steps = steps_of(found)
    open_step = next((each for each in steps if each.key == wanted), None)
    if open_step is None:
        open_step = next((each for each in steps if each.state == "now"), steps[-1])
    known = (await visit.call(authority.show, Nothing())).answer
    values: dict[str, Any] = {
        "token": "",
        "insist": False,
        "request": None,
        "backend": _url(visit, known.https_names),
        "until": f"{visit.now + _YEAR:%Y-%m-%d}",
        **more,
    }
    if open_step.key == "identity" and found.request is not None:
        values["request"] = (await visit.call(identity.show, Named(name=found.request))).answer.request
    if open_step.key == "session":
        values["port"] = await _listening(visit)
    return visit.render(
        "setup.html",
        422 if fault else 200,
        found=found,
        steps=steps,
        open=open_step,
        known=known,
        form=visit.form,
        fault=fault,
        **values,
    )


async def _listening(visit: PageVisit) -> str:
    """The ports at which servers listen for partners, as they are set."""
    wanted = settings_operations.SettingsWanted(prefix=LISTENERS)
    (known,) = (await visit.call(settings_operations.show, wanted)).answer.items
    assert isinstance(known.value, list)
    return ", ".join(dict.fromkeys(str(each["port"]) for each in known.value))


def _url(visit: PageVisit, names: tuple[str, ...]) -> str:
    """Where clients call the backend: at its first name, and the port that it has."""
    host: Any = visit.request.getHost()
    name = names[0] if names else "localhost"
    return f"https://{HostPort(name, getattr(host, 'port', 8443))}"


def _files(visit: PageVisit, field: str) -> tuple[Any, ...]:
    return tuple(visit.form.files.get(field, ()))


def _file(visit: PageVisit, name: str, media: str, text: str) -> bytes:
    visit.request.setHeader(b"content-type", media.encode("ascii"))
    visit.request.setHeader(b"content-disposition", f'attachment; filename="{name}"'.encode("ascii"))
    return text.encode("utf-8")


_ROLE = AdminRole.ADMINISTRATOR

ROUTES = (
    Route("GET", "/setup", _ROLE, shown),
    Route("GET", "/setup/part/live", _ROLE, live, by_itself=True),
    Route("POST", "/setup/step/station", _ROLE, station),
    Route("POST", "/setup/step/identity", _ROLE, identity_imported),
    Route("POST", "/setup/step/request", _ROLE, identity_requested),
    Route("GET", "/setup/file/smartproxy.csr", _ROLE, request_saved),
    Route("POST", "/setup/step/licence", _ROLE, licensed),
    Route("GET", "/setup/file/smartproxy.lic", _ROLE, licence_saved),
    Route("POST", "/setup/step/client", _ROLE, client_added),
    Route("POST", "/setup/step/partner", _ROLE, partner_added),
    Route("POST", "/setup/step/code", _ROLE, code_typed),
)
