"""What `build` and `pair` have in common: options, and how their result is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.terminal import emit_json

if TYPE_CHECKING:
    from dataset_tools.build import BuildReport

Command = Callable[..., Any]


def dataset_options(command: Command) -> Command:
    """Adds the options that every command has that makes a dataset."""
    for option in reversed(
        (
            click.option("--size", default=256, show_default=True, metavar="PIXELS",
                         help="Side S of each image; a pair is S × 2S."),
            click.option("--split", default="80/10/10", show_default=True, metavar="A/B/C",
                         help="Shares of train, val and test in percent, by group."),
            click.option("--group-by", default=None, metavar="RULE",
                         help="Keep photos together that share a group: 'folder' (the parent folder), or a regular expression "
                         "on the relative path. Duplicates and near-duplicates always stay together."),
            click.option("--seed", default=0, show_default=True, help="Of everything that is drawn."),
            click.option("--workers", default=None, type=click.IntRange(1, 1024), metavar="N",
                         help="Processes; one a core by default. The result does not depend on it."),
            click.option("--fresh", is_flag=True, help="Forget what an earlier build of DATASET did, and make it anew."),
            click.option("--json", "as_json", is_flag=True, help="End with one line of JSON on stdout."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def tell(report: BuildReport, as_json: bool) -> None:
    """Prints what a build did: counts that add up, reasons, splits."""
    counts = report.counts
    photos, crops = counts["photos"], counts["faces"]
    click.echo(f"{counts['files']} files = {counts['not_images']} not images + {photos['all']} photos")
    click.echo(f"{photos['all']} photos = {photos['kept']} kept + {photos['rejected']} rejected + {photos['failed']} failed")
    click.echo(f"{crops['all']} crops = {crops['kept']} kept + {crops['rejected']} rejected")
    for reason, number in counts["reasons"].items():
        click.echo(f"  {reason.replace(':', ' ')}: {number}")
    groups = sum(counts["groups"].values())
    for split, number in counts["splits"].items():
        click.echo(f"{split}: {number} pairs in {counts['groups'][split]} groups")
    empty = [split for split, number in counts["splits"].items() if not number]
    if empty:
        click.echo(f"note: {' and '.join(empty)} got no pair, since there are only {groups} groups to share out: "
                   "add photos, change --split or --seed, or group less", err=True)  # fmt: skip
    if report.linked_folders:
        click.echo(
            f"note: {len(report.linked_folders)} links to folders were not followed, such as {report.linked_folders[0]}", err=True
        )
    if report.vanished:
        click.echo(
            f"note: {report.vanished} photos of the last build are gone from the archive; their pairs were removed", err=True
        )
    worked = counts["files"] - report.reused
    click.echo(f"{report.dataset}: done in {report.seconds:.1f} s ({worked} files worked on, {report.reused} known before, "
               f"{report.photos_per_second:.1f} files/s)")  # fmt: skip
    if as_json:
        emit_json(
            {"dataset": str(report.dataset), "counts": counts, "seconds": round(report.seconds, 3), "reused": report.reused}
        )


def exit_code(report: BuildReport) -> int:
    """0, or 3 where some photos failed (they are rows of the manifest with their reasons)."""
    failed = report.counts["photos"]["failed"]
    if failed:
        click.echo(f"note: {failed} photos failed; manifest.jsonl lists them with their reasons (status: failed)", err=True)
    return 3 if failed else 0
