"""Options that several commands share, and how the result of a build is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.terminal import emit_json

if TYPE_CHECKING:
    from dataset_tools.build import BuildReport

Command = Callable[..., Any]
Options = Callable[[Command], Command]


def _together(*options: Options) -> Options:
    """Decorates a command with all of them, in the order in which its help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


dataset_options = _together(
    click.option("--split", default="80/10/10", show_default=True, metavar="A/B/C",
                 help="Shares of train, val and test in percent, by group."),
    click.option("--group-by", default=None, metavar="RULE",
                 help="Keep photos together that share a group: 'folder' (the parent folder), or a regular expression "
                 "on the relative path. Duplicates and near-duplicates always stay together."),
    click.option("--workers", default=None, type=click.IntRange(0, 1024), metavar="N",
                 help="Processes; one a core by default. 0 works without any, unprotected from a photo that hangs it. "
                 "The result does not depend on it."),
    click.option("--time-limit", default=120.0, show_default=True, type=click.FloatRange(0.1, 1e6), metavar="SECONDS",
                 help="For one photo; one that takes longer has failed, and is tried again by the next build."),
    click.option("--license", default=None, metavar="NAME",
                 help="Licence of the photos, for the dataset's card, such as cc0-1.0; later builds remember it."),
    click.option("--fresh", is_flag=True, help="Forget what an earlier build of DATASET did, and make it anew."),
    click.option("--json", "as_json", is_flag=True, help="End with one line of JSON on stdout."),
)  # fmt: skip

size_options = _together(
    click.option("--size", default=256, show_default=True, metavar="PIXELS", help="Side S of each image; a pair is S × 2S."),
    click.option("--seed", default=0, show_default=True, help="Of everything that is drawn."),
)

crop_options = _together(
    click.option("--crop", type=click.Choice(["faces", "center", "tiles"]), default="faces", show_default=True,
                 help="What a pair shows: each face, the photo's middle, or several random squares of it."),
    click.option("--tiles", default=4, show_default=True, type=click.IntRange(1, 1000),
                 help="Random squares a photo, with --crop tiles."),
    size_options,
    click.option("--search", type=click.Choice(["fast", "thorough"]), default="fast", show_default=True,
                 help="How much is spent on finding faces: thorough also finds those that are small in the photo."),
    click.option("--align", is_flag=True, help="Turn each face upright by its eyes."),
    click.option("--margin", default=0.25, show_default=True, type=click.FloatRange(0, 4),
                 help="Room around a face, as a share of its box, on each side."),
    click.option("--padding", type=click.Choice(["clamp", "replicate", "reflect"]), default="clamp", show_default=True,
                 help="A face's crop that would leave the photo: clamp moves it inside, replicate repeats the border's pixels, "
                 "reflect mirrors what is inside."),
    click.option("--confidence", default=0.5, show_default=True, type=click.FloatRange(0, 1),
                 help="Least score of a face; else it is rejected as low_confidence."),
    click.option("--min-face", default=0, show_default=True, type=click.IntRange(0), metavar="PIXELS",
                 help="Least longer side of a face in the photo; else small_face."),
    click.option("--max-cut", default=0.25, show_default=True, type=click.FloatRange(0, 1), metavar="SHARE",
                 help="Largest share of a face that may lie outside the photo; else cut_by_frame."),
    click.option("--max-enlarge", default=1.25, show_default=True, type=click.FloatRange(0.01, 100), metavar="TIMES",
                 help="How much a crop may be enlarged; else too_small."),
    click.option("--min-sharpness", default=0.0, show_default=True, type=click.FloatRange(0), metavar="VARIANCE",
                 help="Least variance of the Laplacian of a crop (a sharp face: some hundreds); else blurred."),
)  # fmt: skip

degrade_options = _together(
    click.option("--degrade", multiple=True, metavar="NAME[:OPTION=VALUE,...]",
                 help="What is done to the original to make the input; repeatable, applied in order [default: mosaic:block=16]. "
                 "There are mosaic, grayscale, sepia, fade, blur, motion, downscale, noise, poisson, grain, jpeg, halftone, "
                 "scratches, dust, folds, stains; docs/degradations.md shows them with their options."),
    click.option("--recipe", "recipe_file", default=None, metavar="NAME|FILE.toml",
                 help="The degradations of a TOML file, or of a recipe that ships: old-photo."),
)  # fmt: skip


