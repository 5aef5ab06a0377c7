"""What users hand in, spoiled a little: nothing wrong is taken, nothing is lost, no traceback."""
