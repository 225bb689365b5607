"""One step of training, and all the state that it changes.

Every random number is a function of (seed, purpose, step), every schedule of the absolute step. So a run that was
killed and went on is the run that was not, to the bit on the CPU, and the global batch is the same on any number of
devices. No step waits for the device: the host looks only where training.py logs, saves or stops.
"""

from collections.abc import Mapping
from inspect import signature

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..data.latents import Latents
from ..experiment.schedule import rate_factor
from ..model.diffusion import Diffusion
from ..model.dit import model_of_run
from ..system.errors import UserError
from ..system.seeds import generator
from .batches import Batches
from .distributed import Ranks
from .ema import PowerEMA
from .forced_norm import ForcedNormalization, clip_gradients, gradient_norm, parameter_groups
from .loss_sums import Tally, batch_sums


class Objective(nn.Module):
    """The hybrid loss of a model on a batch: all that is differentiated, compiled and shared out over ranks."""

    def __init__(self, model: nn.Module, precision: str):
        super().__init__()
        self.model, self.diffusion = model, Diffusion()
        self.autocast = precision == "bfloat16"

    def forward(self, x0: Tensor, noise: Tensor, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """x0, noise (N, C, H, W), t and y (N,) -> mean loss over the batch, and its `batch_sums`, both float32."""
        x_t = self.diffusion.add_noise(x0, noise, t)
        with torch.autocast(x0.device.type, torch.bfloat16, enabled=self.autocast):
            output = self.model(x_t, t, y)
        simple, variational = self.diffusion.losses(output, x0, x_t, noise, t)
        sums = batch_sums(simple.detach(), variational.detach(), t, self.diffusion.timesteps)
        return (simple + variational).mean(), sums


class Trainer:
    """All that changes while a run trains, and the step that changes it.

    `spec` is what spec.json holds. `step` counts the steps done. Raises UserError where latents and spec don't fit.
    """

    def __init__(self, spec: Mapping, latents: Latents, ranks: Ranks, compile: bool = False):
        self.spec, self.training, self.ranks, self.seed = spec, spec["training"], ranks, spec["seed"]
        self.batch_size = self.training["batch_size"]
        _, height, width = latents.shape
        if height != width:
            raise UserError(f"{latents.folder}: latents of {height}x{width}: must be square")
        if self.batch_size % ranks.world:
            raise UserError(f"batch_size: {self.batch_size}: must be divisible by the number of devices, {ranks.world}")
        self.shape, self.num_classes = latents.shape, latents.num_classes
        self.step = 0
        self.model = model_of_run(spec, latents).to(ranks.device)
        self.parameters = dict(self.model.named_parameters())
        self.forced = ForcedNormalization(self.model)
        groups = parameter_groups(self.model, spec["lr"])
        self.optimizer = torch.optim.Adam(groups, betas=tuple(self.training["betas"]), fused=True)
        self.ema = PowerEMA(self.parameters, self.training["ema_widths"])
        self.tally = Tally(self.batch_size, ranks.device)
        self.batches = Batches(latents, self.seed, self.batch_size, ranks.device, ranks.rank, ranks.world)
        objective = Objective(self.model, self.training["precision"]).to(ranks.device)
        self.timesteps = objective.diffusion.timesteps
        self.compile = compile
        if compile:  # CUDA graphs where no other process has to be waited for
            objective.compile(mode="reduce-overhead" if ranks.world == 1 else None)
            self.forced.project_gradients = torch.compile(self.forced.project_gradients)
            self.forced.renormalize = torch.compile(self.forced.renormalize)
        self.objective = objective
        if ranks.world > 1:
            known = signature(DistributedDataParallel).parameters  # newer versions have another name for it
            no_sync = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
            options = {"gradient_as_bucket_view": True, no_sync: False}  # buffers are constants
            self.objective = DistributedDataParallel(objective, **options)

    def advance(self) -> None:
        """One step. Never waits for the device."""
        self.step += 1
        if self.compile:
            torch.compiler.cudagraph_mark_step_begin()
        loss, sums = self.objective(*self.batch(self.step))
        loss.backward()  # which averages over ranks
        self.forced.project_gradients()
        groups = self.optimizer.param_groups
        norm = gradient_norm(groups)
        if self.training["gradient_clip"] is not None:
            clip_gradients(groups, self.training["gradient_clip"], norm)
        factor = self.rate_factor()
        for group in groups:
            group["lr"] = group["base_lr"] * factor
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.forced.renormalize()
        if self.ranks.first:
            self.ema.update(self.step)
        self.tally.add(self.step, self.ranks.sum(sums), norm)

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """This rank's part of batch `step`: latents and noise (n, C, H, W), time steps and labels (n,), some dropped.

        Drawn for the whole batch, then cut: the numbers don't depend on the number of ranks.
        """
        part, device, size = self.batches.slice, self.ranks.device, self.batch_size
        x0, y = self.batches(step)
        draw = {purpose: generator(self.seed, purpose, step, device=device) for purpose in ("noise", "t", "drop")}
        noise = torch.randn(size, *self.shape, generator=draw["noise"], device=device)[part]
        t = torch.randint(self.timesteps, (size,), generator=draw["t"], device=device)[part]
        dropped = torch.rand(size, generator=draw["drop"], device=device)[part] < self.training["label_dropout"]
        return x0, noise, t, torch.where(dropped, self.num_classes, y)

    def rate_factor(self) -> float:
        """What the learning rate of the current step is, as a share of the base rate."""
        training = self.training
        return rate_factor(training["schedule"], self.step, training["warmup_steps"], training["decay_start"])

    def weight_norm(self) -> float:
        """Euclidean norm of all weights. Waits for the device."""
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(self.parameters.values())))).item()

    def state_dict(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on, by name, and what has been summed since the last log."""
        moments = {
            f"optimizer/{key}/{name}": tensor
            for name, parameter in self.parameters.items()
            for key, tensor in self.optimizer.state[parameter].items()
        }
        parts = {"model": self.parameters, "ema": self.ema.state_dict(), "tally": self.tally.state_dict()}
        named = {f"{part}/{name}": tensor.detach() for part, state in parts.items() for name, tensor in state.items()}
        return {**named, **moments}

    @torch.no_grad()
    def load_state_dict(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Go back to the state after `step` steps. Tensors are copied into memory of their own, aligned as at first."""
        own = {name.removeprefix("model/") for name in state if name.startswith("model/")}
        if own != self.parameters.keys():
            odd = sorted(own ^ self.parameters.keys())[0]
            raise UserError(f"checkpoint: parameter {odd} is on one side only: must be of the model as it is now")
        self.step = step
        for name, parameter in self.parameters.items():
            parameter.copy_(state[f"model/{name}"])
        for key in ("step", "exp_avg", "exp_avg_sq"):
            for name, parameter in self.parameters.items():
                stored = state[f"optimizer/{key}/{name}"]
                self.optimizer.state[parameter][key] = torch.empty_like(stored, device=parameter.device).copy_(stored)
        self.ema.load_state_dict(_part(state, "ema/"))
        self.tally.load_state_dict(_part(state, "tally/"))


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
