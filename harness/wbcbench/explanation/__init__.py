"""``wbcbench explain``: how one cell of the results table came about, worked out once more.

The formula stands beside the column (``table``). What a cell rests on is found by letting the
column read a run that takes notes (``listening``), so the explanation cannot drift from the
program. The run is then made again from what is on disk (``recount``), and the two are compared.
"""
