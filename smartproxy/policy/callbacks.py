"""What stands where nobody wants to be called."""


def nothing(*_: object, **__: object) -> None:
    """Do nothing; the default of a callback."""
