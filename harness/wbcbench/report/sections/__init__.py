"""The parts of a report: each a function from the study to words, tables and figures."""
