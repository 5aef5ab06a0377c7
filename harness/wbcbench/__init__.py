"""wbcbench: what training a neural network costs in joules, and what accuracy those joules buy."""

__version__ = "0.1.0"
