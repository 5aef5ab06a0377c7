"""Whether submissions are alike: a small fingerprint of each, and what two of them share.

Two measurements never are the same; two trainings with one seed may be. So equal traces say that
runs were copied, and equal predictions do only where the trainings differ.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from wbcbench.bundle import layout
from wbcbench.bundle.documents import list_places, make_documents
from wbcbench.bundle.open import read_predictions
from wbcbench.bundle.verify import READ_ERRORS
from wbcbench.bundle.verify.bundle import Bundle, cache_by_files
from wbcbench.bundle.verify.likeness import find_answers
from wbcbench.bundle.verify.neighbours import (
    ALIKE,
    SAME_OUTPUTS,
    SAME_PACE,
    Vector,
    find_alike,
    take_signature,
)
from wbcbench.bundle.verify.training import CONTENDED
from wbcbench.core.run_folder import RunDir
from wbcbench.core.text import count_of

_NEAR_RUNS = 64  # of a bundle, which are also compared for being nearly equal
_LAGS = (-2, -1, 0, 1, 2)  # polls that may have been taken from the start of a copy
_EPOCHS, _MOST_EPOCHS, _NEAR_S, _LEAST_SPREAD_S = 8, 64, 1e-3, 5e-3
_TURNS, _FIRST = 64, ord("0")  # letters of a direction, from this one on
_SHINGLE, _FEWEST_SHINGLES, _MOST_SHINGLES, _SAME_WORDS = 4, 12, 4000, 0.5
_CLASS = 3  # submissions at least, and more than half of all, make words a template's
_WORD = re.compile(r"\w+")

_TRAINING = (
    "variant",
    "seed",
    "epochs",
    "batch_size",
    "learning_rate",
    "schedule",
    "dataset_sha256",
)
_TAUGHT = "equal predictions, same seeds: to be expected where training is deterministic"


@dataclass(frozen=True, slots=True)
class RunPrint:
    """What of one run is compared with runs of other bundles; empty where there is none.

    Attributes:
        run_id: Its name.
        training: Digest of what a deterministic training follows from.
        seed: Of the training.
        is_contended: Whether others used the machine.
        traces: Digest of every reading with its moment.
        lengths_s: Of its first epochs; none of a single one.
        losses, predictions: Digests of what training gave.
        images: Digest of the images that ``outputs`` is about.
        moves, pace, outputs: As in a ``Signature``, a letter a place.
    """

    run_id: str
    training: str
    seed: int
    is_contended: bool
    traces: str
    lengths_s: tuple[float, ...]
    losses: str
    predictions: str
    images: str = ""
    moves: str = ""
    pace: str = ""
    outputs: str = ""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What of a bundle is compared with others.

    Attributes:
        bag: Digest of the whole bundle.
        title: Of the study.
        claims: Digests of the sentences of its report.
        words: Digests of sequences of words in its author's answers.
        runs: A print each.
    """

    bag: str
    title: str
    claims: tuple[str, ...]
    words: tuple[str, ...]
    runs: tuple[RunPrint, ...]


@dataclass(frozen=True, slots=True)
class Alike:
    """What two bundles share.

    Attributes:
        one, other: Their places in what was compared.
        what: ``bundle``, ``traces``, ``epochs``, ``losses``, ``predictions``, ``answers``,
            ``claims`` or ``title``.
        text: How alike, and in how many runs.
        is_expected: Whether independent authors may share it.
        runs: Pairs of their runs.
    """

    one: int
    other: int
    what: str
    text: str
    is_expected: bool
    runs: tuple[tuple[str, str], ...] = ()


def take_fingerprint(bundle: Bundle) -> Fingerprint:
    """Read a bundle for what is compared with other bundles: of a damaged one, what is left."""
    document = bundle.document
    return Fingerprint(
        bag=bundle.digests.get(layout.TAG_MANIFEST, ""),
        title=" ".join(document.title.casefold().split()),
        claims=tuple(sorted({_digest(claim.text) for claim in document.claims})),
        words=tuple(sorted(cut_words(_list_answers(bundle)))[:_MOST_SHINGLES]),
        runs=tuple(_print_runs(bundle)),
    )


