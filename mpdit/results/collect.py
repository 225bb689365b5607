"""Run folders -> five tables in long form, of stable columns: what tables and figures read, and nothing else.

A run that has not ended, or not begun, is no error: it stands in `runs.csv` with its status. A file that cannot be
trusted is one: a missing column, a row twice, NaN where a number must be.
"""

import io
from collections.abc import Sequence
from pathlib import Path

from ..system.errors import UserError
from ..system.files import read_json, replacing

# What a run is; the same words in every file.
AXES = ("run", "model", "config", "modulation", "lr", "seed", "data")
STANDING = ("steps", "paper_setting", "standard_lr")  # of a run in the study, as plan.json says it
STATUSES = ("trained", "running", "diverged", "missing")  # running: begun and not ended, be it at work or stopped

# subject: its columns. Lengths in pixels, times in seconds, memory in MB; `loss` is the last one logged.
COLUMNS = {
    # a row a run; standard_lr: the rate is the one that `learning_rates:` gives the letter
    "runs": (
        *AXES, "paper_setting", "standard_lr", "status", "step", "steps", "loss", "parameters", "images_per_second",
        "seconds", "peak_memory_mb", "latents", "device", "threads", "commit",
    ),
    # a row a run, protocol and kind of features: what was sampled from where, how, and how far it is from real images.
    # Empty where `reference` is precomputed statistics: reference_count, kid, kid_sd and the floor
    "fid": (
        *AXES, "protocol", "sampler", "steps", "guidance", "count", "ema_width", "step", "sampling_seed",
        "features", "features_hash", "reference", "reference_count", "reference_hash",
        "fid", "kid", "kid_sd", "fid_rank_deficient", "fid_floor", "kid_floor", "floor_count", "commit",
    ),
    # a row a run and logged step; `lr` is the rate at that step, loss_q1 to loss_q4 are over quarters of the timesteps
    "training": (
        "run", "step", "loss", "simple", "variational", "loss_q1", "loss_q2", "loss_q3", "loss_q4",
        "grad_norm", "lr", "weight_norm", "images_per_second", "seconds", "memory_mb", "status",
    ),
    # a row a run, snapshot and place; kind is activation (at a noise level), correlated (activations on made-up latents
    # whose neighbours have that correlation), weight or gain; step 0 is initialisation; block -1 is what stands before
    # the blocks, the one after the last is the final layer
    "magnitudes": ("run", "step", "ema_width", "kind", "block", "site", "timestep", "correlation", "magnitude"),
    # a row a run, snapshot, block, head and noise level, of modulations that turn pairs: root mean square of the angles
    "angles": ("run", "step", "ema_width", "block", "site", "timestep", "radians"),
    # a row a letter, modulation and form, measured side by side; made by `mpdit cost`, not from run folders
    "cost": (
        "model", "config", "modulation", "form", "parameters", "flops", "step_seconds", "relative", "relative_low",
        "relative_high", "rounds", "device", "threads",
    ),
}  # fmt: skip
SUBJECTS = ("runs", "fid", "training", "magnitudes", "angles")

# subject: what may not stand twice, and what must be a finite number in every row
_KEYS = {
    "runs": ("run",),
    "fid": ("run", "protocol", "features"),
    "training": ("run", "step"),
    "magnitudes": ("run", "step", "ema_width", "kind", "block", "site", "timestep", "correlation"),
    "angles": ("run", "step", "ema_width", "block", "site", "timestep"),
    "cost": ("model", "config", "modulation", "form"),
}
_FINITE = {"fid": ("fid", "kid"), "training": ("loss",), "magnitudes": ("magnitude",), "angles": ("radians",),
           "cost": ("relative",)}  # fmt: skip
# Words even where they look like numbers: "none" is an EMA width, too, and a commit may be all digits.
_TEXT = (*(axis for axis in AXES if axis not in ("lr", "seed")), "protocol", "ema_width", "features_hash",
         "reference_hash", "latents", "commit")  # fmt: skip


