"""The parts of the trainer, one idea a file. They tell marks and know nothing of meters.

TensorFlow and Keras are imported by the modules that compute; ``control``,
``phases`` and ``scores`` need neither.
"""
