"""ImageNet-1K from miniatures of its archives: a tar of a thousand tars, a flat tar, and boxes from either source."""

from pathlib import Path

import pytest
from small_archives import jpeg, pin_metadata, tar_bytes, text, write_tar

from data_scripts import imagenet
from data_scripts.__main__ import prepare
from data_scripts.imagenet_classes import imagenet_names, imagenet_wnids
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json
from sigcam_core.prepare.images import load_images
from sigcam_core.prepare.manifest import Manifest

TEST = [f"ILSVRC2012_val_{number:08d}" for number in (1, 2, 3)]
# The real first image, with one box; the second has two.
LABELS = {TEST[0]: 65, TEST[1]: 970, TEST[2]: 230}
BOXES = [
    (TEST[0], 111, 108, 441, 193),
    (TEST[1], 45, 49, 499, 162),
    (TEST[1], 2, 69, 437, 207),
    (TEST[2], 0, 0, 9, 501),
]
# One tar of two images stands for every class: making a thousand would cost more than reading them.
PIXELS = [jpeg(8, 6), jpeg(10, 6)]


def class_tar(wnid: str) -> bytes:
    return tar_bytes({f"{wnid}_{index}.JPEG": image for index, image in enumerate(PIXELS)})


def annotation(image_id: str) -> bytes:
    wnid = imagenet_wnids()[LABELS[image_id]]
    corners = ("xmin", "ymin", "xmax", "ymax")
    objects = [
        f"<object><name>{wnid}</name><bndbox>"
        + "".join(f"<{corner}>{edge}</{corner}>" for corner, edge in zip(corners, box, strict=True))
        + "</bndbox></object>"
        for name, *box in BOXES
        if name == image_id
    ]
    size = "<size><width>500</width><height>500</height><depth>3</depth></size>"
    return f"<annotation><filename>{image_id}</filename>{size}{''.join(objects)}</annotation>".encode()


