"""The shipped head as a folder that a model hub takes: ``python book/_make/model_card.py --out build/hub``.

Weights, the record that lies next to them, and a card in Markdown whose numbers come from that record.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sigcam_core.common.errors import CommandLine, run_command_line
from sigcam_core.common.files import read_json

WEIGHTS = Path(__file__).resolve().parents[2] / "sigcam_core" / "dual" / "weights"
NAME = "efficientnet_lite0-tiny_imagenet"
CARD = """---
license: mit
library_name: sigcam
pipeline_tag: image-classification
tags: [class-activation-map, explainability, weakly-supervised-object-localization]
datasets: [tiny-imagenet-200]
---

# {name}

{what}.

## Use

```python
from sigcam_core.dual.shipped import shipped_dual

dual, card = shipped_dual("{name}")
```

## Training

{images:,} images of Tiny-ImageNet, {classes} classes, by binary cross-entropy with the positive term weighted
by the number of classes less one, on cached features of the frozen backbone; seed {seed}. The whole record,
with every epoch, versions and machine, is `{name}.json`. SHA-256 of the weights' training run: `{sha256}`.

## Evaluation

On the validation images of Tiny-ImageNet, top-1 accuracy is {sigmoid} % by the sigmoid head and {softmax} %
by the published softmax head restricted to the same classes. How its maps localise, and beside which
controls, is in the book.

## Limits

{limits}. A map says where a score came from, not that the score is right; it may rest on a context cue. Do
not use it to decide about people.

## Citation

Oh and Noh, *Beyond Softmax*, BMVC 2025, arXiv:2511.05590; and this companion (`CITATION.cff`).
"""


def card_text(record: dict[str, Any]) -> str:
    """Write the model card from the record of the weights."""
    return CARD.format(
        name=record["name"],
        what=record["what"][0].upper() + record["what"][1:],
        images=record["num_train_images"],
        classes=len(record["class_names"]),
        seed=record["training"]["seed"],
        sha256=record["training"]["sha256"],
        limits=record["limits"][0].upper() + record["limits"][1:],
        **record["test_top1"],
    )


def write_model(out: Path, name: str = NAME) -> None:
    """Write weights, record and card to a folder."""
    out.mkdir(parents=True, exist_ok=True)
    for suffix in (".safetensors", ".json"):
        shutil.copyfile(WEIGHTS / f"{name}{suffix}", out / f"{name}{suffix}")
    (out / "README.md").write_text(card_text(read_json(WEIGHTS / f"{name}.json")), encoding="utf-8")


def main() -> None:
    """Write the shipped head as a folder for a model hub."""
    parser = CommandLine(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/hub"))
    out = parser.parse_args().out
    write_model(out)
    print(out)


if __name__ == "__main__":
    run_command_line(main)
