"""Training-step time of magnitude preservation (E) against the baseline (A), in the cheap and in the textbook form.

    python benchmarks/model.py                 # eager, on the CPU with one thread, or on a GPU if there is one
    python benchmarks/model.py --compile

A step is forward, loss, backward, (projection,) fused Adam and (renormalization). Variants are timed in turn, round
by round, in an order that changes, so that drift and noise meet all alike; what is printed is the median over rounds
of the ratio to A within a round. The textbook form is E with row norms divided out in the forward pass under autograd
and all rows put back on their sphere at each step (EDM2, section 2.3).
"""

import argparse
import statistics
from collections.abc import Callable

import torch

from mpdit import create_model
from mpdit.cost import step_times
from mpdit.optimizer import ForcedNormalization, force_rows, parameter_groups

VARIANTS = {"A": ("A", "plain"), "E": ("E", "forced"), "E, textbook": ("E", "normalized")}  # name: letter, weights


def training_step(arguments: argparse.Namespace, letter: str, weights: str) -> Callable[[], None]:
    """A function that makes one training step of a model of `letter` whose weights take the form `weights`."""
    device, count, size = arguments.device, arguments.batch_size, arguments.input_size
    model = create_model(arguments.model, letter, arguments.modulation, input_size=size, seed=0, weights=weights)
    model.to(device)
    textbook = [] if letter == "A" else list(model.sphere_rows("normalized").values())
    forced = ForcedNormalization(model)
    optimizer = torch.optim.Adam(parameter_groups(model, 1e-3), betas=(0.9, 0.99), fused=True)
    forward = torch.compile(model, fullgraph=True) if arguments.compile else model
    x = torch.randn(count, model.in_channels, size, size, device=device)
    t = torch.randint(1000, (count,), device=device)
    y = torch.randint(model.num_classes, (count,), device=device)
    precision = torch.autocast(device, torch.bfloat16, enabled=arguments.precision == "bfloat16")

    def step() -> None:
        with precision:
            output = forward(x, t, y)
        loss = (output.float()[:, : x.shape[1]] - x).square().mean() + output.float()[:, x.shape[1] :].square().mean()
        loss.backward()
        forced.project_gradients()
        optimizer.step()
        forced.renormalize()
        force_rows(textbook)
        optimizer.zero_grad()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="DiT-S/2")
    parser.add_argument("--modulation", default="scale_shift")
    parser.add_argument("--input-size", type=int, default=16)
    parser.add_argument("--batch-size", type=int, help="images; 16 on a CPU, 256 on a GPU where not given")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help="float32 on a CPU, bfloat16 on a GPU")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    arguments = parser.parse_args()
    on_gpu = arguments.device != "cpu"
    arguments.batch_size = arguments.batch_size or (256 if on_gpu else 16)
    arguments.precision = arguments.precision or ("bfloat16" if on_gpu else "float32")
    torch.set_num_threads(arguments.threads)

    steps = {name: training_step(arguments, *variant) for name, variant in VARIANTS.items()}
    times = step_times(steps, arguments.rounds)
    mode = "compiled" if arguments.compile else "eager"
    print(f"{arguments.model}, {arguments.modulation}, batch {arguments.batch_size}, {arguments.precision}, {mode}, "
          f"{arguments.device}, {arguments.threads} threads, torch {torch.__version__}, {arguments.rounds} rounds")
    print("| variant | step, ms | against A |\n|---|---|---|")
    for name, seconds in times.items():
        ratio = statistics.median(own / base for own, base in zip(seconds, times["A"], strict=True))
        print(f"| {name} | {1000 * statistics.median(seconds):.0f} | {ratio:.3f} |")


if __name__ == "__main__":
    main()
