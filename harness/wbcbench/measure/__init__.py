"""The same meters for anybody's code: a command, a block of Python, a Keras training."""
