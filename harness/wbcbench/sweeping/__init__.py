"""A plan carried out: which runs are done, what comes next, when to stop, what it has cost."""
