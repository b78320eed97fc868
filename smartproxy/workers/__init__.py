"""Layer 3: the processes of one daemon: a supervisor, and workers that carry its sessions.

How it works. A daemon with workers is one supervisor and N workers, made by a *zygote* (:mod:`.spawning`): a process
that the supervisor forks before its reactor runs, that has imported everything and forks a worker when it is asked to.
Between supervisor and worker there is one pair of UNIX sockets (:mod:`.packets`), which carries the questions and
answers of a :class:`~.link.Link` under a table of directions, as the tunnel's control connection does, and with a
question at most one descriptor: a connection that was accepted, or a memory file with the configuration. The
:class:`~.crew.Crew` keeps N workers alive: a worker that dies takes its own sessions along and nothing else.

The supervisor takes a worker for hostile: boxes are bounded, every value has a type, and a wrong one ends the worker.
A worker trusts its supervisor.
"""
