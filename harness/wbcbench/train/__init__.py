"""The child process that trains: variants, network, loop, scores. Only it imports TensorFlow."""
