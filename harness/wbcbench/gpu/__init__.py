"""Which GPUs there are and what their driver says of them; the one door to NVML.

Knows nothing of channels, traces or runs: the ``nvml`` meter turns what is read here into them.
"""
