"""What an operator can do, each thing once: the command, the API and the page call it here.

:mod:`~smartproxy.backend.operations.operation` says how an operation is declared, and how one is added.
"""
