"""Joules of code that is not the harness's own: a command, the machine, spans of a program."""
