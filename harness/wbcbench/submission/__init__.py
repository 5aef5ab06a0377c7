"""A study as a bundle that a stranger can check without running anything, and run again.

``layout`` knows what is called what; ``document`` is ``submission.json``. Everything else either
writes a bundle or checks one.
"""
