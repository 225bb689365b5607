"""Training-step time of magnitude preservation (E) against the baseline (A), in the cheap and in the textbook form.

    python benchmarks/model.py                 # eager, on the CPU with one thread, or on a GPU if there is one
    python benchmarks/model.py --compile

A step is forward, hybrid loss, backward, projection, fused Adam and renormalization. Variants are timed in turn, round
by round; what is printed is the median over rounds of the ratio to A within a round, and its 95 % interval. The
textbook form is E with row norms divided out in the forward pass under autograd and all rows put back on their sphere
at each step (EDM2, section 2.3).
"""

import argparse
import statistics
from collections.abc import Callable

import torch

from mpdit import create_model
from mpdit.training.step import TrainingBatch
from mpdit.training.step_time import relative_time, step_on_batch, step_times

VARIANTS = {"A": ("A", "plain"), "E": ("E", "forced"), "E, textbook": ("E", "normalized")}  # name: letter, weights


def variant(arguments: argparse.Namespace, letter: str, weights: str) -> Callable[[], None]:
    """A function that makes one training step of a model of `letter` whose weights take the form `weights`."""
    size, device = arguments.input_size, arguments.device
    model = create_model(arguments.model, letter, arguments.modulation, input_size=size, seed=0, weights=weights)
    count, channels = arguments.batch_size, model.in_channels
    x0, noise = (torch.randn(count, channels, size, size, device=device) for _ in range(2))
    t, y = (torch.randint(high, (count,), device=device) for high in (1000, model.num_classes))
    return step_on_batch(
        model.to(device),
        TrainingBatch(x0, noise, t, y),
        textbook=weights == "normalized",
        precision=arguments.precision,
        compile=arguments.compile,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="DiT-S/2", help="(%(default)s)")
    parser.add_argument("--modulation", default="scale_shift", help="(%(default)s)")
    parser.add_argument("--input-size", type=int, default=16, help="side of the latents (%(default)s)")
    parser.add_argument("--batch-size", type=int, help="images (32 on a CPU, 256 on a GPU)")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help="(float32 on a CPU, bfloat16 on a GPU)")
    parser.add_argument("--rounds", type=int, default=15, help="steps timed of each (%(default)s)")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (%(default)s)")
    arguments = parser.parse_args()
    on_gpu = arguments.device != "cpu"
    arguments.batch_size = arguments.batch_size or (256 if on_gpu else 32)
    arguments.precision = arguments.precision or ("bfloat16" if on_gpu else "float32")
    torch.set_num_threads(arguments.threads)

    times = step_times({name: variant(arguments, *form) for name, form in VARIANTS.items()}, arguments.rounds)
    device = torch.cuda.get_device_name() if on_gpu else f"CPU, threads {arguments.threads}"
    mode = "compiled" if arguments.compile else "eager"
    print(f"{arguments.model}, {arguments.modulation}, batch {arguments.batch_size}, {arguments.precision}, {mode}")
    print(f"{device}, torch {torch.__version__}, {arguments.rounds} rounds\n")
    print("| variant | step, ms | against A | 95 % |\n|---|---|---|---|")
    for name, seconds in times.items():
        ratio, low, high = relative_time(seconds, times["A"])
        print(f"| {name} | {1000 * statistics.median(seconds):.0f} | {ratio:.3f} | {low:.3f} to {high:.3f} |")


if __name__ == "__main__":
    main()
