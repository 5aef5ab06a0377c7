"""The same meters for any code: a command, a block of Python, a Keras training."""
