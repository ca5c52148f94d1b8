"""The matrix: every row of the paper's tables has a run that fills it, and profiles name only what there is."""

import subprocess
import sys
from pathlib import Path

import pytest

from companion.matrix import (
    CAM,
    DATA_SETS,
    EMBEDDED,
    GRADIENT,
    METHODS_OF_FORM,
    NETWORKS,
    PROFILES,
    filled_by,
    profile_of,
    shown_runs,
    table3_runs,
    told,
)
from companion.paper.tables import paper_table
from sigcam_core.backbones.formats import BACKBONES
from sigcam_core.common.errors import SigcamError
from sigcam_core.run import Run

ROWS = [
    (table, row["dataset"], row["backbone"], row.get("method", "cam"), row.get("head", ""))
    for table in ("table1_wsol", "table2_fidelity", "table3_overhead")
    for row in paper_table(table).to_dict("records")
]
WORK = Path("somewhere")


def test_the_papers_tables_have_as_many_rows_as_the_paper_prints() -> None:
    assert [sum(row[0].startswith(f"table{number}") for row in ROWS) for number in (1, 2, 3)] == [24, 40, 9]


@pytest.mark.parametrize("profile", ["paper", "miniature"])
def test_every_row_of_the_paper_is_filled_by_a_run_of_the_profile(profile: str) -> None:
    runs, shown = PROFILES[profile].runs(WORK), shown_runs(profile, WORK)
    for table, dataset, backbone, method, _ in ROWS:
        entry = filled_by(dataset, backbone, method, profile)
        run = entry.run(WORK)
        assert run in runs
        assert (run.dataset, entry.network) == (DATA_SETS[dataset], backbone)
        assert (method == "cam") == (run.backbone == NETWORKS[backbone][CAM].backbone and entry.form == CAM)
        # The page shows the row from this run, once.
        (one,) = [s for s in shown if (s.run.dataset, s.network) == (run.dataset, backbone) and method in s.methods]
        assert one.run == run
        if table == "table2_fidelity":
            assert one.measured.with_fidelity
        if table == "table3_overhead":
            assert run in [s.run for s in table3_runs(profile, WORK)]


def test_gradient_rows_are_of_the_networks_of_the_paper() -> None:
    names = {
        network: filled_by("imagenet-1k", network, "gradcam").run().backbone
        for network in NETWORKS
        if "_" not in network
    }
    assert names == {"vgg16": "vgg16_mlp", "resnet50": "resnet50"}
    assert filled_by("imagenet-1k", "inception_v3", "gradcam").run().backbone == "inception_v3_mixed_7c"


def test_table_3_is_of_the_cam_form_on_imagenet() -> None:
    assert [one.run.backbone for one in table3_runs("paper", WORK)] == ["vgg16", "resnet50", "inception_v3"]
    assert {one.run.dataset for one in table3_runs("paper", WORK)} == {"imagenet"}
    assert {one.run.dataset for one in table3_runs("open", WORK)} == {"tiny_imagenet"}


def test_the_usual_profile_is_the_embedded_runs() -> None:
    expected = [Run("shapes", name, 3, WORK) for name in ("small_cnn", "small_cnn_mlp")]
    assert PROFILES["quick"].from_seed(3).runs(WORK) == expected
    assert [one.run for one in shown_runs("", WORK, 3, *EMBEDDED)] == expected
    assert [one.network for one in table3_runs("", WORK)] == ["small_cnn-gap", "small_cnn-mlp"]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_a_profile_names_what_there_is_and_its_files_are_told_apart(profile) -> None:
    runs = profile.runs(WORK)
    assert len({run.evidence for run in runs}) == len(runs)
    assert {run.backbone for run in runs} <= set(BACKBONES)
    assert PROFILES[profile.name] is profile
    assert len(profile.entries()) == len(profile.data_sets) * len(profile.networks) * 2


def test_profiles_have_the_data_sets_and_runs_that_they_promise() -> None:
    assert PROFILES["open"].data_sets == ("tiny_imagenet", "cub", "stanford_cars")
    assert {run.origin for name in ("open", "paper", "miniature") for run in PROFILES[name].runs()} == {"finetune"}
    five = {"vgg16", "vgg16_mlp", "resnet50", "inception_v3", "inception_v3_mixed_7c"}
    for name in ("open", "paper", "miniature"):
        cells = {(run.dataset, run.backbone) for run in PROFILES[name].runs()}
        assert cells == {(dataset, backbone) for dataset in PROFILES[name].data_sets for backbone in five}
    # Of ResNet-50 the heads have two rates and one classifier; the miniature has one recipe, and so one run.
    heads = [run for run in PROFILES["paper"].runs() if (run.dataset, run.backbone) == ("cub", "resnet50")]
    assert len({run.classifier for run in heads}) == 1
    assert len({run.sigmoid_head for run in heads}) == 2
    assert (len(PROFILES["paper"].runs()), len(PROFILES["miniature"].runs())) == (24, 20)
    assert {run.evidence.name for run in PROFILES["trial"].runs()} < {
        run.evidence.name for run in PROFILES["miniature"].runs()
    }


def test_seeds_are_shown_as_networks_of_their_own() -> None:
    shown = shown_runs("paper", WORK, seed=7)
    assert {one.run.seed for one in shown} == {7}
    assert {one.network for one in shown} == {"vgg16", "resnet50", "inception_v3"}


def test_the_forms_share_the_methods_of_the_paper() -> None:
    methods = set(paper_table("table2_fidelity")["method"])
    assert set(METHODS_OF_FORM[CAM]) | set(METHODS_OF_FORM[GRADIENT]) == methods
    assert not set(METHODS_OF_FORM[CAM]) & set(METHODS_OF_FORM[GRADIENT])


def test_pages_say_what_they_show() -> None:
    assert all("these numbers mean nothing" in told(name) for name in ("miniature", "trial"))
    assert "profile `quick`" in told("", "shapes", ["small_cnn", "small_cnn_mlp"])
    assert "profile `paper`" in told("paper")
    assert "resnet50 on cub" in told("", "cub", ["resnet50"])
    assert "mean nothing" not in told("paper") + told("open") + told("")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("imagenet-1k", "vgg16", "cam", "papers"), "unknown profile 'papers': choose one of quick, open, paper"),
        (("imagenet-1k", "vgg16", "cam", "open"), "profile 'open' has no vgg16 on imagenet: choose another profile"),
        (("mnist", "vgg16", "cam", "paper"), "unknown data set of the paper 'mnist': choose one of imagenet-1k"),
        (("imagenet-1k", "vgg16", "lime", "paper"), "unknown method of the paper 'lime': choose one of cam"),
    ],
)
def test_what_the_matrix_lacks_gets_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        filled_by(*arguments)


def test_an_unknown_profile_gets_one_sentence() -> None:
    with pytest.raises(SigcamError, match="unknown profile 'best': choose one of quick, open, paper, miniature, trial"):
        profile_of("best")


def test_the_matrix_is_read_without_torch_and_pandas() -> None:
    code = "import sys, companion.matrix; sys.exit(bool({'torch', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
