"""Rules of a profile of the matrix, of which the Snakefile includes this file: data sets, classifiers, heads, evidence.

A local run is given one GPU (`--resources gpu=1`) and so makes one of these files at a time; a cluster takes what each
rule asks for. Minutes are the plan's, doubled.
"""

from companion.plan import cost_of_classifier, cost_of_evaluation, cost_of_head, fitted_speed, images_of, minutes_of
from companion.plan import COSTS, observations


def is_large(run):
    """Whether a network has over a hundred million parameters."""
    return COSTS[run.backbone].parameters > 100


def evaluation_options(run):
    """The command-line options that say what is measured of a run."""
    measured = SHOWN[run].measured
    fidelity = "" if measured.with_fidelity else " --without-fidelity"
    images, steps = measured.perturbed_images, measured.perturbation_steps
    return f"{options_of(run)}{fidelity} --perturbed-images {images} --perturbation-steps {steps}"


if PROFILE.is_miniature:
    # Where torchvision looks for weights: those of the miniature are random.
    TORCH_HOME = WORK / "torch"

    rule miniature_weights:
        """Random weights where torchvision looks for published ones."""
        input:
            files_behind("sigcam_core/backbones/networks.py"),
            Path(workflow.basedir, "workflow", "random_weights.py"),
        output:
            WORK / "torch" / "weights.json",
        threads: 1
        resources:
            mem_mb=2000,
            runtime=10,
        shell:
            "{PYTHON:q} {workflow.basedir:q}/workflow/random_weights.py --root {TORCH_HOME:q}"

    rule miniature_data:
        """Small archives in the layouts of the real ones, prepared as those are."""
        input:
            code_of("prepare"),
        output:
            [with_record(MANIFESTS[name]) for name in PROFILE.data_sets],
        threads: 1
        resources:
            mem_mb=2000,
            runtime=10,
        shell:
            "{PYTHON:q} -m data_scripts.miniature --root {WORK:q}"

    for run in RUNS.values():

        rule:
            name:
                f"run_{run.full_name}"
            # Classifier, sigmoid head and evidence in one process: to start three would take longer than they do.
            input:
                run.manifest,
                WORK / "torch" / "weights.json",
                code_of("train"),
                code_of("evaluate"),
            output:
                with_record(run.classifier),
                with_record(run.sigmoid_head),
                with_record(run.evidence),
            params:
                options=evaluation_options(run),
            # On two cores one of half a gigabyte of weights runs at a time: its training takes ten times their size.
            threads: 2 if is_large(run) else 1
            resources:
                mem_mb=6000 if is_large(run) else 2500,
                runtime=20,
            shell:
                "{KEEP_MEMORY} TORCH_HOME={TORCH_HOME:q} OMP_NUM_THREADS={threads} {PYTHON:q} -m sigcam_core evaluate {params.options}"

else:
    THREADS, MEGABYTES = 8, 24_000  # for each device
    SPEED = fitted_speed(observations(Path(workflow.basedir, "results")))
    CLASSIFIERS = {run.classifier: run for run in RUNS.values()}  # both forms of ResNet-50 share theirs
    HEADS = {run.sigmoid_head: run for run in RUNS.values()}

    for dataset in PROFILE.data_sets:

        rule:
            name:
                f"prepare_{dataset}"
            # From archives in SIGCAM_DATA, or downloaded: `python -m sigcam_core prepare NAME` says what is missing.
            output:
                with_record(MANIFESTS[dataset]),
            params:
                arguments=shlex.join(preparing(dataset)),
            threads: 1
            resources:
                mem_mb=8000,
                runtime=24 * 60,
            shell:
                "{PYTHON:q} -m data_scripts {params.arguments}"

    for path, run in CLASSIFIERS.items():

        rule:
            name:
                f"classifier_{run.name}"
            # The softmax classifier.
            input:
                run.manifest,
            output:
                with_record(path),
            params:
                options=training_options_of(run),
            threads: THREADS * DEVICES
            resources:
                gpu=DEVICES,
                mem_mb=MEGABYTES * DEVICES,
                runtime=minutes_of(cost_of_classifier(run, images_of(run.dataset)), SPEED, DEVICES),
            shell:
                "{KEEP_MEMORY} OMP_NUM_THREADS=$((({threads} + {DEVICES} - 1) / {DEVICES}))"
                " {PYTHON:q} -m sigcam_core train classifier {params.options}"

    for path, run in HEADS.items():

        rule:
            name:
                f"sigmoid_head_{run.full_name}"
            # A sigmoid head on the frozen classifier.
            input:
                run.manifest,
                run.classifier,
            output:
                with_record(path),
            params:
                options=training_options_of(run),
            threads: THREADS * DEVICES
            resources:
                gpu=DEVICES,
                mem_mb=MEGABYTES * DEVICES,
                runtime=minutes_of(cost_of_head(run, images_of(run.dataset)), SPEED, DEVICES),
            shell:
                "{KEEP_MEMORY} OMP_NUM_THREADS=$((({threads} + {DEVICES} - 1) / {DEVICES}))"
                " {PYTHON:q} -m sigcam_core train sigmoid-head {params.options}"

    for run in RUNS.values():
        # Where several processes share an evaluation, each measures a part of its shards, and the last step, which
        # finds them all, gathers them.
        parts = [WORK / "evidence" / f"{run.full_name}.part{part}of{PARTS}" for part in range(1, PARTS + 1)]
        minutes = minutes_of(cost_of_evaluation(run, images_of(run.dataset), SHOWN[run].measured), SPEED)

        if PARTS > 1:

            rule:
                name:
                    f"part_of_evidence_{run.full_name}"
                # The raw numbers of a part of the test images.
                input:
                    run.manifest,
                    run.sigmoid_head,
                output:
                    temp(touch(WORK / "evidence" / f"{run.full_name}.part{{part}}of{PARTS}")),
                params:
                    options=evaluation_options(run),
                threads: THREADS
                resources:
                    gpu=1,
                    mem_mb=MEGABYTES,
                    runtime=10 + minutes // PARTS,
                shell:
                    "{KEEP_MEMORY} OMP_NUM_THREADS={threads} {PYTHON:q} -m sigcam_core evaluate {params.options}"
                    " --part {wildcards.part}/{PARTS}"

        rule:
            name:
                f"evidence_{run.full_name}"
            # The raw numbers of each test image, head and method.
            input:
                run.manifest,
                run.sigmoid_head,
                parts if PARTS > 1 else [],
            output:
                with_record(run.evidence),
            params:
                options=evaluation_options(run),
            threads: 1 if PARTS > 1 else THREADS
            resources:
                gpu=0 if PARTS > 1 else 1,
                mem_mb=MEGABYTES,
                runtime=30 if PARTS > 1 else minutes,
            shell:
                "{KEEP_MEMORY} OMP_NUM_THREADS={threads} {PYTHON:q} -m sigcam_core evaluate {params.options}"