def aggregate(plan: str | Path, runs: str | Path) -> dict:
    """The tables of a plan's runs: subject -> DataFrame of the columns above, in the plan's order.

    Values are the files' own text, to the last digit. Raises UserError, one line naming the file, for a plan or a file
    that is not as it should be.
    """
    return collect(read_plan(plan), runs)


def collect(entries: Sequence[dict], runs: str | Path) -> dict:
    """The same of the entries of a plan."""
    import pandas as pd

    parts = {subject: [pd.DataFrame(columns=COLUMNS[subject], dtype=str)] for subject in SUBJECTS}
    for entry in entries:
        folder = Path(runs) / entry["run"]
        training = _training(folder)
        parts["runs"].append(pd.DataFrame([_run(entry, folder, training)], columns=COLUMNS["runs"], dtype=object))
        parts["training"].append(training)
        traced = read_rows(folder / "magnitudes.csv", "magnitudes", entry["run"])
        turned = traced["kind"] == "angle"
        parts["magnitudes"].append(traced[~turned])
        parts["angles"].append(traced[turned].rename(columns={"magnitude": "radians"})[list(COLUMNS["angles"])])
        for score in entry["scores"]:
            protocol = Path(score).parent.name
            parts["fid"].append(read_rows(folder / score, "fid", entry["run"], protocol=protocol))
    return {subject: pd.concat(parts[subject], ignore_index=True) for subject in SUBJECTS}


def part(tables: dict, entries: Sequence[dict]) -> dict:
    """Of the tables of a plan, what `collect` would give for entries whose runs and scores are all among the plan's."""
    places = {entry["run"]: place for place, entry in enumerate(entries)}
    chosen = {subject: table[table["run"].isin(places)] for subject, table in tables.items()}
    scores = [(entry["run"], Path(score).parent.name) for entry in entries for score in entry["scores"]]
    order = {key: place for place, key in enumerate(scores)}
    found = [order.get(key, -1) for key in zip(chosen["fid"]["run"], chosen["fid"]["protocol"], strict=True)]
    fid = chosen["fid"].assign(place=found).sort_values("place", kind="stable")
    chosen = {
        subject: table.assign(place=table["run"].map(places)).sort_values("place", kind="stable")
        for subject, table in (chosen | {"fid": fid[fid["place"] >= 0]}).items()
    }
    return {subject: table.drop(columns="place").reset_index(drop=True) for subject, table in chosen.items()}


