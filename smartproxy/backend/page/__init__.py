"""The admin page: what smartproxy-backend serves at ``/``, beside the API.

Duty: show operators how the site is, and let them change it by the operations that the API and the command use, with
the same permissions. :mod:`~smartproxy.backend.page.serving` judges each request (login, origin, form token, role)
before a page's function is called. Trusts nothing in a request; shows texts of peers escaped, with marks for what could
act on a reader; never sends a secret back; never waits for the store in the reactor.

How a page is added:

#. A module ``smartproxy/backend/page/NAME.py`` with a function for each route,
   ``async def shown(visit: PageVisit) -> Shown``. It calls operations with ``await visit.call(OPERATION, INPUT)``, and
   ends with ``visit.render("NAME.html", found=...)`` or, after a change, with ``visit.redirect(PATH, told="...")``. A
   change that the operation refuses raises a ``BackendError``: show the form again with its text, or let it go, and the
   reader gets the text on a page of its own.
#. The module's table ``ROUTES`` names them all::

       ROUTES = (
           Route("GET", "/partners", partner.listed, shown),
           Route("POST", "/partners/<name>/remove", partner.remove, removed),
       )

   The third is what the user needs: an operation (its scope), a role (all that the role may do), or
   ``Anyone.USER`` and ``Anyone.AT_ALL``. What a page asks for by itself, such as live parts, is declared with
   ``by_itself=True``, so that it does not prolong a login. There are ``GET``, which changes nothing, and ``POST``.
#. :mod:`~smartproxy.backend.page.pages` lists the module; :mod:`~smartproxy.backend.page.navigation` has its place.
#. A template ``templates/NAME.html`` that extends ``layout.html``, imports the components (``{% import
   "components.html" as c with context %}``), fills the blocks ``title``, ``content`` and ``help``, and is made of the
   components. A form is ``{% call c.form("/partners/new") %}``, which brings the form's token. A part of a path that is
   a name is written ``{{ name | part }}``, a text of a peer ``{{ text | peer }}``, a time ``{{ c.time(moment) }}``.
   There is no inline style and no inline script: styles are in ``static/look.css``, behaviour in ``static/page.js``, by
   ``data-`` attributes and htmx (``hx-get``, ``hx-trigger``).
#. All texts are English in the source, as ``{{ _("text %(name)s", name=name) }}`` or ``ngettext``; in modules
   ``visit.text("...")``, or ``later("...")`` for what is declared in one place and translated in another.
   ``locale/de.po`` has the German ones, in the section of the page; ``tests/unit/test_page_texts.py`` names those that
   are missing. What a daemon or an operation says is ``{{ said(sentence) }}``, in an attribute ``said.plain``:
   ``locale/said/de.po`` has its German, with holes for what differs, and ``tests/unit/test_page_said.py`` names what is
   missing of causes, events and errors.
"""
