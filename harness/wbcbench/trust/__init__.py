"""How far joules can be trusted: uncertainty, witnesses, faults of sensors; pure."""
