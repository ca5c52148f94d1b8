"""The line that data travels, as rules: manifest, checkpoints, evidence, notebooks, book.

Run `make reproduce`, or `snakemake --cores all`; `snakemake -n` shows the plan. Every rule writes whole files, so a
run that is killed goes on where it stopped. Options: `--config seed=1 train=400 epochs=2`.
"""

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Let glibc keep freed memory: handing every batch back to the system costs up to a third of the training time.
KEEP_MEMORY = "MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=1073741824"

DEFAULTS = {"work_dir": "build", "seed": 0, "train": None, "val": None, "test": None, "epochs": None, "repeats": 7}
if unknown := set(config) - set(DEFAULTS):
    raise WorkflowError(f"unknown configuration {', '.join(sorted(unknown))}: choose among {', '.join(DEFAULTS)}.")
settings = DEFAULTS | config
for name, value in settings.items():
    if name != "work_dir" and value is not None and (not isinstance(value, int) or value < (name != "seed")):
        raise WorkflowError(f"configuration {name} must be a whole number, at least {int(name != 'seed')}, not {value!r}.")

WORK = Path(settings["work_dir"])
SEED = settings["seed"]
DATASET, BACKBONE = "shapes", "small_cnn"
HEADS = ("gap", "mlp")
NAME = f"{DATASET}-{BACKBONE}-{{head}}-seed{SEED}"
PYTHON = sys.executable
NOTEBOOKS = sorted(path.stem for path in Path(workflow.basedir, "notebooks").glob("*.ipynb"))
SEEDED = [name for name in NOTEBOOKS if name not in ("01_invariance", "09_benchmarks", "10_real_images")]


def sources(*modules):
    """The modules that a station's result depends on, so that an edit makes it again."""
    return [str(Path(workflow.basedir, "sigcam_core", f"{module}.py")) for module in modules]


def option(name):
    """A command-line option where the configuration sets it; else nothing, which keeps the program's default."""
    return "" if settings[name] is None else f"--{name} {settings[name]}"


def all_heads(pattern):
    return expand(str(pattern), head=HEADS)


manifest = WORK / "data" / DATASET / "manifest.parquet"
photos = WORK / "data" / "photos" / "manifest.parquet"
classifier = WORK / "checkpoints" / f"{NAME}.classifier.safetensors"
sigmoid_head = WORK / "checkpoints" / f"{NAME}.sigmoid_head.safetensors"
evidence = WORK / "evidence" / f"{NAME}.parquet"
run_options = f"--work-dir {WORK} --dataset {DATASET} --backbone {BACKBONE} --head {{wildcards.head}} --seed {SEED}"
NETWORK = ("backbones/networks", "train/origins", "backbones/paper_networks", "backbones/small_cnn", "prepare/images", "prepare/views", "prepare/manifest")
TRAINING = ("train/heads", "train/fit", "train/checkpoints", "train/recipes", "common/seeds")
RESULTS = Path(workflow.basedir, "results")
WEIGHTS = Path(workflow.basedir, "sigcam_core", "dual", "weights").glob("*")

# What each notebook reads, so that the workflow knows when to run it again.
READS = {
    "01_invariance": [photos, *sources("invariance", "summarise/figures", "dual/branch", "cams/maps")],
    "02_training": [*all_heads(sigmoid_head), *sources("summarise/figures")],
    "03_table1_wsol": [*all_heads(evidence), *sources("summarise/tables", "summarise/figures", "localization/protocol")],
    "04_table2_fidelity": [*all_heads(evidence), *sources("summarise/tables", "summarise/figures", "fidelity/perturbation")],
    "05_table3_overhead": [*all_heads(sigmoid_head), *sources("evaluate/overhead", "summarise/figures", "dual/branch", "cams/maps")],
    "06_qualitative_localization": [*all_heads(sigmoid_head), *sources("summarise/panels", "summarise/figures", "cams/maps")],
    "07_qualitative_explanations": [*all_heads(sigmoid_head), *sources("summarise/panels", "summarise/figures", "cams/maps")],
    "08_explorer": [photos, *WEIGHTS, *sources("publish/explorer", "dual/shipped", "summarise/figures", "cams/maps", "dual/branch", *NETWORK)],
    "09_benchmarks": [*RESULTS.glob("benchmarks/**/*.json"), *sources("summarise/speed")],
    "10_real_images": [*RESULTS.glob("*/*.csv"), *RESULTS.glob("*/*.json"), *sources("summarise/measured", "publish/experiments", "publish/measure", "summarise/paper", "summarise/tables", "summarise/figures")],
}