def _list_answers(bundle: Bundle) -> list[str]:
    """What the author wrote into the documents; nothing of one that is not as it was made."""
    answers, made = list[str](), dict[str, bytes]()
    with suppress(*READ_ERRORS):
        made = make_documents(bundle.study, bundle.document)
    for name, data in made.items():
        with suppress(*READ_ERRORS):
            texts = (bundle.read(name).decode("utf-8"), data.decode("utf-8"))
            found = find_answers(*texts, len(list_places(name)))
            answers += found if isinstance(found, list) else ()
    return answers


def _print_runs(bundle: Bundle) -> Iterator[RunPrint]:
    for place, run in enumerate(bundle.finished):
        with suppress(*READ_ERRORS):
            yield _print_run(bundle, run, is_near=place < _NEAR_RUNS)


def cut_words(answers: Sequence[str]) -> set[str]:
    """Digests of every few words in a row, whatever their case and marks."""
    cut = set[str]()
    for answer in answers:
        words = _WORD.findall(answer.casefold())
        rows = (words[start : start + _SHINGLE] for start in range(len(words) - _SHINGLE + 1))
        cut.update(map(_digest, map(" ".join, rows)))
    return cut


def _print_run(bundle: Bundle, run: RunDir, *, is_near: bool) -> RunPrint:
    record = bundle.record(run)
    spec, losses = record.spec, [epoch.loss for epoch in record.epochs]
    lengths = [round(epoch.end_s - epoch.start_s, 5) for epoch in record.epochs]
    traces, predictions = _digest_evidence(bundle, run)
    coded: dict[str, str] = {}
    if is_near:
        signature = take_signature(bundle, run)
        coded = {
            "images": signature.images,
            "moves": _encode_signs(signature.moves),
            "pace": _encode_turns(signature.pace),
            "outputs": _encode_signs(signature.outputs),
        }
    return RunPrint(
        run_id=record.run_id,
        training=_digest([getattr(spec, name) for name in _TRAINING]),
        seed=spec.seed,
        is_contended=bool({warning.code for warning in record.warnings} & CONTENDED),
        traces=traces,
        lengths_s=tuple(lengths[:_MOST_EPOCHS]) if len(lengths) > 1 else (),
        losses=_digest(losses) if len(set(losses)) > 1 else "",
        predictions=predictions,
        **coded,
    )


@cache_by_files
def _digest_evidence(run: RunDir) -> tuple[str, str]:
    """Digests of a run's readings and of its predictions; empty where it has none.

    Predictions that are no numbers or the same for every image are of no one network.
    """
    read, is_empty = hashlib.sha256(), True
    for trace in run.read_traces():
        is_empty = is_empty and not len(trace.t_s)
        read.update(trace.channel.name.encode())
        for values in (trace.t_s, trace.value):
            read.update(np.asarray(values, dtype=np.float64).tobytes())
    traces, path = "" if is_empty else read.hexdigest(), run.predictions_path
    if not path.is_file():
        return traces, ""
    table = read_predictions(path)
    shares = np.ascontiguousarray(table.probabilities)
    if not np.isfinite(shares).all() or (shares == shares[:1]).all():
        return traces, ""
    predicted = hashlib.sha256("".join(table.image_sha256).encode())
    predicted.update(shares.tobytes())
    return traces, predicted.hexdigest()


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:24]


def _encode_signs(vector: Vector) -> str:
    return (vector.real.round().astype(np.int8) + 1 + _FIRST).astype(np.uint8).tobytes().decode()


def _decode_signs(text: str) -> Vector:
    signs = np.frombuffer(text.encode(), np.uint8).astype(np.float32) - 1 - _FIRST
    return signs.astype(np.complex64)


def _encode_turns(vector: Vector) -> str:
    turns = (np.angle(vector) / (2 * np.pi) * _TURNS).round().astype(np.int64) % _TURNS
    return (turns + _FIRST).astype(np.uint8).tobytes().decode()


