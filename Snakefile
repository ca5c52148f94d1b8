"""The pipeline as rules: manifest, checkpoints, evidence, notebooks, book.

Run `make reproduce`, or `snakemake --cores all`; `snakemake -n` shows the plan. Every rule writes whole files, so a
run that is killed goes on where it stopped. Options: `--config seed=1 train=400 epochs=2 devices=2`.

The runs are those of a profile of `companion/matrix.py`: `--config profile=paper`, or `make reproduce PROFILE=paper`.
"""

import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path[:0] = [workflow.basedir, f"{workflow.basedir}/workflow"]

from dependencies import files_behind, files_of, parameters_of_notebook, stations_of_notebook
from upkeep import dated_ahead, incomplete, list_of, make_due, named_files
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import try_lock
from sigcam_core.common.paths import user_path
from companion.matrix import USUAL, profile_of
from sigcam_core.run import manifest_path

# Let glibc keep freed memory: handing every batch back to the system costs up to a third of the training time.
KEEP_MEMORY = "MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=1073741824"

SOURCES = ("sigcam_core", "companion", "data_scripts", "notebooks", "book", "workflow", "results")
DEFAULTS = {"profile": USUAL, "work_dir": "", "seed": 0, "repeats": 7, "parts": 1, "devices": 1}
DEFAULTS |= dict.fromkeys(("train", "val", "test", "epochs"))  # the programs' own
if unknown := set(config) - set(DEFAULTS):
    raise WorkflowError(f"unknown configuration {', '.join(sorted(unknown))}: choose among {', '.join(DEFAULTS)}.")
settings = DEFAULTS | config
if not isinstance(settings["work_dir"], str):
    raise WorkflowError(
        f"configuration work_dir is read as {settings['work_dir']!r}, which is no text: give a folder of such a name as "
        "work_dir=./NAME."
    )
for name, value in settings.items():
    if name in ("profile", "work_dir") or value is None:
        continue
    if not isinstance(value, int) or value < (name != "seed"):
        raise WorkflowError(f"configuration {name} must be a whole number, at least {int(name != 'seed')}, not {value!r}.")

try:
    PROFILE = profile_of(settings["profile"]).from_seed(settings["seed"])
    WORK = user_path(settings["work_dir"] or Path("build", PROFILE.folder))
except SigcamError as error:
    raise WorkflowError(str(error))
IS_USUAL = PROFILE.name == USUAL
if PROFILE.is_miniature and settings["devices"] > 1:
    raise WorkflowError(f"profile {PROFILE.name} trains on one device: leave out devices, or choose another profile.")

SEED = settings["seed"]
SHOWN = {one.run: one for one in PROFILE.shown(WORK)}
RUNS = {run.network if IS_USUAL else run.full_name: run for run in SHOWN}
PARTS = settings["parts"]  # processes that share the evaluation of a run, in profiles of large runs
DEVICES = settings["devices"]  # that share each training, in one job, which starts a process for each
# A job of a cluster is given one where nobody says how many, however many its node has.
CORES = 1 if workflow.remote_exec else workflow.resource_settings.cores or 1
PYTHON = sys.executable
NOTEBOOKS = {path.stem: path for path in sorted(Path(workflow.basedir, "notebooks").glob("*.ipynb"))}
if not IS_USUAL:  # the pages of the paper's tables
    NOTEBOOKS = {name: path for name, path in NOTEBOOKS.items() if "profile" in parameters_of_notebook(path)}
RESULTS = Path(workflow.basedir, "results")
MANIFESTS = {name: manifest_path(name, WORK) for name in (("shapes", "photos") if IS_USUAL else PROFILE.data_sets)}


def option(name):
    """A command-line option where the configuration sets it; else nothing, which keeps the program's default."""
    return "" if settings[name] is None else f"--{name} {settings[name]}"


def preparing(name):
    """The arguments of `data_scripts` that prepare a data set."""
    counts = [option(split) for split in ("train", "val", "test")] if name == "shapes" else []
    return [name, "--root", str(WORK / "data"), *" ".join(counts).split()]


def look_after():
    """Make due what was deleted, and name dates in the future, before anything is asked for."""
    folders = [Path(workflow.basedir, name) for name in SOURCES]
    sources = [path for folder in folders for path in folder.rglob("*")]
    if ahead := dated_ahead([*sources, *Path(workflow.basedir).glob("package*.json"), *named_files(WORK)]):
        remedy = f"their steps may run again each time; end that by `touch {shlex.quote(str(ahead[0]))}`"
        print(f"{len(ahead)} files are dated in the future, first {ahead[0]}: {remedy}.", file=sys.stderr)
    if gone := incomplete(WORK):
        first = next(iter(gone.values()))
        print(f"files of {len(gone)} finished steps are gone, first {first}: they are made again.", file=sys.stderr)
        commands = {path: [PYTHON, "-m", "data_scripts", *preparing(name)] for name, path in MANIFESTS.items()}
        if not {"-n", "--dry-run", "--dryrun"} & set(sys.argv):  # Snakemake itself does not know yet
            make_due(gone, commands)