rule all:
    input:
        WORK / "book" / "_build" / "html" / "index.html",


rule shapes:
    """Generate the embedded data set."""
    input:
        Path(workflow.basedir, "data_scripts", "shapes.py"),
    output:
        manifest,
    shell:
        "{PYTHON} -m data_scripts shapes --root {WORK}/data "
        + " ".join(option(name) for name in ("train", "val", "test"))


rule photos:
    """Gather the sample photos."""
    input:
        Path(workflow.basedir, "data_scripts", "photos.py"),
    output:
        photos,
    shell:
        "{PYTHON} -m data_scripts photos --root {WORK}/data"


rule classifier:
    """Train a softmax classifier; the one with the MLP head starts from the one with the GAP head."""
    input:
        manifest,
        lambda wildcards: [] if wildcards.head == "gap" else str(classifier).format(head="gap"),
        sources(*TRAINING, *NETWORK),
    output:
        classifier,
        classifier.with_suffix(".json"),
    threads: 2
    priority: 2
    shell:
        # A fixed number of threads, here and below: it decides the order of additions, and so the last bits of results.
        "{KEEP_MEMORY} OMP_NUM_THREADS=2 {PYTHON} -m sigcam_core train classifier " + run_options + " " + option("epochs")


rule sigmoid_head:
    """Train a sigmoid head on the frozen classifier."""
    input:
        manifest,
        classifier,
        sources(*TRAINING, "train/features", "dual/loss", "dual/branch", "dual/split", *NETWORK),
    output:
        sigmoid_head,
        sigmoid_head.with_suffix(".json"),
    threads: 1
    priority: 2
    shell:
        "{KEEP_MEMORY} OMP_NUM_THREADS=1 {PYTHON} -m sigcam_core train sigmoid-head " + run_options + " " + option("epochs")


rule evidence:
    """Evaluate the test split: the raw numbers of each image, head and method."""
    input:
        manifest,
        sigmoid_head,
        sources("evaluate/evaluate", "cams/maps", "cams/score_maps", "localization/protocol", "localization/contours", "fidelity/scores", "fidelity/perturbation", "dual/branch", "dual/split"),
        sources(*NETWORK),
    output:
        evidence,
        evidence.with_suffix(".json"),
    threads: 1
    priority: 1
    shell:
        "{KEEP_MEMORY} OMP_NUM_THREADS=1 {PYTHON} -m sigcam_core evaluate " + run_options


rule notebook:
    """Execute a notebook with papermill."""
    input:
        lambda wildcards: READS[wildcards.notebook],
        notebook=Path(workflow.basedir, "notebooks", "{notebook}.ipynb"),
    output:
        WORK / "notebooks" / "{notebook}.ipynb",
    params:
        seed=lambda wildcards: f"-p seed {SEED}" if wildcards.notebook in SEEDED else "",
        repeats=lambda wildcards: f"-p repeats {settings['repeats']}" if "overhead" in wildcards.notebook else "",
    # The overhead is a timing: nothing else may run beside it.
    threads: lambda wildcards: workflow.cores if "overhead" in wildcards.notebook else 1
    shell:
        "OMP_NUM_THREADS={threads} MPLBACKEND=module://matplotlib_inline.backend_inline"
        " {PYTHON} -m papermill --no-progress-bar --log-level WARNING {input.notebook} {output}.part.ipynb"
        " -p work_dir {WORK} {params.seed} {params.repeats}"
        # ipykernel warns at every start that a kernel on this machine talks to itself unencrypted.
        " 2> >(grep -v IPKernelApp >&2) && mv {output}.part.ipynb {output}"


rule book:
    """Render the book from the executed notebooks."""
    input:
        expand(str(WORK / "notebooks" / "{notebook}.ipynb"), notebook=NOTEBOOKS),
        [path for path in Path(workflow.basedir, "book").rglob("*") if path.is_file() and "__pycache__" not in path.parts],
        Path(workflow.basedir, "workflow", "build_book.py"),
    output:
        WORK / "book" / "_build" / "html" / "index.html",
    threads: workflow.cores
    shell:
        "{PYTHON} {workflow.basedir}/workflow/build_book.py --work-dir {WORK}"
