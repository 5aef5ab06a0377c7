"""One run, from its spec to its record: the recorder, the trainer's process, what a person sees."""
