"""Time of a training step with magnitude preservation (Config E) against the baseline (Config A), in both forms.

    python benchmarks/model.py                 # eager, on the CPU with one thread, or on a GPU if there is one
    python benchmarks/model.py --compile

The step is the one that runs are trained with: forward, hybrid loss, backward, projection, fused Adam, renormalization.
Variants are timed in turn, round by round; the table has the median over rounds of the ratio to Config A within a
round, and its 95 % interval. The textbook form divides rows by their norm in the forward pass under autograd and puts
all rows back on the sphere at each step (EDM2, section 2.3).
"""

import argparse

import torch

from mpdit.experiment.ladder import SHIPPED
from mpdit.system.device import add_device_argument, choose_device, device_name
from mpdit.training.step_time import measure

WORDS = {"cheap": "", "textbook": ", textbook"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="DiT-S/2", help="(%(default)s)")
    parser.add_argument("--modulation", default="scale_shift", help="of Config E; A has scale_shift (%(default)s)")
    parser.add_argument("--input-size", type=int, default=16, help="height and width of the latents (%(default)s)")
    parser.add_argument("--batch-size", type=int, help="images (32 on a CPU, 256 on a GPU)")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help="(float32 on a CPU, bfloat16 on a GPU)")
    parser.add_argument("--rounds", type=int, default=15, help="timed steps of each variant (%(default)s)")
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    add_device_argument(parser)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    on_gpu = device.type == "cuda"
    batch_size = arguments.batch_size or (256 if on_gpu else 32)
    precision = arguments.precision or ("bfloat16" if on_gpu else "float32")
    torch.set_num_threads(arguments.threads)

    rows = measure(
        arguments.model,
        arguments.modulation,
        ["A", "E"],
        SHIPPED,
        shape=(4, arguments.input_size, arguments.input_size),
        num_classes=1000,
        batch_size=batch_size,
        rounds=arguments.rounds,
        precision=precision,
        device=device,
        compile=arguments.compile,
    )
    machine = device_name(device) if on_gpu else f"CPU, threads {arguments.threads}"
    mode = "compiled" if arguments.compile else "eager"
    print(f"{arguments.model}, {arguments.modulation}, batch {batch_size}, {precision}, {mode}")
    print(f"{machine}, torch {torch.__version__}, {arguments.rounds} rounds\n")
    print("| variant | step, ms | against A | 95 % |\n|---|---|---|---|")
    for row in rows:
        interval = f"{row.relative_low:.3f} to {row.relative_high:.3f}"
        milliseconds = 1000 * row.step_seconds
        print(f"| {row.config}{WORDS[row.form]} | {milliseconds:.0f} | {row.relative:.3f} | {interval} |")


if __name__ == "__main__":
    main()
