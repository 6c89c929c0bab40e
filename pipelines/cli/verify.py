"""photomend verify"""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.terminal import PATH, emit_json


@click.command("verify", short_help="Check that a dataset is whole and leaks nothing between its splits.")
@click.argument("dataset", type=PATH)
@click.option(
    "--archive",
    "archives",
    multiple=True,
    type=PATH,
    metavar="PATH",
    help="Also check that the photos of this archive are unchanged; repeat it in the order of the build.",
)
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON on stdout.")
def command(dataset: Path, archives: tuple[Path, ...], as_json: bool) -> int:
    """Recompute every hash, count, size, group and split of DATASET, and look for near-duplicates across splits.

    Exit code 0: all is well. 1: something is wrong, one line each.
    """
    from dataset_tools.verify import verify_dataset

    problems = verify_dataset(dataset, archives)
    for problem in problems:
        click.echo(problem)
    click.echo(
        f"{dataset}: {len(problems)} problem{'s' * (len(problems) > 1)} found" if problems else f"{dataset}: all is well",
        err=bool(problems),
    )
    if as_json:
        emit_json({"dataset": str(dataset), "problems": problems})
    return 1 if problems else 0
