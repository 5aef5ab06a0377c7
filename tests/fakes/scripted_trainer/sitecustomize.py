"""Put the scripted trainer in the place of the real one where the variable is set; Python runs it.

It must not cost anything in the processes that start no trainer.
"""

import os
import sys
from importlib.machinery import ModuleSpec

REAL, SCRIPTED = "wbcbench.train.trainer", "fakes.scripted_trainer.trainer"


class ScriptedTrainer:
    """Finds the scripted trainer by the name of the real one."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        del path, target
        if name != REAL:
            return None
        from importlib.util import find_spec, spec_from_file_location

        found = find_spec(SCRIPTED)
        assert found is not None, "the folder of the tests is not on the path"
        return spec_from_file_location(name, found.origin)


if os.environ.get("WBCBENCH_SCRIPTED_TRAINER"):
    sys.meta_path.insert(0, ScriptedTrainer)
