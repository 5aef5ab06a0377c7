"""Traces → joules, and what follows from joules: pure arithmetic, without clocks."""
