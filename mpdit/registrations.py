"""Loads what is registered beside the general parts: the published study in `mpdit.paper`, and a study's own file."""

from importlib import import_module
from pathlib import Path

from .experiment.study_file import load_study

PAPER = "mpdit.paper"


def load(study: Path | None = None) -> None:
    """Import `mpdit.paper`, where it is there, which registers its tables, figures, claims and setting; run `study`.

    Raises UserError, one line, for a study's file that cannot be run.
    """
    try:
        import_module(PAPER)
    except ModuleNotFoundError as error:
        if error.name != PAPER:  # the package is there, but something that it imports is not
            raise
    if study is not None:
        load_study(study)
