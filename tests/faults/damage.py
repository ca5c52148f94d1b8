"""Files that are altered, cut, swapped or removed between two runs."""

from __future__ import annotations

import io
import json
import pickle
import random
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from companion.controls.shards import in_shards
from data_scripts.__main__ import main as data_scripts
from data_scripts.archive import Found, extract
from data_scripts.small_archives import tar_bytes, write_zip
from sigcam_core import stations
from sigcam_core.evaluate import evaluate as evaluation
from sigcam_core.train import features

from . import moments
from .interruptions import count_of
from .line import OPTIONS, STAGES, evaluate, in_process, made_once, prepare_images, run_of, train_head
from .outcome import Outcome, Place, follow, lost_files, run_again

Alter = Callable[[Path, random.Random], None]


def flip(path: Path, rng: random.Random) -> None:
    """One bit."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cut(path: Path, rng: random.Random) -> None:
    """The end is missing."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def foreign_table(path: Path, rng: random.Random) -> None:
    """A table of somebody else."""
    pd.DataFrame({"x": [rng.random()], "image_id": ["a"]}).to_parquet(path)


def foreign_json(path: Path, rng: random.Random) -> None:
    """JSON of somebody else."""
    path.write_text(json.dumps(rng.choice(([], {}, {"name": "x"}, 1, None, {"sha256": 3}, "text", {"versions": []}))))


def foreign_weights(path: Path, rng: random.Random) -> None:
    """Weights of another network."""
    save_file({f"layer{rng.randrange(9)}.weight": np.zeros((rng.randrange(1, 9), 2), np.float32)}, path)


def other_weights(path: Path, rng: random.Random) -> None:
    """The same network with other numbers."""
    state = {name: value.copy() for name, value in load_file(path).items()}
    name = rng.choice(sorted(state))
    state[name] = np.asarray(state[name] + rng.random(), state[name].dtype)  # an array too where it is one number
    save_file(state, path)


