"""How numbers, tables and files are set down, for people and for disks.

Units scale themselves here, cells are made harmless, files appear whole or not at all. Knows
nothing of runs.
"""
