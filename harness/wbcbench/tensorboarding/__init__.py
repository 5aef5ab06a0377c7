"""A study for TensorBoard: what came of each run, and a server on this machine alone to look at it.

The trainer writes its curves while it trains (``tensorboard_log``); what is here is derived from
records and traces and can be made again at any time. Nothing here is a result.
"""
