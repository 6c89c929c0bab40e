"""What an evaluation tells: figures, intervals, judges, groups; as lines for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dataset_tools.metrics import METRICS
from pipelines.figures import FEWEST, Intervals, counted, figures_table, intervals_lines
from pipelines.restore import Figures


@dataclass(frozen=True)
class Judged:
    """What a judge says of all images together."""

    name: str
    title: str
    images: int  # that it was asked about: of a judge of faces those in whose original one was found
    means: dict[str, float]  # {"restored" | a baseline: mean}
    of: str = "face"


@dataclass(frozen=True)
class Group:
    """The images of one key of --per."""

    images: int
    figures: Figures
    beside: Mapping[str, Intervals]


@dataclass(frozen=True)
class Evaluation:
    """Figures of a model on one split. `rows` are those of the CSV; `figures` their means."""

    model: str
    dataset: str
    split: str
    images: int
    figures: Figures  # {"restored" | a baseline: {metric: mean}}
    rows: tuple[dict[str, Any], ...]
    judged: tuple[Judged, ...] = ()  # where it was asked for
    notes: tuple[str, ...] = ()  # what a person should know
    beside: Mapping[str, Intervals] = field(default_factory=dict)  # of each baseline: how far "restored" is from it
    groups: Mapping[str, Group] = field(default_factory=dict)  # where they were asked for

    def table(self) -> str:
        """The means as lines for a terminal: the model, then the baselines, a column for each metric."""
        told = f"{counted(self.images, 'image')} of the split {self.split} of {self.dataset}, restored by {self.model}"
        lines = [told, *figures_table(self.figures)]
        if self.beside:
            some = any("low" in each for row in self.beside.values() for each in row.values())
            reach = "with 95 % intervals (a group of look-alikes counts once)"
            lines.append(f"in pairs, {reach if some else f'without intervals, of fewer than {FEWEST} groups'}:")
            lines += [f"  {line}" for line in intervals_lines(self.beside)]
        for each in self.judged:
            told = ", ".join(f"{name} {value:.3f}" for name, value in each.means.items())
            lines.append(f"{each.title}, {counted(each.images, each.of)}: {told}")
        return "\n".join([*lines, *_group_lines(self.groups)])

    def summary(self) -> dict[str, Any]:
        """What --json prints."""
        told = {"model": self.model, "split": self.split, "images": self.images, "figures": self.figures}
        told |= {"beside": dict(self.beside)} if self.beside else {}
        for each in self.judged:
            told |= {each.name: each.means, f"{each.name}_{each.of}s": each.images}
        return told | ({"groups": {name: asdict(each) for name, each in self.groups.items()}} if self.groups else {})


def _group_lines(groups: Mapping[str, Group]) -> list[str]:
    """Two lines a group: the metrics of what was restored, and how far they are from what next to nothing is worth."""
    lines: list[str] = []
    for key, group in groups.items():
        own = ", ".join(f"{METRICS[name].title} {value:.3f}" for name, value in group.figures["restored"].items())
        lines.append(f"{key or 'no group'} ({counted(group.images, 'image')}): {own}")
        names = [name for name in ("bicubic", "input") if name in group.beside]
        lines += [f"  {line}" for line in intervals_lines({name: group.beside[name] for name in names[:1]})]
    return lines
