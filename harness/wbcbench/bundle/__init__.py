"""A study for third parties: written, opened within bounds, checked, and run again."""
