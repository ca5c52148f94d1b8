"""Which architectures can be given a second head: ``python book/_make/architectures.py --results results``.

One small network of every family of torchvision, timm and transformers is built with random weights and split, nothing
is downloaded, and what came of it is written to ``architectures/LIBRARY.json``. Families that a file has already, of
the same release of the library, are left as they are unless ``--anew`` asks for them.
"""

from __future__ import annotations

import re
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sigcam_core.cams.maps import methods_of
from sigcam_core.common.errors import CommandLine, SigcamError, check_choice, fail, run_command_line
from sigcam_core.common.files import read_json, write_json
from sigcam_core.common.provenance import provenance
from sigcam_core.dual.branch import DualBranch
from sigcam_core.split.cut import UpTo
from sigcam_core.split.modules import TokensToMaps
from sigcam_core.split.probe import probe_image

FOLDER = "architectures"
CLASSES = 10
SECONDS = 300  # of the processors, for one network
GIGABYTES = 12
WIDTH = 0.2  # standard deviation of weights where a configuration says one
MOST_PARAMETERS = 150_000_000
MISFITS = (ImportError, ValueError, RuntimeError, TypeError, AttributeError, OSError, KeyError, NotImplementedError)
"""What libraries raise that cannot build a network here."""
LAYERS = 2  # of transformers' models of equal layers; where they are cut does not depend on how many there are
SMALLEST = {
    "efficientnet": {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280, "image_size": 224},
}
"""The smallest network's configuration, for families of transformers whose default is their largest network."""
SIZES = ("atto", "femto", "pico", "zepto", "nano", "xxs", "xxtiny", "xs", "xtiny", "tiny", "mini", "small", *"tsmblh")

Builders = dict[str, tuple[str, Callable[[], nn.Module]]]
"""The name of each family's network, and a function that builds it."""


def torchvision_builders() -> Builders:
    """Build the smallest network of each module of torchvision, by the parameter counts of its published weights."""
    from torchvision import models

    smallest: dict[str, tuple[int, str]] = {}
    for name in models.list_models(module=models):
        weights = next(iter(models.get_model_weights(name)), None)
        family = models.get_model_builder(name).__module__.rpartition(".")[2]
        if weights is not None:
            smallest[family] = min(smallest.get(family, (1 << 62, "")), (weights.meta["num_params"], name))

    def make(name: str) -> Callable[[], nn.Module]:
        own = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        return lambda: models.get_model(name, weights=None, num_classes=CLASSES, **own)

    return {family: (name, make(name)) for family, (_, name) in sorted(smallest.items())}


def timm_builders() -> Builders:
    """Find the network of each timm module whose name says that it is the smallest."""
    import timm

    def size(name: str) -> tuple[int, int, int, str]:
        words = name.split("_")
        rank = min((SIZES.index(word) for word in words if word in SIZES), default=len(SIZES))
        numbers = [int(number) for number in re.findall(r"\d+", name)]
        return rank, len(words), numbers[0] if numbers else 0, name

    def make(name: str) -> Callable[[], nn.Module]:
        return lambda: timm.create_model(name, num_classes=CLASSES)

    found = {family: timm.list_models(module=family) for family in timm.list_modules()}
    names = {family: min(own, key=size) for family, own in found.items() if own}
    return {family: (name, make(name)) for family, name in sorted(names.items())}


def transformers_builders() -> Builders:
    """Every image classifier of transformers, from its configuration as it comes but for the number of equal layers."""
    import transformers
    from transformers.models.auto import configuration_auto, modeling_auto

    configurations = configuration_auto.CONFIG_MAPPING_NAMES  # type: ignore[attr-defined]
    classifiers = modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

    def make(family: str, name: str) -> Callable[[], nn.Module]:
        def build() -> nn.Module:
            config = getattr(transformers, configurations[family])(num_labels=CLASSES, **SMALLEST.get(family, {}))
            if hasattr(config, "initializer_range"):  # as it comes, what passes many layers vanishes
                config.initializer_range = WIDTH
            for part in (config, getattr(config, "vision_config", None)):
                if isinstance(getattr(part, "num_hidden_layers", None), int) and not hasattr(part, "depths"):
                    part.num_hidden_layers = LAYERS  # type: ignore[union-attr]
            network: nn.Module = getattr(transformers, name)(config)
            return network

        return build

    found = {family: names if isinstance(names, str) else names[0] for family, names in classifiers.items()}
    return {family: (name, make(family, name)) for family, name in sorted(found.items())}


LIBRARIES: dict[str, Callable[[], Builders]] = {
    "torchvision": torchvision_builders,
    "timm": timm_builders,
    "transformers": transformers_builders,
}


