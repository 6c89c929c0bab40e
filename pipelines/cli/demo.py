"""photomend demo"""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.terminal import PATH, emit_json


@click.command("demo", short_help="See the whole job on the photos that ship, in a few minutes.")
@click.option(
    "--out",
    type=PATH,
    default=Path("demo"),
    show_default=True,
    metavar="FOLDER",
    help="Where everything is put.",
)
@click.option("--quick", is_flag=True, help="With less training: about a minute.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON on stdout: counts, seconds by stage, figures.")
def command(out: Path, quick: bool, as_json: bool) -> int:
    """Restore 24 sample portraits with the models that ship, then fine-tune one on most of them and restore the others."""
    from pipelines.cli.train import Teller
    from pipelines.demo import run_demo

    result = run_demo(out, quick=quick, say=click.echo, tell=Teller())
    if as_json:
        emit_json(result)
    return 0
