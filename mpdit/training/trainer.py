"""Everything that changes while a run trains: the weights, the optimizer, the EMAs, the sums of the losses.

Every random number is a function of (seed, purpose, step), and every schedule of the absolute step. So a resumed run is
bit-identical to an uninterrupted one on the CPU, and the global batch is the same on any number of devices. No step
waits for the device: the host reads from it only where `loop` logs, saves, or stops.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..data.latents import Latents
from ..experiment.run_spec import RunSpec
from ..experiment.schedule import rate_factor
from ..model.dit import model_of_run
from ..system.errors import UserError
from ..system.seeds import generator
from .batches import Batches
from .distributed import Ranks
from .ema import PowerEMA
from .loss_sums import LossSums
from .step import TrainingBatch, TrainingStep


class Trainer:
    """The state of a run in training, and `advance`, which takes one step.

    `step` is the number of steps done. Raises UserError if the latents and the spec do not fit together.
    """

    def __init__(self, spec: RunSpec, latents: Latents, ranks: Ranks, compile: bool = False):
        self.spec, self.training, self.ranks, self.seed = spec, spec.training, ranks, spec.seed
        self.batch_size = self.training.batch_size
        _, height, width = latents.shape
        if height != width:
            raise UserError(f"{latents.folder}: found latents of {height}x{width}, but latents must be square")
        if self.batch_size % ranks.world:
            raise UserError(
                f"training.batch_size: {self.batch_size} is not divisible by the number of devices, {ranks.world}"
            )
        self.shape, self.num_classes = latents.shape, latents.num_classes
        self.step = 0
        self.model = model_of_run(spec, latents.shape, latents.num_classes).to(ranks.device)
        self.parameters = dict(self.model.named_parameters())
        self.training_step = TrainingStep(
            self.model,
            lr=spec.lr,
            betas=self.training.betas,
            precision=self.training.precision,
            gradient_clip=self.training.gradient_clip,
            compile=compile,
            world=ranks.world,
        )
        self.ema = PowerEMA(self.training_step.parameters, self.training.ema_widths)
        self.loss_sums = LossSums(self.batch_size, ranks.device)
        self.batches = Batches(latents, self.seed, self.batch_size, ranks.device, ranks.rank, ranks.world)

    def advance(self) -> None:
        """Take one step. Never waits for the device."""
        self.step += 1
        sums, gradient_norm = self.training_step(self.batch(self.step), self.rate_factor())
        if self.ranks.is_first:
            self.ema.update(self.step)
        self.loss_sums.add(self.step, self.ranks.sum(sums), gradient_norm)

    def batch(self, step: int) -> TrainingBatch:
        """Return this rank's part of batch `step`, with some labels dropped.

        All numbers are drawn for the global batch and then sliced, so they do not depend on the number of ranks.
        """
        part, device, size = self.batches.slice, self.ranks.device, self.batch_size
        x0, y = self.batches(step)
        draw = {purpose: generator(self.seed, purpose, step, device=device) for purpose in ("noise", "t", "drop")}
        noise = torch.randn(size, *self.shape, generator=draw["noise"], device=device)[part]
        t = torch.randint(self.training_step.timesteps, (size,), generator=draw["t"], device=device)[part]
        dropped = torch.rand(size, generator=draw["drop"], device=device)[part] < self.training.label_dropout
        return TrainingBatch(x0, noise, t, torch.where(dropped, self.num_classes, y))

    def rate_factor(self) -> float:
        """Return the learning rate of the current step as a share of the base rate."""
        training = self.training
        return rate_factor(training.schedule, self.step, training.warmup_steps, training.decay_start)

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters.values())

    def weight_norm(self) -> float:
        """Return the Euclidean norm of all weights. Waits for the device."""
        return torch.linalg.vector_norm(self.training_step.parameters.values).item()

    def state_dict(self) -> dict[str, Tensor]:
        """Return, by name, every tensor that the next step depends on, and the sums since the last log row."""
        # "tally" is the name that checkpoints have used since version 0.1.
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self.parameters,
            "ema": self.ema.state_dict(),
            "tally": self.loss_sums.state_dict(),
            "optimizer": self.training_step.optimizer.state(self.parameters),
        }
        return {f"{part}/{name}": tensor.detach() for part, state in parts.items() for name, tensor in state.items()}

    @torch.no_grad()
    def load_state_dict(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Restore the state after `step` steps, by copying into tensors that keep their memory alignment.

        Raises UserError if the checkpoint has other parameters than the model.
        """
        stored = {name.removeprefix("model/") for name in state if name.startswith("model/")}
        if stored != self.parameters.keys():
            odd = sorted(stored ^ self.parameters.keys())[0]
            where = "is not in the model" if odd in stored else "is missing"
            raise UserError(f"checkpoint: parameter {odd} {where}: must be a checkpoint of the model as it is now")
        self.step = step
        for name, parameter in self.parameters.items():
            parameter.copy_(state[f"model/{name}"])
        self.training_step.optimizer.load_state(self.parameters, _part(state, "optimizer/"))
        self.ema.load_state_dict(_part(state, "ema/"))
        self.loss_sums.load_state_dict(_part(state, "tally/"))


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
