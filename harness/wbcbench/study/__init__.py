"""Many runs: an experiment file, its plan and forecast, and the sweep that carries it out."""
