"""A run's folder → its record: marks and traces become windows, joules and cautions."""
