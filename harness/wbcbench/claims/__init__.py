"""Claims of others, defined so that runs can support or contradict them.

``definition`` reads them from TOML, ``measures`` says what is read off one run, ``evidence``
gathers it over a study and ``judgement`` puts the checks of a claim together.
"""
