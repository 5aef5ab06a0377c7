"""Kinds of tampering that no check of a bundle need find, and what can tell instead."""

from __future__ import annotations

from collections.abc import Mapping

BEYOND: Mapping[str, str] = {}
