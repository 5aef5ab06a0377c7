"""The one builder of runs for tests: a machine, a timeline, and what a run on them leaves.

``machine`` says what is read and what each part draws, ``timeline`` when what happens. From these
follow ``run`` (records in memory), ``evidence`` (traces and their checks), ``folder`` (the files of
a run), ``study`` (many runs, of known truth or as a sweep leaves them) and ``bundle`` (a study that
can be submitted).
"""
