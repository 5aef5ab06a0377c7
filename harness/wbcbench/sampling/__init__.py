"""From meter names to traces on disk: which meters work here, their pace, a thread for each."""
