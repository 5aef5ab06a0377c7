"""A run as files: what it is asked (``study``), its folder (``rundir``), its end (``records``)."""
