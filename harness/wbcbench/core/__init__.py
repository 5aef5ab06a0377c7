"""Plain values that files and rooms share; no sensor, no TensorFlow."""
