"""The child process that trains: variants, network, loop, scores. TensorFlow lives here alone."""