def tell_unused(options: dict[str, Any]) -> None:
    """Says which of the crop's options were given though they do nothing for this --crop, and forgets them."""
    from dataset_tools.recipe import OF_CROP, Recipe

    context = click.get_current_context()
    for crop, names in OF_CROP.items():
        given = [name for name in names if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
        if given and options["crop"] != crop:
            told = " and ".join("--" + name.replace("_", "-") for name in given)
            _note(f"{told} does nothing without --crop {crop}")
            options.update({name: Recipe.__dataclass_fields__[name].default for name in given})


def chosen_degradations(degrade: tuple[str, ...], recipe_file: str | None) -> tuple[str, ...]:
    """The steps that --degrade or --recipe ask for."""
    if recipe_file is None:
        return degrade or ("mosaic:block=16",)
    if degrade:
        from dataset_tools.errors import UsageError

        raise UsageError("--recipe and --degrade exclude each other: put all steps into the recipe, or none")
    from dataset_tools.degradations import load_recipe

    return load_recipe(recipe_file)


def tell(report: BuildReport, as_json: bool) -> None:
    """Prints what a build did: counts that add up, reasons, splits."""
    from dataset_tools.image_io import printable
    from dataset_tools.reasons import describe

    counts = report.counts
    photos, crops = counts["photos"], counts["faces"]
    click.echo(f"{counts['files']} files = {counts['not_images']} not images + {photos['all']} photos")
    click.echo(f"{photos['all']} photos = {photos['kept']} kept + {photos['rejected']} rejected + {photos['failed']} failed")
    click.echo(f"{crops['all']} crops = {crops['kept']} kept + {crops['rejected']} rejected")
    for reason, number in counts["reasons"].items():
        kind, _, word = reason.partition(":")
        click.echo(f"  {kind} {word}: {number} ({describe(word).remedy})")
    for text, number in counts["notes"].items():
        click.echo(f"  of {several(number, 'photo')}: {text}")
    for split in report.shares:
        click.echo(f"{split}: {several(counts['splits'][split], 'pair')} in {several(counts['groups'][split], 'group')}")
    _tell_shares(report)
    if report.linked_folders:
        first = printable(report.linked_folders[0])
        links = len(report.linked_folders)
        _note(f"{several(links, 'link')} to folders {_were(links)} not followed, such as {first}")
    if report.idle_rule:
        meant = " (do you mean folder?)" if report.idle_rule.lower().startswith("folder") else ""
        _note(f"--group-by {report.idle_rule!r} matches no photo{meant}: nothing is tied together by it")
    if report.passing:
        _note(f"{several(report.passing, 'photo')} could not be read or finished this time; the same command tries again")
    if report.changed:
        _note(f"{several(report.changed, 'photo')} changed since the last build, and {_were(report.changed)} worked on again")
    if report.vanished:
        vanished = several(report.vanished, "photo")
        _note(f"{vanished} of the last build {_were(report.vanished)} no longer in the archive; their pairs were removed")
    worked = counts["files"] - report.reused
    click.echo(f"{report.dataset}: done in {report.seconds:.1f} s ({worked} files worked on, {report.reused} known before, "
               f"{report.photos_per_second:.1f} files/s)")  # fmt: skip
    if as_json:
        emit_json(
            {"dataset": str(report.dataset), "counts": counts, "seconds": round(report.seconds, 3), "reused": report.reused}
        )


def several(number: int, what: str) -> str:
    """ "1 photo", "2 photos"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _note(text: str) -> None:
    click.echo(f"note: {text}", err=True)


def _tell_shares(report: BuildReport) -> None:
    """Notes splits that got nothing though a share was asked for, or else shares that are far from those asked for."""
    pairs, groups = report.counts["splits"], sum(report.counts["groups"].values())
    empty = [split for split, share in report.shares.items() if share and not pairs[split]]
    total = sum(pairs.values())
    if not total:
        _note("no pair was made: report.html in the dataset shows why")
    elif empty:
        there = f"there {'is' if groups == 1 else 'are'} only {several(groups, 'group')} to share out"
        _note(f"{' and '.join(empty)} got no pair, since {there}: add photos, change --split or --seed, or group less")
    elif any(abs(100 * pairs[split] / total - share) > 10 for split, share in report.shares.items()):
        shares = "/".join(f"{100 * pairs[split] / total:.0f}" for split in report.shares)
        _note(f"the pairs are shared out {shares}: groups stay whole, and a hash places each; more groups come nearer to --split")


def exit_code(report: BuildReport) -> int:
    """0, or 3 where some photos failed (they are rows of the manifest with their reasons)."""
    failed = report.counts["photos"]["failed"]
    if failed:
        _note(f"{several(failed, 'photo')} failed; manifest.jsonl and report.html list them with their reasons")
    return 3 if failed else 0
