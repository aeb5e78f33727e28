"""The streams on the command line: one module a command.

A command connects by itself and leaves again. `--json` gives one JSON document a line on stdout,
so that it pipes; whatever is said beside that goes to stderr.
"""
