"""The figures of a report: each one is drawn by one function from one table."""
