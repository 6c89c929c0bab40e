"""Every number of a model, and the presets. Imports nothing heavy: the command line reads PRESETS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

from dataset_tools.errors import UsageError

GENERATOR_KINDS = ("upsampling_unet", "transposed_unet", "residual")
DISCRIMINATOR_KINDS = ("activation_norm", "patchgan", "plain")
ADVERSARIAL = ("mse", "bce")
PRECISIONS = ("float32", "mixed_bfloat16")  # dtype policies of the networks; weights and losses are float32 in both

CELL_STEM = 2  # of a generator that starts from cells: four positions a side for each cell of 8 pixels
STARTS = ("input", "cells", "luminance")


@dataclass(frozen=True)
class GeneratorSpec:
    """The network A -> restored. The kinds are drawn in generators.py."""

    kind: str  # one of GENERATOR_KINDS
    filters: tuple[int, ...]  # channels of each level, from the finest to the coarsest
    dropout: float = 0.0  # rate in the first three decoder layers (transposed_unet) or in every block (residual)
    blocks: tuple[int, ...] = ()  # residual blocks of each level, on the way down and again on the way up; residual only
    stem: int = 1  # pixels a side for one position of the finest level; residual only
    starts_from: str = "input"  # one of STARTS: what the correction is added to; residual only

    def __post_init__(self) -> None:
        _one_of("generator kind", self.kind, GENERATOR_KINDS)
        _one_of("start", self.starts_from, STARTS)
        if self.kind == "residual" and not (isinstance(self.blocks, tuple) and len(self.blocks) == len(self.filters)):
            raise ValueError(f"a residual generator has as many numbers of blocks as levels; received {self.blocks}")

    @property
    def stride(self) -> int:
        """Image pixels a side for one position of the coarsest level: the size is a multiple of it."""
        return self.stem << (len(self.filters) - 1) if self.kind == "residual" else 1 << len(self.filters)


@dataclass(frozen=True)
class DiscriminatorSpec:
    """The network (A, B) -> one logit for each patch. The kinds are drawn in discriminators.py."""

    kind: str  # one of DISCRIMINATOR_KINDS
    filters: tuple[int, ...]  # channels of each 4×4 convolution before the last one

    def __post_init__(self) -> None:
        _one_of("discriminator kind", self.kind, DISCRIMINATOR_KINDS)


@dataclass(frozen=True)
class Spec:
    """A model and how it is trained. Raises UsageError for a size that the generator cannot take."""

    name: str  # of the preset
    size: int  # S: images are S × S pixels
    batch: int  # pairs an update
    learning_rate: float  # of both Adam optimizers, at its highest
    beta1: float  # of both Adam optimizers
    l1_weight: float  # generator loss = adversarial_weight * adversarial + l1_weight * mean |restored - B| on [-1, 1] + …
    adversarial: str  # "mse" (Mao et al. 2017) or "bce" (Goodfellow et al. 2014), both on logits
    jitter: int  # pairs are enlarged by up to this many pixels, then cut to S × S at random; 0 is none
    flip: bool  # mirror half of the pairs
    generator: GeneratorSpec
    discriminator: DiscriminatorSpec
    adversarial_weight: float = 1.0
    ssim_weight: float = 0.0  # … ssim_weight * (1 - SSIM), see losses.dissimilarity
    vivid: float = 1.0  # of a generator that starts from luminance: how much stronger the colours are that it aims at
    alone: int = 0  # first steps in which G trains without D
    warmup: int = 0  # steps in which the learning rate grows from 0
    hold: int = 0  # steps at the highest learning rate, after which it falls as 1 / sqrt(step); 0 is for ever
    cooldown: int = (
        0  # steps in which the learning rate falls to 0 in a line, beside all else, and the run is over; 0: it does not
    )
    clip: float = 0.0  # each network's gradient is made no longer than this, over all of its weights; 0: as long as it is
    ema: float = 0.0  # decay of the moving average of G's weights, which is then what restores; 0 is none
    recalibrate: int = 0  # training batches from which BatchNorm's statistics are taken anew before restoring; 0: as they moved
    fresh: bool = False  # degrade B anew each time, where the recipe allows it
    window: int = 128  # pixels a side of what a generator that starts from cells trains on, 8 a cell; a multiple of the stride
    muon: float = 0.0  # learning rate of Muon at its highest, for G's 3×3 kernels between the first and the last layer; 0: Adam

    def __post_init__(self) -> None:
        _one_of("adversarial loss", self.adversarial, ADVERSARIAL)
        if self.generator.starts_from == "cells" and (
            self.window % self.stride or self.window % 8 or self.generator.kind != "residual"
        ):
            raise ValueError(
                f"cells are for residual generators, in windows that are multiples of 8 and of {self.stride}; {self}"
            )
        if self.size < self.minimum or self.size % self.stride:
            raise UsageError(
                f"{self.name} cannot take size {self.size}: it must be a multiple of {self.stride}, {self.minimum} or more; "
                f"build the dataset with --size {max(self.minimum, -(-self.size // self.stride) * self.stride)}, "
                "or take another --preset"
            )

    @property
    def stride(self) -> int:
        """The size is a multiple of it, pixels."""
        return self.generator.stride

    @property
    def cells_side(self) -> int:
        """The window of a generator that starts from cells, pixels; 0 of others."""
        return self.window if self.generator.starts_from == "cells" else 0

    @property
    def side(self) -> int:
        """Of the images that the networks train on, pixels: S, or the window of a generator that starts from cells."""
        return self.cells_side or self.size

    @property
    def minimum(self) -> int:
        """The smallest size, pixels: below 16 the discriminators have nothing left to look at."""
        return max(self.stride, 16)

    def with_size(self, size: int) -> Spec:
        """This spec for S = `size`. Raises UsageError, which names what is allowed."""
        return replace(self, size=size)

    def for_task(self, task: str) -> Spec:
        """This spec for a task (mosaic | colorize | other): a residual generator starts from what is known without it."""
        if self.generator.kind != "residual":
            return self
        start = {"mosaic": "cells", "colorize": "luminance"}.get(task, "input")
        stem = CELL_STEM if start == "cells" else self.generator.stem
        return replace(self, generator=replace(self.generator, starts_from=start, stem=stem))

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers: equal to itself after a trip through JSON."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Spec:
        """The spec that `to_json` wrote.

        Raises:
            ValueError: an unknown or a missing key, which the line names, or a kind that is none.
            UsageError: a size that does not fit.
        """
        parts = {"generator": GeneratorSpec, "discriminator": DiscriminatorSpec}
        _same_keys("spec", value, cls)
        given = dict(value)
        for name, part in parts.items():
            _same_keys(f"spec's {name}", given[name], part)
            given[name] = part(**{key: tuple(item) if isinstance(item, list) else item for key, item in given[name].items()})
        return cls(**given)


def with_defaults(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec's JSON as an earlier version wrote it, and what it did not know yet as everything was then: its default."""
    known = {field.name: field.default for field in fields(Spec) if field.default is not MISSING}
    return {**known, **spec}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"there is no {what} {value!r}: one of {', '.join(allowed)}")


