"""Runs → statements: which runs may stand together, in which blocks, and what they show.

Reads rows and specs, asks ``stats`` and hands back one ``Comparison``; it prints nothing (see
``comparison.text`` and its neighbours for the ways to write one down).
"""
