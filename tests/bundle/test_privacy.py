"""What identifies a person or a machine in a text is replaced, and nothing else is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wbcbench.bundle.redact import (
    LEAKS,
    Known,
    copy_file,
    find_names,
    make_redactor,
    replace_private,
)

pytestmark = pytest.mark.usefixtures("sketches")

KNOWN = Known(
    folders=("/home/Alice Smith",),
    users=("alice",),
    hosts=("alices-tower",),
    serials=("1320221045678",),
)
UUID = "GPU-1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901"


def clean(text: str, salt: str = "salt") -> str:
    return replace_private(text, KNOWN, salt, lambda *_: None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--data /home/alice/cells", "--data <path>/cells"),
        ("wrote /tmp/.codecarbon.lock.", "wrote <path>/.codecarbon.lock."),
        ("home is /home/bob", "home is <path>"),
        ("/home/Alice Smith/My/cells x", "<path>/cells x"),
        (
            'File "/srv/x/.venv/lib/python3.11/site-packages/keras/src/a.py", line 3',
            'File "<path>/site-packages/keras/src/a.py", line 3',
        ),
        ("alice@alices-tower: alice", "<user>@<host>: <user>"),
        ("mail ada@example.org", "mail <user>@<host>"),
        ("board 1320221045678", "board <serial>"),
        ('"lat": 52.51, "lon": -0.12', '"lat": <coordinate>, "lon": <coordinate>'),
        ("eth0 00:1a:2B:3c:4d:5e up", "eth0 <address> up"),
        ("KAGGLE_KEY=abcdef123456", "<secret>"),
        ("https://u:pw1234@example.org/x", "https://<secret>@example.org/x"),
        ("ghp_" + "a" * 36, "<secret>"),
        ("10.0.0.7 and threading.local", "<address> and <host>"),
        ("{'token': 'abcdefgh'}", "{'<secret>'}"),
    ],
)  # fmt: skip
def test_private_things_are_replaced(text, expected):
    assert clean(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "There is no /sys/class/powercap, nor /proc/driver/nvidia/version or /dev/nvidia0",
        "/job:localhost/replica:0/task:0/device:GPU:0",
        "nvml/gpu0/counter in J/s, 3/4 and/or codecarbon/cpu",
        "https://docs.example.io/latest/how-to/x#y",
        "<details><summary>a</summary></details>",
        "TEST/EOSINOPHIL/_0_1616.jpeg",
        "../shared/data and ./x/y",
        "opencv 5.0.0.93, driver 555.42.06, cudnn 9",
        "git@github.com:x/y",
        "a token: none; 123456 tokens",
        "adam, root, train: words, not names",
        "tolerance of 1e-9 at 12:34:56Z",
    ],
)
def test_other_things_are_left_alone(text):
    assert clean(text) == text


def test_a_uuid_becomes_one_salted_hash():
    first, second = clean(UUID), clean(UUID.replace("b", "B"))
    assert first == second != UUID
    assert first.startswith("GPU-")
    assert clean(UUID, "other salt") != first


def test_names_that_a_text_gives_away_are_known_and_common_ones_are_not():
    users, hosts = find_names("/home/carol/x root@localhost dave@big-box.lab")
    assert users == {"carol", "dave"}
    assert hosts == {"big-box.lab"}


def test_each_replacement_is_reported_with_its_kind():
    replaced = []
    replace_private(f"/home/alice/x {UUID} alice", KNOWN, "s", lambda *pair: replaced.append(pair))
    assert replaced == [("path", "/home/alice/x"), ("GPU UUID", UUID), ("user name", "alice")]


def test_a_node_of_a_cluster_becomes_a_hash_wherever_it_is_named(tmp_path):
    study = tmp_path / "study"
    for run, node in (("a", "gpu-node17"), ("b", "gpu-node18")):
        (study / run).mkdir(parents=True)
        document = {"provenance": {"job": {"node": node, "id": "7", "partition": "gpu"}}}
        (study / run / "record.json").write_text(json.dumps(document))
    (study / "a" / "log.txt").write_text("started on gpu-node17\n")
    redactor = make_redactor([study])
    jobs = {}
    for run in ("a", "b"):
        copy_file(study / run / "record.json", tmp_path / "copy", f"{run}.json", redactor)
        text = (tmp_path / "copy" / f"{run}.json").read_text()
        assert "gpu-node" not in text
        jobs[run] = json.loads(text)["provenance"]["job"]
    assert jobs["a"]["node"] != jobs["b"]["node"]
    assert {jobs["a"]["id"], jobs["a"]["partition"]} == {"7", "gpu"}
    copy_file(study / "a" / "log.txt", tmp_path / "copy", "log.txt", redactor)
    assert (tmp_path / "copy" / "log.txt").read_text() == "started on <host>\n"
    copy_file(tmp_path / "copy" / "a.json", tmp_path, "again.json", redactor)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "copy" / "a.json").read_bytes()


WORDS = st.sampled_from(
    ["token", "'api-key'", '"lat"', "alice", "x@y", "10.0.0.7", ".local", "/home/bob", "/Users/a b",
     "/root/x", "hf_", "sk-", "http://a:b@", "a" * 24, "52.5201", *":= \n'", '"', "/"]
)  # fmt: skip


@settings(deadline=None)
@given(st.text())
def test_what_is_clean_stays_clean(text):
    once = clean(text)
    assert clean(once) == once


@settings(deadline=None)
@given(st.lists(WORDS, max_size=12).map("".join))
def test_what_is_clean_holds_nothing_that_verify_would_find(text):
    assert not [name for name, rule in LEAKS.items() if rule.search(clean(text))]
