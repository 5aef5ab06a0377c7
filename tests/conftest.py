"""Fixtures for all tests live in modules under ``fakes``; this file only names them."""

pytest_plugins = ("fakes.nvml_plugin", "cells")
