"""The parts of the trainer, one idea a file. They tell marks and know nothing of meters.

TensorFlow and Keras are imported by ``device``, ``session`` and the modules they call; ``control``,
``scores`` and ``bootstrap`` need neither.
"""