def _decode_turns(text: str) -> Vector:
    turns = (np.frombuffer(text.encode(), np.uint8).astype(np.float32) - _FIRST) / _TURNS
    vector: Vector = np.exp(2j * np.pi * turns).astype(np.complex64)
    return vector


_Place = tuple[int, RunPrint]
_Pair = tuple[RunPrint, RunPrint]
_Found = dict[tuple[int, int], list[_Pair]]
"""Places of two bundles → pairs of their runs."""


def compare_fingerprints(prints: Mapping[int, Fingerprint]) -> list[Alike]:
    """What bundles share, pair by pair; runs of one bundle are not compared with each other.

    Args:
        prints: By the place of their bundle.
    """
    alike, others = list[Alike](), list[tuple[int, int]]()
    for one, other in combinations(prints, 2):
        if prints[one].bag and prints[one].bag == prints[other].bag:
            text = "one and the same bundle"
            alike.append(Alike(one, other, "bundle", text, is_expected=False))
        else:
            others.append((one, other))
    places = [(place, run) for place, each in prints.items() for run in each.runs]
    for what, found, text, is_expected in _compare_runs(places):
        for one, other in sorted(found.keys() & set(others)):
            fewest = min(len(prints[one].runs), len(prints[other].runs))
            names = tuple((mine.run_id, theirs.run_id) for mine, theirs in found[one, other])
            where = f"{len({mine for mine, _ in names})} of {count_of(fewest, 'run')}"
            alike.append(Alike(one, other, what, f"{text}, in {where}", is_expected, names))
    template = _find_template(prints.values())
    for one, other in others:
        alike += _compare_texts(one, other, prints[one], prints[other], template)
    return sorted(alike, key=lambda each: (each.is_expected, each.one, each.other))


def _compare_runs(places: Sequence[_Place]) -> Iterator[tuple[str, _Found, str, bool]]:
    """Pairs of runs that share something, with what it is and whether it may be so."""
    exact = _pair_equal(places, "traces")
    yield "traces", exact, "equal traces", False
    known, near = _list_names(exact), _Found()
    # Power may go up and down in turn in honest runs: only how late polls are is shifted.
    for name, decode, least, lags in (
        ("moves", _decode_signs, ALIKE, (0,)),
        ("pace", _decode_turns, SAME_PACE, _LAGS),
    ):
        vectors = [decode(getattr(run, name)) for _, run in places]
        for key, pair in _pair_alike(places, vectors, least, lags):
            if _name(pair) not in known and not all(run.is_contended for run in pair):
                known.add(_name(pair))
                near.setdefault(key, []).append(pair)
    yield "traces", near, "nearly equal traces: readings or polls go together", False
    lengths = _pair_equal(places, "lengths_s")
    yield "epochs", lengths, "epochs of equal lengths", False
    yield (
        "epochs",
        _pair_lengths(places, _list_names(lengths)),
        "epochs of nearly equal lengths",
        False,
    )
    taught, copied = _split(_pair_equal(places, "predictions"))
    yield "predictions", copied, "equal predictions of unlike trainings", False
    losses = _split(_pair_equal(places, "losses"))[1]
    yield "losses", losses, "equal losses in unlike trainings", False
    equal, close = _list_names(copied), _Found()
    for images in sorted({run.images for _, run in places if run.images}):
        own = [(place, run) for place, run in places if run.images == images]
        vectors = [_decode_signs(run.outputs) for _, run in own]
        for key, pair in _pair_alike(own, vectors, SAME_OUTPUTS):
            if pair[0].seed != pair[1].seed and _name(pair) not in equal:
                close.setdefault(key, []).append(pair)
    yield "predictions", close, "nearly equal predictions of other seeds", False
    yield "predictions", taught, _TAUGHT, True


def _pair_equal(places: Sequence[_Place], name: str) -> _Found:
    """Runs of two bundles that have the same value."""
    groups, found = defaultdict[Hashable, list[_Place]](list), _Found()
    for place, run in places:
        if value := getattr(run, name):
            groups[value].append((place, run))
    for group in groups.values():
        for (one, mine), (other, theirs) in combinations(group, 2):
            if one != other:
                found.setdefault((one, other), []).append((mine, theirs))
    return found


