"""What a sensor is like, and what a board says beside its watts; meters are in ``meters``."""
