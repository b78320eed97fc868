"""A form as a browser sends it: fields and files, of bounded number and size.

Parsed where it does not hold the reactor. Trusts nothing in it.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from urllib.parse import parse_qsl

import attrs
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from smartproxy.backend.requests import BODY_OCTETS_MOST
from smartproxy.policy import limits

TOKEN_FIELD = "csrf"
URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"


class FormUnreadable(Exception):
    """What was sent is no form, or larger than one may be."""


@attrs.frozen
class SentFile:
    """A file that was dropped or chosen; ``name`` is what the browser says."""

    name: str
    octets: bytes


@attrs.frozen
class SentForm:
    """What was sent.

    :ivar fields: the values of each field, in their order.
    :ivar files: the files of each field; one for which none was chosen has none.
    """

    fields: Mapping[str, Sequence[str]] = attrs.field(factory=dict, repr=False)
    files: Mapping[str, Sequence[SentFile]] = attrs.field(factory=dict, repr=False)

    def one(self, name: str) -> str:
        """The last value of a field, without blanks around it; empty for none."""
        return self.fields.get(name, ("",))[-1].strip()

    def secret(self, name: str) -> str:
        """The last value of a field as it was typed, such as a password."""
        return self.fields.get(name, ("",))[-1]

    def many(self, name: str) -> list[str]:
        """The values of a field that are not empty."""
        return [each.strip() for each in self.fields.get(name, ()) if each.strip()]

    def lines(self, name: str) -> list[str]:
        """The lines of a field that are not empty."""
        return [line.strip() for each in self.fields.get(name, ()) for line in each.splitlines() if line.strip()]

    def checked(self, name: str) -> bool:
        """Whether a box is checked."""
        return name in self.fields

    def file(self, name: str) -> SentFile | None:
        """The file of a field, if one was chosen."""
        found = self.files.get(name, ())
        return found[0] if found else None


def parse(content_type: str, octets: bytes) -> SentForm:
    """The form of a body.

    :raises FormUnreadable: when it is none, or has too many fields.
    """
    if len(octets) > BODY_OCTETS_MOST:
        raise FormUnreadable(f"it is larger than {BODY_OCTETS_MOST} octets")
    media, options = parse_options_header(content_type)
    if media == URLENCODED or not octets:
        return _urlencoded(octets)
    if media != _MULTIPART:
        raise FormUnreadable(f"it is of another type than a form: {media[:64]!a}")
    parser = FormDataParser(
        max_form_memory_size=BODY_OCTETS_MOST,
        max_content_length=BODY_OCTETS_MOST,
        max_form_parts=limits.FORM_FIELDS_MOST,
        silent=False,
    )
    try:
        _, fields, files = parser.parse(BytesIO(octets), media, len(octets), options)
    except (HTTPException, ValueError) as error:
        raise FormUnreadable("it is malformed") from error
    return SentForm(
        {name: tuple(values) for name, values in fields.lists()},
        {
            name: tuple(SentFile(each.filename, each.read()) for each in sent if each.filename)
            for name, sent in files.lists()
        },
    )


def _urlencoded(octets: bytes) -> SentForm:
    try:
        pairs = parse_qsl(
            octets.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=limits.FORM_FIELDS_MOST,
        )
    except ValueError as error:
        raise FormUnreadable("it is malformed") from error
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return SentForm(fields)
