"""Comes in: words of a command line. Goes out: results on stdout, progress on stderr, an exit code.

A command is a module: of this room, or named by another distribution's entry point in the group
``polyhead.commands``. Its docstring is the help text; it has two functions, ``configure(parser)``
and ``execute(arguments) -> exit code``, and imports heavy libraries only inside ``execute``.
"""