class _Pickled:
    """What runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def pickled(path: Path, _: random.Random) -> None:
    """A pickle under the name of a safetensors file; whoever opens it as one leaves a mark."""
    buffer = io.BytesIO()
    pickle.dump({"weight": _Pickled(path.parent / "pickle-was-run")}, buffer)
    path.write_bytes(buffer.getvalue())


def gone(path: Path, _: random.Random) -> None:
    """The file is not there."""
    path.unlink()


def damaged(pattern: str, *ways: Alter, stage: str = "evaluate") -> Callable[[Place], Outcome]:
    """A file of a finished line is altered, in one of some ways; then the line runs again.

    Args:
        pattern: of the files, of which one is drawn.
        ways: of altering it, of which one is drawn.
        stage: up to which the line is finished, and is run again.
    """

    def inject(place: Place) -> Outcome:
        work_dir = place.line.copy(stage, place.folder / "work")
        path = place.rng.choice(sorted(work_dir.glob(pattern)))
        before = path.read_bytes()
        place.rng.choice(ways)(path, place.rng)
        outcome = Outcome(not path.exists() or path.read_bytes() != before)
        run_again(place, work_dir, stage, outcome, path)
        if list(work_dir.rglob("pickle-was-run")):
            outcome.wrong = "a pickle was run"
        return outcome

    return inject


def half_way(stage: str, pattern: str, *ways: Alter) -> Callable[[Place], Outcome]:
    """A file that a stage had begun is altered before the stage goes on.

    Args:
        stage: that is stopped.
        pattern: of what it has begun.
        ways: of altering it, of which one is drawn.
    """

    def inject(place: Place) -> Outcome:
        names = list(STAGES)
        for _ in range(20):  # until it is stopped while such a file is there
            shutil.rmtree(place.folder / "work", ignore_errors=True)
            work_dir = place.line.copy(names[names.index(stage) - 1], place.folder / "work")
            before = made_once(work_dir)
            _stop(place, work_dir, stage)
            if made_once(work_dir) != before:
                continue  # it was as good as done, and will not read what it had begun
            if paths := sorted(path for path in work_dir.glob(pattern) if path.stat().st_size):
                place.rng.choice(ways)(place.rng.choice(paths), place.rng)
                return run_again(place, work_dir, stage, Outcome())
        return Outcome(took_hold=False)

    return inject


def _stop(place: Place, work_dir: Path, stage: str) -> None:
    number = place.rng.randrange(count_of(place, stage, "files"))
    in_process(STAGES[stage], work_dir, lambda: moments.at_files(moments.kill_at(number), work_dir))


def flipped_features(place: Place) -> Outcome:
    """A bit of cached features is flipped before a head is trained on them again."""
    work_dir = place.line.copy("head", place.folder / "work")
    run_of(work_dir).sigmoid_head.unlink()
    flip(place.rng.choice(sorted((work_dir / "features").glob("*/inputs.npy"))), place.rng)
    return run_again(place, work_dir, "head", Outcome())


def cache_of_other_weights(place: Place) -> Outcome:
    """The cached features of another network lie where those of this one belong."""
    work_dir = place.line.copy("head", place.folder / "work")
    run_of(work_dir).sigmoid_head.unlink()
    files = sorted((work_dir / "features").glob("*/inputs.npy"))
    path = place.rng.choice(files)
    values = np.load(path)
    np.save(path, (values + np.asarray(place.rng.random(), values.dtype)).astype(values.dtype))
    return run_again(place, work_dir, "head", Outcome())


def cache_of_other_versions(place: Place) -> Outcome:
    """The features were computed with another version of a library: they are computed anew, beside the others."""
    work_dir = place.line.copy("classifier", place.folder / "work")
    name = place.rng.choice(features.VERSIONS)

    def with_another(work_dir: Path) -> None:
        features.version = lambda one: "0.0" if one == name else version(one)  # type: ignore[assignment]
        train_head(work_dir)

    assert in_process(with_another, work_dir).code == 0
    run_of(work_dir).sigmoid_head.unlink()
    known = {path.name: path for path in (work_dir / "features").iterdir()}
    outcome = Outcome()
    ended = in_process(train_head, work_dir)
    added = [path for path in (work_dir / "features").iterdir() if path.name not in known]
    if ended.code or len(added) != len(known):
        outcome.wrong = f"{len(added)} of {len(known)} caches were made anew: {ended.sentence}"
    for path in known.values():
        shutil.rmtree(path)
    return outcome if outcome.wrong else run_again(place, work_dir, "head", outcome)


def shard_of_other_weights(place: Place) -> Outcome:
    """Shards that another network, or other options, left in the folder of this one's evidence."""
    work_dir = place.line.copy("head", place.folder / "work")
    factor = place.rng.uniform(1.1, 2.0)

    def by_another(work_dir: Path) -> None:
        usual = evaluation.digest_of_weights
        evaluation.digest_of_weights = lambda network: usual(network) + str(factor)
        stations.gather = _stop_here
        evaluate(work_dir)

    in_process(by_another, work_dir)
    return run_again(place, work_dir, "evaluate", Outcome(bool(list((work_dir / "evidence").rglob("*.parquet")))))


def _stop_here(*_: object) -> None:
    raise KeyboardInterrupt


def replaced_image(place: Place) -> Outcome:
    """One image is replaced by another of the same size, after everything was made: refused, then made again."""
    work_dir = place.line.copy("evaluate", place.folder / "work")
    path = place.rng.choice(sorted((work_dir / "data" / "shapes" / "images").rglob("*.png")))
    content = bytearray(path.read_bytes())
    content[place.rng.randrange(60, len(content) - 20)] ^= 1
    path.write_bytes(content)
    outcome = Outcome()
    ended = in_process(up_to_evidence, work_dir)
    if ended.code != 2 or str(path) not in ended.sentence:
        outcome.wrong = f"not noticed: exit code {ended.code}, {ended.sentence}"
        return outcome
    outcome.refusals = 1
    follow(ended.sentence, work_dir)
    return run_again(place, work_dir, "evaluate", outcome)


