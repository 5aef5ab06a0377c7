"""The trainer's part in a run, without training: ``python -m wbcbench.train.trainer RUN_DIR FD``.

Windows, messages and files are those of the real one, in its order. It loads no TensorFlow; that
is all that keeps it from being one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fakes.scripted_trainer import VARIABLE, Play
from wbcbench.core import window
from wbcbench.core.messages import Messenger
from wbcbench.core.record import DatasetFacts, Epoch, Failure, Inference, ModelFacts
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.data.dataset import CLASSES, ImageSet
from wbcbench.train.scores import score, write_predictions

ORPHANED = 70  # as the real one's, ``train.stage``
TRAIN_IMAGES = 640  # as it says where it invents the others


class RunStoppedError(Exception):
    """The recorder has asked to stop, and the epoch has ended."""


class ScriptedRun:
    """One run as a play has it."""

    def __init__(self, run: RunDir, messenger: Messenger, play: Play) -> None:
        self.run, self.play, self.spec = run, play, run.read_spec()
        self.messenger = messenger
        self.entered = window.IMPORT  # the recorder has opened it
        self.words: set[bytes] = set()
        self.heard = threading.Condition()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        """Take words; at their end the recorder is dead."""
        while chunk := os.read(0, 4096):
            with self.heard:
                self.words |= set(chunk.split())
                self.heard.notify_all()
        os._exit(ORPHANED)

    @property
    def is_stopping(self) -> bool:
        return self.play.heeds_stop and b"stop" in self.words

    def phase(self, name: str) -> None:
        self.messenger.send({"progress": {"phase": name}})

    def open(self, name: str, *, until_next: bool = False) -> float:
        """Open a window; one that lasts until the next begins is closed there."""
        t_s = time.monotonic()
        if self.entered:
            self.messenger.mark("close", self.entered, t_s)
        self.entered = name if until_next else ""
        self.messenger.mark("open", name, t_s)
        return t_s

    def close(self, name: str) -> float:
        t_s = time.monotonic()
        if self.entered:
            self.messenger.mark("close", self.entered, t_s)
        self.entered = ""
        self.messenger.mark("close", name, t_s)
        return t_s

    def carry_out(self) -> str:
        """The whole run; returns how it ended."""
        try:
            images = self.start_up()
            self.train()
            self.score(images)
            self.infer()
        except RunStoppedError:
            return "interrupted"
        self.open(window.EXIT, until_next=True)
        self.close(window.EXIT)
        return "done"

    def start_up(self) -> ImageSet:
        self.open(window.CONTEXT, until_next=True)
        time.sleep(self.play.startup_s)
        self.phase("loading")
        self.open(window.DATA, until_next=True)
        images, facts = take_images(self.spec, self.run.read_local(), self.play)
        self.messenger.send({"dataset": facts})
        self.phase(window.STARTUP)
        self.open(window.BUILD, until_next=True)
        self.open(window.BATCH, until_next=True)
        self.messenger.send({"model": describe_model(self.spec, facts)})
        self.close(window.STARTUP)
        self.phase(window.IDLE_CONTEXT)
        if self.spec.idle_s > 0:
            self.open(window.IDLE_CONTEXT)
            time.sleep(self.spec.idle_s)
            self.close(window.IDLE_CONTEXT)
        self.phase("ready")
        with self.heard:
            self.heard.wait_for(lambda: b"go" in self.words or self.is_stopping)
        if self.is_stopping:
            raise RunStoppedError
        if self.spec.warmup_steps:
            for name in (window.COMPILE, window.WARMUP):
                self.phase(name)
                self.open(name)
                self.close(name)
        return images

    def train(self) -> None:
        length_s = self.play.train_s / self.spec.epochs
        for index in range(1, self.spec.epochs + 1):
            if index == 1:
                self.open(window.TRAIN)
            start_s = self.open(window.epoch(index))
            progress = {"phase": window.TRAIN, "epoch": index, "epochs": self.spec.epochs}
            self.messenger.send({"progress": progress | {"step": 0, "steps": 1}})
            time.sleep(length_s)
            if index == self.play.at_epoch:
                self.end_badly()
            end_s = self.close(window.epoch(index))
            self.open(window.validate(index))
            epoch = Epoch(
                index=index,
                start_s=start_s,
                end_s=end_s,
                evaluate_end_s=self.close(window.validate(index)),
                loss=1 / index,
                accuracy=self.play.accuracy,
                val_loss=1 / index,
                val_accuracy=self.play.accuracy,
                val_balanced_accuracy=self.play.accuracy,
                images_seen=TRAIN_IMAGES,
                learning_rate=self.spec.learning_rate,
            )
            self.messenger.send({"epoch": epoch})
            if self.is_stopping:
                break
        self.close(window.TRAIN)
        if self.is_stopping:
            raise RunStoppedError

    def end_badly(self) -> None:
        """What the play has in store for this epoch."""
        match self.play.end:
            case "crash":
                os.abort()
            case "out-of-memory":
                os.kill(os.getpid(), signal.SIGKILL)
            case "fail":
                raise RuntimeError("the script says so")
            case "hang":
                threading.Event().wait()

    def score(self, images: ImageSet) -> None:
        self.phase(window.EVALUATE)
        self.open(window.EVALUATE)
        self.close(window.EVALUATE)
        self.open(window.WRITE, until_next=True)
        probabilities = predict(images, self.spec, self.play.accuracy)
        write_predictions(self.run.predictions_path, images, probabilities)
        scores = score(probabilities, images.labels, None, CLASSES)
        self.messenger.send({"scores": {"name": "test", **asdict(scores)}})

    def infer(self) -> None:
        for size in window.INFERENCE_BATCHES if self.spec.inference_s > 0 else ():
            if self.is_stopping:
                raise RunStoppedError
            name = window.infer(size)
            self.phase(name)
            self.open(name)
            time.sleep(self.spec.inference_s)
            self.close(name)
            self.messenger.send({"inference": Inference(name, size, size)})


def take_images(spec: RunSpec, local: Local, play: Play) -> tuple[ImageSet, DatasetFacts]:
    """The test set, and what is said of all sets."""
    if play.images == 0:
        from wbcbench.data.load import load

        dataset = load(
            Path(local.data) if local.data else None,
            image_size=spec.image_size,
            cache_dir=Path(local.cache_dir) if local.cache_dir else None,
        )
        test, n_train = dataset.test, len(dataset.train)
        identity = dataset.dataset_id, dataset.sha256
    else:
        test, n_train = invent_images(play.images), TRAIN_IMAGES
        identity = spec.dataset_id, spec.dataset_sha256
    facts = DatasetFacts(
        *identity,
        synthetic=True,
        grouped=False,
        n_train=n_train,
        n_val=len(test),
        n_test=len(test),
        n_test_leaky=None,
    )
    return test, facts


def invent_images(count: int) -> ImageSet:
    """Images of nothing, each with a name and a digest of its own."""
    numbers = np.arange(count, dtype=np.int64)
    labels = numbers % len(CLASSES)
    unknown = np.full(count, -1, dtype=np.int64)
    files = tuple(f"TEST/{CLASSES[label]}/_{n}.jpeg" for n, label in enumerate(labels))
    return ImageSet(
        images=np.zeros((count, 1, 1, 3), dtype=np.uint8),
        labels=labels,
        files=files,
        sha256=tuple(hashlib.sha256(name.encode()).hexdigest() for name in files),
        group_id=unknown,
        original_id=unknown,
        also_in_train=np.zeros(count, dtype=np.bool_),
    )


def predict(images: ImageSet, spec: RunSpec, accuracy: float) -> np.ndarray[Any, Any]:
    """Probabilities that are right as often as asked; the seed says where."""
    generator = np.random.default_rng(spec.seed)
    is_right = generator.permutation(len(images)) < accuracy * len(images)
    chosen = np.where(is_right, images.labels, (images.labels + 1) % len(CLASSES))
    probabilities = np.full((len(images), len(CLASSES) + 1), 0.05, dtype=np.float32)
    probabilities[np.arange(len(images)), chosen + 1] = 0.8
    return probabilities


def describe_model(spec: RunSpec, facts: DatasetFacts) -> ModelFacts:
    digest = hashlib.sha256(f"{spec.variant} {spec.seed}".encode()).hexdigest()
    return ModelFacts(
        params_total=1000,
        params_trainable=1000,
        flops_per_image=1_000_000,
        steps_per_epoch=math.ceil(facts.n_train / spec.batch_size),
        optimizer="adam",
        jit_compile=False,
        device="GPU:0" if os.environ.get("CUDA_VISIBLE_DEVICES") else "CPU:0",
        device_pci_bus_id=None,
        versions={"python": platform.python_version(), "numpy": np.__version__},
        environment={},
        first_weights_sha256=digest,
        image_order_sha256=digest,
        path=spec.path,
    )


def find_play(spec: RunSpec) -> Play:
    """How this run goes."""
    plays = [Play(**each) for each in json.loads(Path(os.environ[VARIABLE]).read_text())]
    fits = [
        each for each in plays if all(getattr(spec, name) == v for name, v in each.when.items())
    ]
    return fits[-1]


def main() -> int:
    """Carry out one run and return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder, descriptor = sys.argv[1:]
    run = RunDir(Path(folder))
    stream = open(int(descriptor), "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    messenger = Messenger(stream)
    scripted = ScriptedRun(run, messenger, find_play(run.read_spec()))
    try:
        end = scripted.carry_out()
    except RuntimeError as error:
        messenger.send({"failure": Failure(type(error).__name__, str(error))})
        return 1
    messenger.send({"end": end})
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
