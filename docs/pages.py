"""Pages of the documentation that are made from the code when it is built: commands, columns of CSVs, Python names.

A hook of mkdocs (see mkdocs.yml), so they are never behind the code.
"""

import argparse
import importlib
import inspect

from mkdocs.structure.files import File

import mpdit
from mpdit.__main__ import VERBS
from mpdit.experiment import columns


def on_files(files, config):
    """Add the pages to those in docs/."""
    for path, text in (
        ("reference/commands.md", commands_page()),
        ("reference/columns.md", columns_page()),
        ("reference/python.md", python_page()),
    ):
        files.append(File.generated(config, path, content=text))
    return files


def commands_page() -> str:
    """The help text of every command."""
    lines = ["# Commands", "", "What `mpdit COMMAND --help` prints, in the order of the pipeline.", ""]
    for verb, summary in VERBS.items():
        command = importlib.import_module(f"mpdit.commands.{verb}")
        parser = argparse.ArgumentParser(
            prog=f"mpdit {verb}",
            description=command.__doc__,
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=100),
        )
        command.add_arguments(parser)
        lines += [f"## mpdit {verb}", "", f"{summary[0].upper()}{summary[1:]}.", "", "```text"]
        lines += [parser.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def columns_page() -> str:
    """The columns of every aggregated CSV."""
    lines = ["# Columns of the CSVs", ""]
    lines += ["Every aggregated CSV in `results/`. An empty cell is a missing value; booleans are `True` and `False`."]
    schemas = [schema for _, schema in inspect.getmembers(columns) if isinstance(schema, columns.TableSchema)]
    for schema in sorted(schemas, key=lambda schema: schema.name):
        lines += ["", f"## {schema.name}.csv", "", f"{schema.rows[0].upper()}{schema.rows[1:]}."]
        lines += [f"Rows differ in: {', '.join(f'`{name}`' for name in schema.key)}.", ""]
        lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
        lines += [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.meaning.replace('|', chr(92) + '|')} |" for c in schema]
    return "\n".join(lines) + "\n"


def python_page() -> str:
    """The names that `import mpdit` offers, with their docstrings."""
    lines = ["# Python", "", "What `import mpdit` offers. Everything else may move between versions.", ""]
    for name in mpdit.__all__:
        value = getattr(mpdit, name)
        if not callable(value):
            continue
        signature = str(inspect.signature(value)).replace("torch.", "")
        lines += [f"## mpdit.{name}", "", "```text", f"{name}{signature}", "", inspect.getdoc(value) or "", "```", ""]
    return "\n".join(lines)