def up_to_evidence(work_dir: Path) -> None:
    """The stations after the first, as a notebook asks for them."""
    evaluate(work_dir)


def deleted_image(place: Place) -> Outcome:
    """An image or a mask is gone: preparation does not say that all is ready, and draws it again."""
    work_dir = place.line.copy("evaluate", place.folder / "work")
    path = place.rng.choice(sorted((work_dir / "data" / "shapes").rglob("*.png")))
    path.unlink()
    outcome = Outcome()
    ended = in_process(prepare_images, work_dir)
    if ended.code or "already prepared" in ended.sentence or not path.exists():
        outcome.wrong = f"exit code {ended.code}: {ended.sentence}"
    return outcome if outcome.wrong else run_again(place, work_dir, "evaluate", outcome)


def prepared_with_other_options(place: Place) -> Outcome:
    """The data set is asked for with other options while evidence of the present one is there: one sentence."""
    work_dir = place.line.copy("evaluate", place.folder / "work")
    before = dict(place.line.digests["evaluate"])
    name = place.rng.choice(sorted(OPTIONS))
    options = OPTIONS | {name: OPTIONS[name] + place.rng.randrange(1, 9)}
    arguments = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    ended = in_process(lambda _: data_scripts(["shapes", "--root", str(work_dir / "data"), *arguments]), work_dir)
    outcome = Outcome(True, lost_files(before, work_dir), refusals=int(ended.code == 2))
    if ended.code != 2 or f"was prepared with {name}" not in ended.sentence:
        outcome.wrong = f"exit code {ended.code}: {ended.sentence}"
    return outcome if outcome.wrong else run_again(place, work_dir, "evaluate", outcome)


MEMBERS = {f"{number}.txt": f"{number} ".encode() * 50 for number in range(6)}


def damaged_archive(place: Place) -> Outcome:
    """An archive with a changed byte or a missing end: all of its files come out of it, or one sentence and none."""
    archive, target = place.folder / "archive", place.folder / "unpacked"
    kind = place.rng.choice(("zip", "w", "w:gz"))
    whole = write_zip(archive, MEMBERS).read_bytes() if kind == "zip" else tar_bytes(MEMBERS, kind)  # type: ignore[arg-type]
    archive.write_bytes(whole)
    place.rng.choice((flip, cut))(archive, place.rng)

    def unpack(_: Path) -> None:
        extract(Found(archive, "sha256:0123456789abcdef", published=False), target, lambda name: name)

    ended = in_process(unpack, place.folder / "work")
    outcome = Outcome(archive.read_bytes() != whole, refusals=int(ended.code == 2))
    if ended.code not in (0, 2) or (ended.code == 2 and target.exists()):
        outcome.wrong = f"exit code {ended.code}: {ended.sentence}"
        return outcome
    archive.write_bytes(whole)
    shutil.rmtree(target, ignore_errors=True)
    again = in_process(unpack, place.folder / "work")
    found = (
        {path.name: path.read_bytes() for path in target.iterdir() if path.name in MEMBERS} if not again.code else {}
    )
    if found != MEMBERS:
        outcome.wrong = f"exit code {again.code}: {again.sentence}"
    return outcome


def altered_measurement(place: Place) -> Outcome:
    """A long measurement whose file was cut, altered, or has other facts: it is measured again, and the same."""
    path = place.folder / "measured.safetensors"
    numbers = np.random.default_rng(0).random((12, 3))

    def measure(items: slice) -> dict[str, Any]:
        return {"x": numbers[items]}

    in_shards(path, 12, measure, "facts", shard_size=4)
    place.rng.choice((flip, cut, other_weights, foreign_weights))(path, place.rng)
    outcome = Outcome()
    again = in_shards(path, 12, measure, "facts", shard_size=4)["x"]
    if not np.array_equal(again, numbers):
        outcome.wrong = "other numbers were taken for the measured ones"
    return outcome
