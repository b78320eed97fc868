"""The values of settings as people write and read them: lists with commas, listeners as ``address:port``, yes and no.

Reads a text by the kind of the setting's default alone; what a value may be is judged with the whole configuration.
"""

import json
from typing import Final

from smartproxy.policy.addresses import BadHostPort, HostPort, listening_address
from smartproxy.policy.values import whole_of

_WORDS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class BadSettingValue(ValueError):
    """A text is not of the setting's kind; the message says what is."""


def value_of_text(name: str, text: str, default: object) -> object:
    """What a text means as a value of a setting, told by its default.

    :raises BadSettingValue: when it is not of the default's kind.
    """
    match default:
        case bool():
            if text.lower() not in _WORDS:
                raise BadSettingValue(f"{name} is yes or no, not {text!r}")
            return _WORDS[text.lower()]
        case int():
            try:
                return whole_of(text)
            except ValueError:
                if text.isascii() and text.isdecimal():
                    raise BadSettingValue(f"{name}: the number {text!r} is far too large") from None
                raise BadSettingValue(f"{name} is a whole number, not {text!r}") from None
        case list():
            items = [each.strip() for each in text.split(",") if each.strip()]
            return [_listener(name, each) for each in items] if name.endswith(".listeners") else items
        case _:
            return text


def _listener(name: str, text: str) -> dict[str, object]:
    try:
        address = listening_address(text)
    except BadHostPort as error:
        raise BadSettingValue(f"{name}: {error}") from None
    return {"address": address.host or "0.0.0.0", "port": address.port}  # noqa: S104  It was asked for.


def value_text(value: object) -> str:
    """The value of a setting, for people."""
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return ",".join(value_text(each) for each in value) or "none"
        case {"address": str(address), "port": int(port)}:
            return str(HostPort(address, port))
        case str() | int():
            return str(value)
        case None:
            return "not set"
        case _:
            return json.dumps(value)
