"""Fixtures for all tests live in modules under ``fakes``; this file only names them."""

import signal

pytest_plugins = ("fakes.nvml_plugin", "cells")

# A suite started in the background of a script inherits an ignored Ctrl-C, and so would everything
# it starts; the tests of interrupts need the usual one.
signal.signal(signal.SIGINT, signal.default_int_handler)
