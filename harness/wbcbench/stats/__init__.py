"""How differences between runs become statements: pure functions on arrays of numbers.

Everything takes *differences within blocks* (a block is one seed with every variant once), so that
what a block shares cancels. For joules and seconds a difference is one of natural logarithms, that
is, the logarithm of a ratio. Nothing here knows records, files or the names of metrics, and no
number is ever NaN: what is unknown is ``None``.

``scipy.stats``, pandas and statsmodels are imported only for the bootstrap and for the power of a
plan: they take several times as long to load as a comparison takes. The
tests check every number against them (see ``harness/decisions/0003``).
"""