def write_archives(folder: Path) -> None:
    write_tar(folder / "ILSVRC2012_img_train.tar", {f"{wnid}.tar": class_tar(wnid) for wnid in imagenet_wnids()})
    write_tar(folder / "ILSVRC2012_img_val.tar", {f"{name}.JPEG": jpeg(500, 500) for name in TEST})
    write_tar(folder / "ILSVRC2012_bbox_val_v3.tgz", {f"val/{name}.xml": annotation(name) for name in TEST}, "w:gz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    write_archives(folder)
    return folder


@pytest.fixture(autouse=True)
def _metadata(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGCAM_DATA", raising=False)
    lists = {
        "class_labels": [f"val/{name}.JPEG,{label}" for name, label in LABELS.items()],
        "image_sizes": [f"val/{name}.JPEG,500,500" for name in LABELS],
        "localization": [f"val/{name}.JPEG,{','.join(map(str, box))}" for name, *box in BOXES],
    }
    pin_metadata(monkeypatch, folder, {f"metadata/ILSVRC/test/{kind}.txt": text(*rows) for kind, rows in lists.items()})


def check(manifest: Manifest) -> None:
    table = manifest.table
    assert table["split"].value_counts().to_dict() == {"train": 1000, "val": 1000, "test": 3}
    assert manifest.class_names == imagenet_names()
    first = table.set_index("image_id").loc["n02124075_1"]
    assert (first["label"], first["width"], first["height"], first["boxes"]) == (285, 10, 6, [])
    test = manifest.split("test")
    assert test.labels.tolist() == [65, 970, 230]
    assert test.table["boxes"].tolist() == [
        [[111, 108, 441, 193]],
        [[45, 49, 499, 162], [2, 69, 437, 207]],
        [[0, 0, 9, 500]],
    ]
    assert load_images(test, 8).shape == (3, 3, 8, 8)


def test_labels_and_boxes_from_either_source(folder: Path, tmp_path: Path) -> None:
    check(prepare("imagenet", tmp_path, archives=[folder], val_fraction=0.5))
    # The other source of boxes unpacks no image again.
    (tmp_path / "imagenet/train/n02124075/n02124075_0.JPEG").write_bytes(PIXELS[0])
    manifest = prepare("imagenet", tmp_path, archives=[folder], val_fraction=0.5, boxes="xml")
    check(manifest)
    parameters = read_json(manifest.root / "manifest.json")["parameters"]
    assert [record["name"][-7:] for record in parameters["archives"]] == ["ain.tar", "val.tar", "_v3.tgz"]
    assert (parameters["boxes"], parameters["val_fraction"]) == ("xml", 0.5)


def test_a_stopped_run_goes_on_with_the_next_class(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = imagenet.write_member, []

    def stop(member: object, path: Path) -> None:
        if len(written) == 11:
            raise KeyboardInterrupt
        written.append(path.name)
        write(member, path)  # type: ignore[arg-type]

    monkeypatch.setattr(imagenet, "write_member", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare("imagenet", tmp_path, archives=[folder])
    assert not (tmp_path / "imagenet/train").exists()
    before, written[:] = list(written), []
    monkeypatch.setattr(imagenet, "write_member", lambda member, path: (written.append(path.name), write(member, path)))
    assert len(prepare("imagenet", tmp_path, archives=[folder])) == 2003
    # Five classes were whole; the sixth is begun again.
    assert not set(written) & set(before[:10])
    assert len(written) == 2000 - 10


def test_missing_archives_are_all_asked_for_at_once(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match=r"ILSVRC2012_img_train\.tar is missing: register at https://image-net\.org"):
        prepare("imagenet", tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/ILSVRC2012_img_train.tar").symlink_to(folder / "ILSVRC2012_img_train.tar")
    with pytest.raises(SigcamError, match=r"ILSVRC2012_img_val\.tar is missing: register at https://image-net\.org"):
        prepare("imagenet", tmp_path, archives=[tmp_path / "own"])
    assert not (tmp_path / "imagenet/train").exists()


def test_damaged_archives_are_refused(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"):
        (own / name).write_bytes((folder / name).read_bytes())
    val, train = own / "ILSVRC2012_img_val.tar", own / "ILSVRC2012_img_train.tar"
    val.write_bytes(val.read_bytes()[:-40_000])
    with pytest.raises(SigcamError, match=r"ILSVRC2012_img_val\.tar is truncated or damaged"):
        prepare("imagenet", tmp_path, archives=[own, folder])
    write_tar(val, {f"{name}.JPEG": jpeg(500, 500) for name in TEST[:2]})
    with pytest.raises(SigcamError, match=r"1 of 3 images are missing"):
        prepare("imagenet", tmp_path, archives=[own, folder])
    val.unlink()
    # Cut between two classes, a tar looks whole: the classes are counted.
    write_tar(train, {f"{wnid}.tar": class_tar(wnid) for wnid in imagenet_wnids()[:-2]})
    with pytest.raises(SigcamError, match=r"lacks 2 of 1,000 classes, the first is n13133613"):
        prepare("imagenet", tmp_path, archives=[own, folder])
    train.write_bytes((folder / train.name).read_bytes()[:995_000])
    with pytest.raises(SigcamError, match=r"ILSVRC2012_img_train\.tar is truncated or damaged"):
        prepare("imagenet", tmp_path, archives=[own, folder])


def test_what_is_no_annotation_is_refused(folder: Path, tmp_path: Path) -> None:
    write_tar(tmp_path / "own/ILSVRC2012_bbox_val_v3.tgz", {f"val/{TEST[0]}.xml": b"<annotation/>"}, "w:gz")
    with pytest.raises(SigcamError, match=r"_00000001\.xml is not an annotation of ILSVRC2012"):
        prepare("imagenet", tmp_path, archives=[tmp_path / "own", folder], boxes="xml")
    with pytest.raises(SigcamError, match=r"unknown source of --boxes 'pdf': choose one of metadata, xml"):
        prepare("imagenet", tmp_path, archives=[folder], boxes="pdf")