def read_plan(path: str | Path) -> list[dict]:
    """The runs of a plan.json: their axes, STANDING and `scores` (paths within the run folder)."""
    plan, seen = read_json(path), set()
    entries = plan.get("runs") if isinstance(plan, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: no list of runs: must be a plan.json that the workflow wrote")
    for entry in entries:
        for key in (*AXES, *STANDING, "scores"):
            if key not in entry:
                raise UserError(f"{path}: run {entry.get('run')}: no {key}: must be there; an older version wrote it")
        if entry["run"] in seen:
            raise UserError(f"{path}: run {entry['run']} stands twice: must stand once")
        seen.add(entry["run"])
    return entries


def read_table(path: str | Path, subject: str):
    """A checked table of `COLUMNS[subject]` with numbers as numbers; other columns are left out. UserError as above."""
    return check(_read(path, dtype=dict.fromkeys(_TEXT, str), na_values=["", "nan"]), path, subject)


def check(frame, path: str | Path, subject: str, absent: Sequence[str] = ()):
    """The frame's `COLUMNS[subject]` (but `absent`, which are added later); UserError for what can't be trusted."""
    import pandas as pd

    columns = [column for column in COLUMNS[subject] if column not in absent]
    missing = [column for column in columns if column not in frame]
    if missing:
        raise UserError(
            f"{path}: no column {', '.join(missing)}: must be there; an older version wrote it, make it anew"
        )
    frame = frame[columns]
    keys = [key for key in _KEYS[subject] if key in frame]
    twice = frame[frame.duplicated(keys)]
    if len(twice):
        raise UserError(f"{path}: two rows for {_place(twice.iloc[0], keys)}: must be one")
    for column in _FINITE.get(subject, ()):
        numbers = pd.to_numeric(frame.loc[_measured(frame, column), column], errors="coerce")
        bad = numbers.index[~numbers.abs().lt(float("inf"))]
        if len(bad):
            row = frame.loc[bad[0]]
            found = "nothing" if pd.isna(row[column]) or row[column] == "" else row[column]
            raise UserError(f"{path}: {column} of {_place(row, keys)}: found {found}: must be a finite number")
    return frame


def _measured(frame, column: str):
    """The rows that must have a number: not the loss of a step that diverged, not KID from precomputed statistics."""
    if column == "loss":
        return frame["status"] != "diverged"
    if column == "kid":
        return frame["reference_count"].notna() & (frame["reference_count"] != "")
    return slice(None)


def write(tables: dict, folder: str | Path) -> None:
    """Each table as `<subject>.csv` in `folder`."""
    for subject, table in tables.items():
        with replacing(Path(folder) / f"{subject}.csv") as part:
            table.to_csv(part, index=False, lineterminator="\n")


def _place(row, keys: Sequence[str]) -> str:
    return ", ".join(f"{key} {row[key]}" for key in keys if row[key] == row[key] and row[key] != "")


def _read(path: str | Path, source=None, **options):
    """pandas.read_csv of a path (or of `source`, for messages that name the path), with UserErrors."""
    import pandas as pd

    try:
        return pd.read_csv(path if source is None else source, keep_default_na=False, **options)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except pd.errors.EmptyDataError:
        raise UserError(f"{path}: empty: must have a line of column names") from None
    except (ValueError, OSError) as error:  # ParserError and UnicodeDecodeError are ValueErrors
        raise UserError(f"{path}: not a CSV ({' '.join(str(error).split())})") from None


def read_rows(path: Path, subject: str, run: str, **added: str):
    """A run's file of a subject, every value as its text; no rows where there is no file yet."""
    import pandas as pd

    if not path.exists():
        return pd.DataFrame(columns=COLUMNS[subject], dtype=str)
    frame = check(_read(path, dtype=str), path, subject, absent=tuple(added))
    strangers = sorted(set(frame["run"]) - {run})
    if strangers:
        raise UserError(f"{path}: is of run {strangers[0]}: must be of {run}, whose folder it lies in")
    return frame.assign(**added)[list(COLUMNS[subject])]


def _training(folder: Path):
    """A run's training.csv, maybe still growing: a last line cut short is no row, a repeated step counts once."""
    import pandas as pd

    path = folder / "training.csv"
    text = path.read_text() if path.exists() else ""
    text = text[: text.rfind("\n") + 1]
    if not text:
        return pd.DataFrame(columns=COLUMNS["training"], dtype=str)
    frame = _read(path, io.StringIO(text), dtype=str)
    if "step" in frame:
        frame = frame.drop_duplicates("step", keep="last")
    return check(frame, path, "training", absent=("run",)).assign(run=folder.name)[list(COLUMNS["training"])]


def _run(entry: dict, folder: Path, training) -> dict:
    """The row of one run: from trained.json when it has ended, from training.csv when it has begun."""
    row = {key: entry[key] for key in (*AXES, *STANDING)}
    path = folder / "trained.json"
    if path.exists():
        trained = read_json(path)
        fields = [column for column in COLUMNS["runs"] if column not in row]
        for field in ("run", *fields):
            if not isinstance(trained, dict) or field not in trained:
                raise UserError(f"{path}: no {field}: must be there; an older version wrote it, make it anew")
        if trained["run"] != entry["run"]:
            raise UserError(f"{path}: is of run {trained['run']}: must be of {entry['run']}, whose folder it lies in")
        if trained["status"] not in ("trained", "diverged"):
            raise UserError(f"{path}: status is {trained['status']!r}: must be trained or diverged")
        row |= {field: trained[field] for field in fields}
        if row["status"] == "trained" and row["step"] < entry["steps"]:
            row["status"] = "running"  # it ended at fewer steps than are asked for now
    elif len(training):
        row |= {"status": "running", "step": training["step"].iloc[-1], "loss": training["loss"].iloc[-1]}
    else:
        row["status"] = "missing"
    return row
