"""A report as files: each format, what an earlier report left, and what need not be redone."""