if workflow.is_main_process:
    look_after()


# The module that makes a stage's file; what it imports is what the file depends on.
MADE_IN = {
    "prepare": "data_scripts/__main__.py",
    "train": "sigcam_core/stations/heads.py",
    "evaluate": "sigcam_core/stations/evidence.py",
}
STATIONS = sorted(Path(workflow.basedir, "sigcam_core", "stations").glob("*.py"))


def code_of(stage):
    """The code that a stage's file depends on, so that an edit makes it again.

    What takes hours or days is made again when its file is deleted, not at every edit.
    """
    return files_behind(MADE_IN[stage]) if IS_USUAL or PROFILE.is_miniature else []


def options_of(run):
    """The command-line options that name a run; whatever is usual is left out."""
    named = {"origin": run.origin, "classifier-recipe": run.classifier_recipe, "sigmoid-recipe": run.sigmoid_recipe}
    more = "".join(f" --{name} {value}" for name, value in named.items() if value not in ("", "scratch"))
    return f"--work-dir {shlex.quote(str(WORK))} --dataset {run.dataset} --backbone {run.backbone} --seed {run.seed}{more}"


def training_options_of(run):
    """The command-line options of a training; on one device, the program's default, nothing is said of devices."""
    return f"{options_of(run)} {option('epochs')}" + (f" --devices {DEVICES}" if DEVICES > 1 else "")


# A step notes all files that it makes; see workflow/upkeep.py.
NOTING = 'mkdir -p "$(dirname {params.made:q})" && rm -f {params.made:q}.part && export SIGCAM_MADE={params.made:q}.part && '
SETTLING = " && {PYTHON:q} {workflow.basedir:q}/workflow/upkeep.py {params.made:q} {WORK:q}"


def made_with(path):
    """The list of all files that a step makes together with one that its rule names."""
    return str(list_of(path, WORK))


def with_record(path):
    """Return a stage's file, and the record next to it."""
    return path, path.with_suffix(".json")


# The files that a notebook gets from functions of `sigcam_core.stations`.
MADE_BY = {
    "ensure_classifier": [run.classifier for run in RUNS.values()],
    "ensure_sigmoid_head": [run.sigmoid_head for run in RUNS.values()],
    "ensure_evidence": [run.evidence for run in RUNS.values()],
    "ensure_evidence_of_all": [run.evidence for run in RUNS.values()],
}


def reads(notebook):
    """What a notebook reads: the code behind its imports, the files of other steps, and what was measured.

    Its code ends at the functions that make the files of other steps: an edit behind these makes such a file due, and
    through it the notebook. A manifest is that of the data set which the call names; where none does, any may be meant.
    """
    path = NOTEBOOKS[notebook]
    used = stations_of_notebook(path)
    files = [file for name in used if name in MADE_BY for file in MADE_BY[name]]
    files += [MANIFESTS[name] for name in used.get("ensure_manifest") or MANIFESTS if "ensure_manifest" in used]
    if "results" in parameters_of_notebook(path):  # the folder of the project, where it is left empty
        files += [file for file in RESULTS.rglob("*") if file.suffix in (".csv", ".json")]
    return files_behind(path, stop_at=STATIONS) + files


def parameters(notebook):
    """The parameters of a notebook that the configuration sets, those that it declares."""
    given = {"seed": SEED, "repeats": settings["repeats"]}
    if not IS_USUAL:
        given |= {"profile": PROFILE.name, "batch_size": PROFILE.batch_size}
        given |= {"repeats": PROFILE.repeats} if PROFILE.repeats else {}
    declared = parameters_of_notebook(NOTEBOOKS[notebook])
    # papermill reads text that looks like a number as one, unless it is given raw.
    kinds = {name: "-r" if isinstance(value, str) else "-p" for name, value in given.items()}
    return " ".join(f"{kinds[name]} {name} {value}" for name, value in given.items() if name in declared)


HELD = []  # the lock, as long as this process lives


onstart:
    WORK.mkdir(parents=True, exist_ok=True)
    HELD.append((WORK / ".lock").open("a"))
    if not try_lock(HELD[0].fileno()):
        raise WorkflowError(f"another run works in {WORK}: wait for it, or choose another work_dir.")


rule all:
    input:
        WORK / "book" / "_build" / "html" / "index.html",


