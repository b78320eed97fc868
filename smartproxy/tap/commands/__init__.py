"""The subcommands of ``smartproxy``, one module a subject.

Each module registers its arguments without importing what does the work: the command has to start fast, and to work
where only some of the libraries are installed.
"""
