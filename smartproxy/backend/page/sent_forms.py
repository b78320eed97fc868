"""A form as a browser sends it: fields and files, of bounded number and size.

Parsed where it does not hold the reactor. Trusts nothing in it.
"""

import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import parse_qsl

import attrs
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from smartproxy.policy import limits

TOKEN_FIELD = "csrf"
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
_FILE_NAME_MOST = 200


class FormUnreadable(Exception):
    """What was sent is no form."""


class FormTooLarge(FormUnreadable):
    """What was sent is larger than a form may be."""


@attrs.frozen
class SentFile:
    """A file that was dropped or chosen; ``name`` is what the browser says.

    :ivar large: the file on the disk, in the place of its octets, where it has more than other forms may have.
    """

    name: str
    octets: bytes
    large: IO[bytes] | None = None


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


def parse(content_type: str, body: IO[bytes], most: int = limits.API_BODY_OCTETS_MOST) -> SentForm:
    """The form of a body.

    :param most: how many octets it may have.
    :raises FormUnreadable: when it is not one, too large, or has too many fields.
    """
    length = body.seek(0, os.SEEK_END)
    body.seek(0)
    if length > most:
        raise FormTooLarge(f"it is larger than {most} octets")
    media, options = parse_options_header(content_type)
    if media == URLENCODED or not length:
        if length > limits.API_BODY_OCTETS_MOST:
            raise FormTooLarge(f"it is larger than {limits.API_BODY_OCTETS_MOST} octets")
        return _urlencoded(body.read())
    if media != MULTIPART:
        raise FormUnreadable(f"it is of another type than a form: {media[:64]!a}")

    def room(*about: Any, **more: Any) -> IO[bytes]:
        # What is large is no field: a file is kept on the disk, as the body is.
        return TemporaryFile() if length > limits.API_BODY_OCTETS_MOST else BytesIO()

    parser = FormDataParser(
        stream_factory=room,
        max_form_memory_size=limits.API_BODY_OCTETS_MOST,
        max_content_length=most,
        max_form_parts=limits.FORM_FIELDS_MOST,
        silent=False,
    )
    try:
        _, fields, files = parser.parse(body, media, length, options)
    except (HTTPException, ValueError) as error:
        raise FormUnreadable("it is malformed") from error
    return SentForm(
        {name: tuple(values) for name, values in fields.lists()},
        {name: tuple(_file(each) for each in sent if each.filename) for name, sent in files.lists()},
    )


def _file(sent: FileStorage) -> SentFile:
    name = _clean(sent.filename or "")
    if isinstance(sent.stream, BytesIO):
        return SentFile(name, sent.stream.getvalue())
    return SentFile(name, b"", sent.stream)


def _clean(name: str) -> str:
    """A file's name as messages can say it: what acts on their readers, or is not printable, is no part of it."""
    plain = "".join(each if each.isprintable() else "_" for each in name)
    return plain[:_FILE_NAME_MOST].strip() or "_"


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
