"""``[cluster]`` and ``--cluster KEY=VALUE``: what a job asks for."""

from __future__ import annotations

import pytest

from wbcbench.core.errors import UsageError
from wbcbench.run.launchers.cluster import ClusterSettings


def test_keys_of_a_command_line_change_those_of_the_file() -> None:
    file = ClusterSettings(partition="gpu", cpus=4, setup=("module load cuda",))
    words = ["partition=long", "cpus=8", "setup=ulimit -c 0", "time=1-12", "gres="]
    found = file.change(words)
    assert (found.partition, found.cpus, found.time, found.gres) == ("long", 8, "1-12", "")
    assert found.setup == ("module load cuda", "ulimit -c 0")
    assert file.change([]) is file


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("partitoin=gpu", "partition"),
        ("cpus", "KEY=VALUE"),
        ("cpus=many", "cpus"),
        ("cpus=0", "cpus"),
        ("time=soon", "time"),
        ("partition=a\nb", "partition"),
    ],
)
def test_what_is_no_key_or_no_value_of_one_is_refused(word: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ClusterSettings().change([word])
