"""Read all results anew and name what is damaged.

In:  RESULTS, a results folder, or a part of it such as a run folder.
Out: on standard output one line for each file that is damaged or lost, with what makes it again, and a last line that
     counts. The exit status is 1 if a file is damaged or lost.

Every file that a command writes is sealed with a checksum: JSON by a key `seal`, safetensors in their metadata, the
arrays of latents in manifest.json, all others in a hidden file beside them, `.NAME.seal`. Commands compare what they
read with it; this one compares everything. Files of version 0.1, and what others have put here, have no seals.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results", type=Path, nargs="?", default=Path("results"), metavar="RESULTS", help="folder (%(default)s)"
    )


def main(args: argparse.Namespace) -> int:
    from ..results.verification import Verified, verify
    from ..system.seals import unsealed_note

    verified = Verified()
    for damage in verify(args.results, verified):
        print(damage, flush=True)
    unsealed_note()  # this command counts them itself
    parts = [f"{verified.files:,} files intact, {verified.size / 1e6:,.1f} MB"]
    if verified.damaged:
        parts.append(f"{verified.damaged:,} damaged or lost")
    if verified.unsealed:
        parts.append(f"{len(verified.unsealed):,} of them without a seal, such as {verified.unsealed[0]}")
    print(f"{args.results}: {'; '.join(parts)}")
    return 1 if verified.damaged else 0