def _pair_lengths(places: Sequence[_Place], known: set[tuple[int, int]]) -> _Found:
    """Runs of two bundles of which every epoch ends alike, though one's own epochs do not."""
    found = _Found()
    told = [each for each in places if _is_telling(each[1].lengths_s)]
    told.sort(key=lambda each: each[1].lengths_s[0])
    for start, (one, mine) in enumerate(told):
        for other, theirs in told[start + 1 :]:
            apart = [abs(b - a) for a, b in zip(mine.lengths_s, theirs.lengths_s, strict=False)]
            if apart[0] > _NEAR_S:
                break
            is_known = {(id(mine), id(theirs)), (id(theirs), id(mine))} & known
            if one != other and max(apart) <= _NEAR_S and not is_known:
                key, pair = (
                    ((one, other), (mine, theirs))
                    if one < other
                    else ((other, one), (theirs, mine))
                )
                found.setdefault(key, []).append(pair)
    return found


def _is_telling(lengths_s: Sequence[float]) -> bool:
    """Whether there are many epochs, and they differ by far more than what counts as equal."""
    if len(lengths_s) < _EPOCHS:
        return False
    apart = np.abs(np.asarray(lengths_s) - np.median(lengths_s))
    return bool(np.median(apart) >= _LEAST_SPREAD_S)


def _pair_alike(
    places: Sequence[_Place], vectors: Sequence[Vector], least: float, lags: Sequence[int] = (0,)
) -> Iterator[tuple[tuple[int, int], _Pair]]:
    """Runs of two bundles whose vectors go together."""
    for i, j in find_alike(vectors, least, lags):
        (one, mine), (other, theirs) = places[i], places[j]
        if one != other:
            yield (one, other), (mine, theirs)


def _split(found: _Found) -> tuple[_Found, _Found]:
    """Those of one training, carried out twice, and those of two."""
    parts = _Found(), _Found()
    for key, pairs in found.items():
        for pair in pairs:
            part = parts[pair[0].training != pair[1].training]
            part.setdefault(key, []).append(pair)
    return parts


def _list_names(found: _Found) -> set[tuple[int, int]]:
    return {_name(pair) for pairs in found.values() for pair in pairs}


def _name(pair: _Pair) -> tuple[int, int]:
    return id(pair[0]), id(pair[1])


def _find_template(prints: Iterable[Fingerprint]) -> set[str]:
    """Words that most of a class share, as of a statement that was handed out."""
    submissions = {each.bag or str(place): each for place, each in enumerate(prints)}
    counts = Counter(word for each in submissions.values() for word in set(each.words))
    least = max(_CLASS, len(submissions) // 2 + 1)
    return {word for word, count in counts.items() if count >= least}


def _compare_texts(
    one: int, other: int, mine: Fingerprint, theirs: Fingerprint, template: set[str]
) -> Iterator[Alike]:
    answers = set(mine.words), set(theirs.words)
    if share := _find_shared(*(words - template for words in answers)):
        text = f"the author's answers share {share}"
        yield Alike(one, other, "answers", text, is_expected=False)
    elif share := _find_shared(*answers):
        text = f"answers of a template, which most submissions share ({share})"
        yield Alike(one, other, "answers", text, is_expected=True)
    if claims := set(mine.claims) & set(theirs.claims):
        most = min(len(mine.claims), len(theirs.claims))
        text = f"{len(claims)} of {count_of(most, 'sentence')} of the reports word for word"
        yield Alike(one, other, "claims", text, is_expected=True)
    if mine.title == theirs.title:
        yield Alike(one, other, "title", "equal titles", is_expected=True)


def _find_shared(mine: set[str], theirs: set[str]) -> str:
    """How much of the shorter answers both have, in words; empty where that says nothing."""
    fewest, shared = min(len(mine), len(theirs)), len(mine & theirs)
    if fewest < _FEWEST_SHINGLES or shared < _SAME_WORDS * fewest:
        return ""
    return f"{shared / fewest:.0%} of the shorter ones' sequences of {_SHINGLE} words"
