"""Arguments and options that several commands take."""

from __future__ import annotations

import click

from recalltrap.cli import completion as complete
from recalltrap.cli.render import FORMATS

STUDY = click.argument("study", shell_complete=complete.complete_study)
RUN = click.argument("run", shell_complete=complete.complete_run)
STORAGE = click.option(
    "--storage",
    metavar="DIR",
    shell_complete=complete.complete_folder,
    help="Folder or URI for results [default: $RECALLTRAP_STORAGE, else runs].",
)
OVERRIDES = click.option(
    "-o",
    "overrides",
    multiple=True,
    metavar="K=V",
    shell_complete=complete.complete_override,
    help="Override a field of the study, e.g. settings.iterations=9.",
)
FORMAT = click.option("--format", "form", type=click.Choice(FORMATS), default="table")
ADDRESS = click.option(
    "--address",
    default="local",
    help="Ray cluster: local (start one here), auto, or ray://host:port.",
)
JOB_ADDRESS = click.option(
    "--address",
    metavar="URL",
    help="The head's dashboard [default: where the job was sent].",
)
