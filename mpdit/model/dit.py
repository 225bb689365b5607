"""The Diffusion Transformer in every configuration, size and modulation."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn import functional as F

from ..experiment.ladder import Config, Size, parse_model, resolve
from ..experiment.names import canonical
from ..experiment.parts import Identity, identities, require
from ..experiment.remedies import require_intact_model
from ..experiment.run_spec import RunSpec
from ..experiment.study_file import load_study
from ..system.errors import UserError
from ..system.seeds import generator, seed_of
from .blocks import FinalLayer
from .building import PartContext, build
from .checks import require_modulation, require_parameters_alone, require_running, require_shape
from .embeddings import Embedding, TimeEmbedding, position_encoding
from .layers import Activation, Linear, Rows, Sums, unit_rows


class DiT(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="mpdit",
    license="mit",
    paper_url="https://arxiv.org/abs/2505.19122",
    tags=["diffusion", "class-conditional-image-generation"],
):
    """A Diffusion Transformer whose features are declared by the fields of `experiment.ladder.Config`.

    Every argument is a plain value, so the `config.json` of a saved model holds the resolved configuration: the model
    loads as it was trained even if that configuration of the ladder is redefined later. `create_model` fills in the
    arguments by name.

    Raises:
        UserError (a ValueError): an argument is invalid; the message names it.
    """

    position: Tensor  # fixed, (T, D)

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        heads: int,
        patch_size: int,
        input_size: int,
        in_channels: int,
        num_classes: int,
        modulation: str,
        attention: str,
        weights: str,
        sums: str,
        activation: str,
        embeddings: str,
        pos_center: str,
        gate_offset: float,
        norm: str,
        block: str = "dit",
        parts: Identity | None = None,
    ):
        super().__init__()
        config = resolve(Config(attention, weights, sums, activation, embeddings, pos_center, gate_offset, norm, block))
        require_shape(depth, width, heads, patch_size, input_size, in_channels, num_classes)
        if parts is not None:
            require(parts, asdict(config), modulation)
        self.config, self.modulation = config, modulation
        self.width, self.patch_size, self.input_size = width, patch_size, input_size
        self.in_channels, self.num_classes = in_channels, num_classes

        patch_values = patch_size**2 * in_channels
        side = input_size // patch_size

        def context(index: int) -> PartContext:
            return PartContext(width, heads, side, depth, index, config, modulation)

        require_modulation(build("modulation", context(-1)), modulation, width)
        condition_sum: Sums = build("sums", context(-1))
        position_sum: Sums = build("sums", context(-1))
        self.condition_sum, self.position_sum = condition_sum.embedding, position_sum.embedding
        # The last input is a constant 1, so that its column of the weight is the bias (EDM2, appendix B.3).
        self.patch_embedding = Linear(patch_values + 1, width, weights)
        self.register_buffer("position", position_encoding(side, width, pos_center, embeddings), persistent=False)
        self.time_embedding = TimeEmbedding(context(-1))
        self.label_embedding = Embedding(num_classes + 1, width, weights)  # last row: no label
        self.activation: Activation = build("activation", context(-1))
        self.blocks = nn.ModuleList(build("block", context(index)) for index in range(depth))
        self.final = FinalLayer(context(depth), patch_values)
        self.initialize()
        self.parts = identities(asdict(config), modulation)
        if self.parts:
            require_parameters_alone(self, self.parts)
        if isinstance(self._hub_mixin_config, dict):  # what config.json holds
            saved = {key: value for key, value in self._hub_mixin_config.items() if key != "parts"}
            self._hub_mixin_config = canonical("fields", saved) | ({"parts": self.parts} if self.parts else {})

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, study: str | Path | None = None, **options: Any
    ) -> "DiT":
        """The model of a folder or of a repository on the hub; `options` are those of huggingface_hub.

        Files in a folder are compared with their seals. A model with parts of a study needs the Python file that
        registers them, `study`; a study.py that lies in the folder is never run on its own. Raises UserError, one
        line, for files that are not intact, and where a part is unknown or has another version.
        """
        if study is not None:
            load_study(study)
        require_intact_model(pretrained_model_name_or_path)
        model: DiT = super().from_pretrained(pretrained_model_name_or_path, **options)
        return model

    @classmethod
    def _from_pretrained(cls, *, parts: Identity | None = None, **options: Any) -> "DiT":
        model: DiT = super()._from_pretrained(parts=parts or {}, **options)
        return model

    def initialize(self, seed: int | None = None) -> "DiT":
        """Draw new weights: each tensor from its own generator keyed by (seed, name), or all from torch's global one.

        With a seed, tensors of the same name come from the same draw in every configuration, up to how their rows are
        stored.
        """
        for name, module in self.named_modules():
            if isinstance(module, Rows):
                module.initialize(None if seed is None else generator(seed, "init", f"{name}.weight"))
        return self

    def condition(self, t: Tensor, y: Tensor) -> Tensor:
        """The condition of timesteps t (N,) and labels y (N,): (N, D), of unit magnitude if sums are MP sums."""
        return self.condition_sum(self.time_embedding(t), self.label_embedding(y))

    def embed(self, x: Tensor) -> Tensor:
        """Latents (N, C, H, W) -> tokens (N, T, D) in row-major order, with their positions added."""
        p = self.patch_size
        x = x.unflatten(2, (-1, p)).unflatten(4, (-1, p))  # (N, C, h, p, w, p)
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (N, T, C p^2)
        x = self.patch_embedding(F.pad(x, (0, 1), value=1.0))
        return self.position_sum(x, self.position)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Predict the noise in x and the variance of the denoising step.

        Args:
            x: noisy latents (N, C, H, W).
            t: timesteps (N,).
            y: labels (N,) int64; `num_classes` means no label.

        Returns:
            (N, 2C, H, W): the noise, then where the log variance lies between its bounds (see `Diffusion`).

        Raises:
            ValueError: x does not have the shape that the model was built for.
        """
        size, p = self.input_size, self.patch_size
        if x.shape[1:] != (self.in_channels, size, size):
            raise ValueError(f"x has shape {tuple(x.shape)}: must be (N, {self.in_channels}, {size}, {size})")
        condition = self.activation(self.condition(t, y))
        tokens = self.embed(x)
        for block in self.blocks:
            tokens = block(tokens, condition)
        patches = self.final(tokens, condition)
        patches = patches.view(-1, size // p, size // p, 2 * self.in_channels, p, p)
        return patches.permute(0, 3, 1, 4, 2, 5).reshape(-1, 2 * self.in_channels, size, size)

    def sphere_rows(self, weights: str = "forced") -> dict[str, nn.Parameter]:
        """The matrices (rows, n), by name, that `layers.Rows` stores in the form `weights`, by default unit rows."""
        return {
            f"{name}.weight": module.weight
            for name, module in self.named_modules()
            if isinstance(module, Rows) and module.weights == weights
        }

    @torch.no_grad()
    def normalize_weights(self) -> "DiT":
        """Scale forced rows back to norm 1, as is needed after loading averaged weights; returns the model."""
        for weight in self.sphere_rows().values():
            weight.copy_(unit_rows(weight))
        return self


def create_model(
    name: str,
    config: str | dict[str, Any] | Config = "E",
    modulation: str = "scale_shift",
    *,
    input_size: int = 16,
    in_channels: int = 4,
    num_classes: int = 1000,
    seed: int | None = None,
    **overrides: Any,
) -> DiT:
    """The model `name` (`DiT-SIZE/PATCH`, one of `ladder.MODELS`) in a configuration of the ladder or any other.

    Any field of Config may be replaced by keyword, such as `activation="mp_leaky_relu"`. Weights are a function of
    `seed` alone or, without one, come from torch's global generator.

    Raises:
        UserError (a ValueError): a name or an argument is invalid; the message names it.
    """
    config = resolve(config)
    known = [field.name for field in fields(Config)]
    for field in overrides:
        if field not in known:
            raise UserError(f"unknown argument {field!r}: must be a field of Config, one of {', '.join(known)}")
    shape = {"input_size": input_size, "in_channels": in_channels, "num_classes": num_classes}
    size, patch = parse_model(name)
    return build_model(size, patch, replace(config, **overrides), modulation, seed, parts=None, **shape)


def build_model(
    size: Size, patch: int, config: Config, modulation: str, seed: int | None = None, *,
    parts: Identity | None = None, **shape: int,
) -> DiT:  # fmt: skip
    """The model of a size, patch and configuration, shipped or a study's own; the rest as in `create_model`.

    `parts` are the versions and options of a study's parts that it must have, as `RunSpec.parts` records them; None:
    those that are registered.
    """
    arguments = {**asdict(size), **shape, "patch_size": patch, "modulation": modulation, "parts": parts}
    arguments |= asdict(config)
    if own := identities(asdict(config), modulation):
        require_running(lambda: DiT(**arguments), own)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:  # of the parameters that parts of a study draw
            torch.default_generator.manual_seed(seed_of(seed, "init"))
        model = DiT(**arguments)
    return model if seed is None else model.initialize(seed)


def model_of_run(run: RunSpec, shape: Sequence[int], num_classes: int) -> DiT:
    """The model of a run before training, for latents of `shape` (C, H, W) with `num_classes` classes."""
    channels, size, _ = shape
    return build_model(
        run.size,
        run.patch,
        run.fields,
        run.modulation,
        run.seed,
        input_size=size,
        in_channels=channels,
        num_classes=num_classes,
        parts=run.parts,
    )
