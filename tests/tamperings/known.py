"""Kinds of tampering that no contradiction in a bundle need betray, and what can tell instead.

Each is one thing that only one witness saw: whoever changes it, and lets the program make the rest
again, contradicts nothing else. What can tell is named first: a digest that was posted before, a
signature by somebody who answers for it, or a training of one's own.
"""

from __future__ import annotations

from collections.abc import Mapping

_DIGEST = "posted digest"
_SIGNATURE = "signature"
_RERUN = "`--rerun`"

_BY = {
    _RERUN: {
        "joules of a variant scaled, while it is under load only": (
            "idle power is what it was, and every reading agrees with the others"
        ),
        "joules of a variant scaled, while it trains only": (
            "a network may well draw less while it trains than at other times"
        ),
        "joules of a variant scaled, in all its traces": (
            "where a variant is alone in a part of the study, nothing says what its idle power was"
        ),
        "two variants exchanged in every block, but for what each network says of itself": (
            "traces and predictions do not name their network"
        ),
        "validation widened over training steps, by less than a second": (
            "a validation may take longer in one run than in another"
        ),
        "dropout of the dense layer changed": "only the trainer used it",
        "runs of a variant made more alike": "each differs as runs do",
        "trace smoothed": "some sensors are as smooth",
        "traces of two runs of a block exchanged": (
            "where the driver was loaded anew for every run, no counter goes on from run to run"
        ),
        "predictions improved by 5 %, the last validation with them": (
            "nobody else saw the predictions"
        ),
        "every image given a photograph of its own": (
            "of a set of one's own, nobody else knows which images show the same"
        ),
        "flags of leakage cleared": (
            "of a set of one's own, the images of TRAIN are not in the bundle"
        ),
        "seed of a block changed": "weights and order of images are digests that a training gives",
        "learning rate changed, as every epoch says it": "only the trainer used it",
        "precision changed": "only the trainer used it",
        "batch size changed, the steps of an epoch with it": "only the trainer used it",
    },
    _DIGEST: {
        "plan backdated": "the day is written by whoever keeps the plan",
        "region of equivalence changed afterwards": "the plan is what it says now",
        "primary metric changed afterwards": "the plan is what it says now",
        "baseline changed afterwards": "the plan is what it says now",
        "tests given up afterwards": "the plan is what it says now",
        "stopping rule taken out of the plan": "the plan is what it says now",
        "target of energy to accuracy lowered": "the plan is what it says now",
        "plan taken away, the runs single ones": "single runs have no plan",
        "the last block dropped with its plan entry": "no run comes after it that names it",
        "the last block dropped, the plan left as it is": "a study may be stopped",
        "a variant dropped with its plan entry": (
            "of few blocks, what is left may stand as the order's seed draws it"
        ),
        "a study moved by months, its pairs of clocks with it": (
            "all clocks are of the same machine"
        ),
    },
    _SIGNATURE: {
        "country changed, as CodeCarbon says it": "it is what the user said",
        "wall meter's log taken away from every run": "it was attached after the runs",
        "wall meter's log shifted": "a meter whose clock is wrong is an honest one",
        "order of two blocks exchanged": "a queue may start blocks in another order (V04 warns)",
        "the board's log removed": "a full disk may have taken it (V02 warns)",
        "what was redacted changed": "only who redacted it knows how much was taken out",
        "a line of the log edited": "the log is what libraries printed, and no number is of it",
        "reason of an absent meter changed": "only the recorder saw it",
        "board made cooler in its log": "only the board's sensor saw it",
        "clock of the board raised in its log": "only the board's driver saw it",
        "load of the board lowered in its log": "only the board's driver saw it",
        "processor time of others taken out of its log": "only the recorder saw it",
        "GPU renamed": "of a board that no table knows, whoever renames it does so everywhere",
        "driver replaced": "it is named once",
        "processor renamed": "whoever renames it does so everywhere",
        "memory of the machine made more": "it is named once",
        "some runs given to another machine": (
            "containers of one machine have names of their own, under one boot"
        ),
        "two machines made one": "machines that are copies of one image share its name",
        "lock of the packages replaced": "it is named once",
        "commit replaced": "without its source, nothing says which program it is",
        "version of this program replaced": "it is named once",
        "wall meter's log scaled": "only the meter saw it, and it agrees with the parts",
        "the pilot dropped": "no run of the study names it",
        "a failed run deleted and its repeat renumbered": (
            "whoever also changes which run each came after leaves no hole"
        ),
    },
}
BEYOND: Mapping[str, str] = {
    kind: f"{teller}: {why}" for teller, kinds in _BY.items() for kind, why in kinds.items()
}
"""Kind → what can tell, and why nothing in the bundle need."""