class OutOfTime(BaseException):  # nobody who catches errors of networks catches it
    """A network takes too long."""


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise :class:`OutOfTime` where the block takes longer, in seconds of the processors."""

    def stop(*_: object) -> None:
        raise OutOfTime(f"takes more than {seconds} seconds")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def look_at(build: Callable[[], nn.Module], seconds: int = SECONDS) -> dict[str, Any]:
    """Try one network: the size of its maps, the methods and where it is cut, or why it is refused.

    Args:
        build: makes the network.
        seconds: after which it is given up.
    """
    torch.manual_seed(0)
    if (size := _parameters_of(build)) > MOST_PARAMETERS:
        why = f"even this one has more than {MOST_PARAMETERS / 1e6:.0f} million parameters"
        return {"outcome": "not tried", "parameters": size, "why": why}
    try:
        with time_limit(seconds):
            try:
                model = build().eval()
            except MISFITS as error:
                return {"outcome": "not built", "why": _sentence(error)}
            found = {"parameters": sum(parameter.numel() for parameter in model.parameters())}
            try:
                return found | _split(model)
            except SigcamError as error:
                return found | {"outcome": "refused", "why": str(error)}
    except (OutOfTime, MemoryError) as error:
        return {"outcome": "given up", "why": _sentence(error)}


def _parameters_of(build: Callable[[], nn.Module]) -> int:
    """Parameters of a network, which is not filled with numbers for that; 0 where it cannot be made so."""
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in build().parameters())
    except MISFITS:
        return 0


def _split(model: nn.Module) -> dict[str, Any]:
    dual = DualBranch.from_classifier(model, CLASSES)
    images = probe_image(model)
    with torch.no_grad():
        features = dual.extract(images)
        maps = dual.feature_maps(features)
    return {
        "outcome": "split",
        "image": list(images.shape[1:]),
        "maps": list(maps.shape[1:]),
        "has_tokens": isinstance(dual.to_maps, TokensToMaps),
        "is_observed": any(isinstance(module, UpTo) for module in dual.backbone.modules()),
        "head_parameters": sum(parameter.numel() for parameter in dual.softmax_head.parameters()),
        "methods": list(methods_of(dual.softmax_head)),
    }


def _sentence(error: BaseException) -> str:
    """Return the first line of an error that is not blank."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def survey(library: str, results: Path, anew: bool = False, families: list[str] | None = None) -> Path:
    """Look at every family of a library, and write what comes of each as soon as it is there.

    Args:
        library: one of :data:`LIBRARIES`.
        results: folder of the results.
        anew: look again at families that are there already.
        families: to look at; by default all.

    Returns:
        The file.

    Raises:
        SigcamError: for an unknown library.
    """
    check_choice("library", library, LIBRARIES)
    path = results / FOLDER / f"{library}.json"
    release = version(library)
    rows: dict[str, Any] = {}
    if path.is_file() and not anew and (before := read_json(path))["release"] == release:
        rows = before["families"]
    builders = LIBRARIES[library]()
    for family, (name, build) in builders.items():
        if family in rows or (families is not None and family not in families):
            continue
        start = time.monotonic()
        rows[family] = {"network": name, **look_at(build)}
        print(f"{library} {family}: {rows[family]['outcome']}, {time.monotonic() - start:.0f} s", flush=True)
        content = {"library": library, "release": release, "of": len(builders), "families": dict(sorted(rows.items()))}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content | {"provenance": provenance()})
    return path


def compare(results: Path, committed: Path, libraries: list[str]) -> None:
    """Refuse results that say something else than those that are committed, of any family.

    Raises:
        SigcamError: naming the families that differ.
    """
    told = ("outcome", "maps", "methods")
    different: list[str] = []
    for library in libraries:
        own, other = (read_json(folder / FOLDER / f"{library}.json")["families"] for folder in (results, committed))
        for family in sorted(own.keys() | other.keys()):
            one, two = ([rows.get(family, {}).get(key) for key in told] for rows in (own, other))
            if one != two:
                different.append(f"{library} {family}")
    if different:
        fail(
            f"the committed page of the architectures is no longer true of {', '.join(different)}: run `python "
            f"book/_make/architectures.py --results {committed} --anew` and commit what it writes, or correct the cut."
        )


def main() -> None:
    """Command line of the module."""
    parser = CommandLine(description="Split one small network of every family, and write what comes of it.")
    parser.add_argument("--results", type=Path, default=Path("build/results"), help="folder (default: build/results)")
    parser.add_argument("--library", action="append", help=f"{', '.join(LIBRARIES)} (default: all)")
    parser.add_argument("--family", action="append", help="of the library (default: all)")
    parser.add_argument("--anew", action="store_true", help="examine families again that are there already")
    parser.add_argument("--against", type=Path, help="folder of results that must say the same")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (GIGABYTES << 30, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    libraries = options.library or list(LIBRARIES)
    for library in libraries:
        print(survey(library, options.results, options.anew, options.family))
    if options.against is not None:
        compare(options.results, options.against, libraries)


if __name__ == "__main__":
    run_command_line(main)