if IS_USUAL:

    rule shapes:
        """Generate the embedded data set."""
        input:
            code_of("prepare"),
        output:
            with_record(MANIFESTS["shapes"]),
        threads: 1
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            arguments=shlex.join(preparing("shapes")),
            made=made_with(MANIFESTS["shapes"]),
        shell:
            NOTING + "{PYTHON:q} -m data_scripts {params.arguments}" + SETTLING

    rule photos:
        """Gather the sample photos."""
        input:
            code_of("prepare"),
        output:
            with_record(MANIFESTS["photos"]),
        threads: 1
        resources:
            mem_mb=2000,
            runtime=30,
        params:
            arguments=shlex.join(preparing("photos")),
            made=made_with(MANIFESTS["photos"]),
        shell:
            NOTING + "{PYTHON:q} -m data_scripts {params.arguments}" + SETTLING

    for run in RUNS.values():

        rule:
            name:
                f"classifier_{run.network}"
            # The softmax classifier.
            input:
                run.manifest,
                [run.starts_from.classifier] if run.starts_from else [],
                code_of("train"),
            output:
                with_record(run.classifier),
            params:
                options=training_options_of(run),
                made=made_with(run.classifier),
            threads: 2 * DEVICES
            resources:
                mem_mb=4000 * DEVICES,
                runtime=60,
            priority: 2
            shell:
                # Of each process, here and below; fixed: it decides the order of additions, and so the last bits.
                NOTING
                + "{KEEP_MEMORY} OMP_NUM_THREADS=2 {PYTHON:q} -m sigcam_core train classifier {params.options}"
                + SETTLING

        rule:
            name:
                f"sigmoid_head_{run.network}"
            # A sigmoid head on the frozen classifier.
            input:
                run.manifest,
                run.classifier,
                code_of("train"),
            output:
                with_record(run.sigmoid_head),
            params:
                options=training_options_of(run),
                made=made_with(run.sigmoid_head),
            threads: DEVICES
            resources:
                mem_mb=4000 * DEVICES,
                runtime=30,
            priority: 2
            shell:
                NOTING
                + "{KEEP_MEMORY} OMP_NUM_THREADS=1 {PYTHON:q} -m sigcam_core train sigmoid-head {params.options}"
                + SETTLING

        rule:
            name:
                f"evidence_{run.network}"
            # The raw numbers of each test image, head and method.
            input:
                run.manifest,
                run.sigmoid_head,
                code_of("evaluate"),
            output:
                with_record(run.evidence),
            params:
                options=options_of(run),
                made=made_with(run.evidence),
            threads: 1
            resources:
                mem_mb=4000,
                runtime=60,
            priority: 1
            shell:
                NOTING
                + "{KEEP_MEMORY} OMP_NUM_THREADS=1 {PYTHON:q} -m sigcam_core evaluate {params.options}"
                + SETTLING

else:

    include: "workflow/matrix.smk"


rule notebook:
    """Execute a notebook with papermill."""
    input:
        lambda wildcards: reads(wildcards.notebook),
        notebook=Path(workflow.basedir, "notebooks", "{notebook}.ipynb"),
    output:
        WORK / "notebooks" / "{notebook}.ipynb",
    benchmark:
        WORK / "measured" / "{notebook}.tsv"
    params:
        given=lambda wildcards: parameters(wildcards.notebook),
        made=lambda wildcards: made_with(WORK / "notebooks" / f"{wildcards.notebook}.ipynb"),
    # What is repeated is a timing: nothing else may run at the same time.
    threads: lambda wildcards: CORES if "-p repeats" in parameters(wildcards.notebook) else 1
    resources:
        mem_mb=8000,
        runtime=120,
    shell:
        NOTING + "OMP_NUM_THREADS={threads} MPLBACKEND=module://matplotlib_inline.backend_inline"
        " {PYTHON:q} -m papermill --no-progress-bar --log-level WARNING {input.notebook:q} {output:q}.part.ipynb"
        " -r work_dir {WORK:q} {params.given}"
        # ipykernel warns at every start that a kernel on this machine talks to itself unencrypted.
        " 2> >(grep -v IPKernelApp >&2) && mv {output:q}.part.ipynb {output:q}" + SETTLING


rule book:
    """Render the book from the executed notebooks."""
    input:
        expand(str(WORK / "notebooks" / "{notebook}.ipynb"), notebook=NOTEBOOKS),
        [path for path in Path(workflow.basedir, "book").rglob("*") if path.is_file() and "__pycache__" not in path.parts],
        Path(workflow.basedir, "package-lock.json"),
        Path(workflow.basedir, "workflow").glob("*.py"),
        files_of("sigcam_core", "companion", "data_scripts"),
    output:
        WORK / "book" / "_build" / "html" / "index.html",
    params:
        profile="" if IS_USUAL else f"--profile {PROFILE.name}",
        made=made_with(WORK / "book" / "_build" / "html" / "index.html"),
    threads: CORES
    resources:
        mem_mb=4000,
        runtime=30,
    shell:
        NOTING
        + "{PYTHON:q} {workflow.basedir:q}/book/_make/build_book.py --work-dir {WORK:q} --cores {threads} {params.profile}"
        + SETTLING
