"""The machine that a run has to itself: its lock, its signals, and what it is."""