def _same_keys(what: str, value: Any, kind: type[Any]) -> None:
    expected = {field.name for field in fields(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    if not isinstance(value, Mapping):
        raise ValueError(f"the {what} is no JSON object")
    if missing := sorted(needed - value.keys()):
        raise ValueError(f"the {what} lacks {', '.join(missing)}")
    if unknown := sorted(value.keys() - expected):
        raise ValueError(f"the {what} has the unknown key {', '.join(unknown)}")


# Small and quick, for a handful of photos. Dropout is what keeps it from learning them by heart.
_TINY = Spec(
    name="tiny", size=64, batch=8, learning_rate=3e-4, beta1=0.5, l1_weight=100.0, adversarial="mse", jitter=0, flip=True,
    generator=GeneratorSpec("residual", (32, 64, 128), dropout=0.5, blocks=(1, 1, 1), stem=2),
    discriminator=DiscriminatorSpec("plain", (16, 32, 64)), window=64,
)  # fmt: skip

# The recipe this project began with: the pix2pix of the Keras-GAN collection at 256 × 256, with eight levels.
_ARTICLE = Spec(
    name="article", size=256, batch=4, learning_rate=2e-4, beta1=0.5, l1_weight=100.0, adversarial="mse", jitter=0, flip=False,
    generator=GeneratorSpec("upsampling_unet", (32, 64, 128, 256, 512, 512, 512, 512)),
    discriminator=DiscriminatorSpec("activation_norm", (64, 128, 256, 512)),
)  # fmt: skip

# Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial Networks (2017).
_PAPER = Spec(
    name="paper", size=256, batch=1, learning_rate=2e-4, beta1=0.5, l1_weight=100.0, adversarial="bce", jitter=30, flip=True,
    generator=GeneratorSpec("transposed_unet", (64, 128, 256, 512, 512, 512, 512, 512), dropout=0.5),
    discriminator=DiscriminatorSpec("patchgan", (64, 128, 256, 512)),
)  # fmt: skip

# Our own: it starts from what is known without it, works at 1/4 of the size and below (of a mosaic, from 4 × 4 positions a cell),
# and uses no statistics of the batch. docs/training.md explains its parts.
_MEND = Spec(
    name="mend", size=256, batch=16, learning_rate=6e-4, beta1=0.9, l1_weight=100.0, adversarial="mse", jitter=32, flip=True,
    generator=GeneratorSpec("residual", (32, 64, 128, 192), blocks=(1, 1, 1, 2), stem=4),
    discriminator=DiscriminatorSpec("plain", (16, 32, 64, 128)),
    adversarial_weight=0.1, ssim_weight=5.0, vivid=1.5, alone=24000, warmup=20, hold=2000, clip=1.0, ema=0.999, fresh=True,
    muon=0.02,
)  # fmt: skip

PRESETS: dict[str, Spec] = {spec.name: spec for spec in (_MEND, _ARTICLE, _PAPER, _TINY)}
