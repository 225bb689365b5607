"""`mpdit score`: samples and a reference in, one row out; every mistake is one line."""

import csv
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.command_line import build_reference

from mpdit.__main__ import main
from mpdit.evaluation.reference import Reference
from mpdit.evaluation.scoring import COLUMNS
from mpdit.system import provenance

PROTOCOL = {
    "run": "DiT-Nano-2-E-scale_shift-lr0.02-seed0-1a2b3c4d", "model": "DiT-Nano/2", "config": "E",
    "modulation": "scale_shift", "lr": 0.02, "seed": 0, "data": "digits", "sampler": "ddpm", "steps": 50,
    "guidance": 1.0, "count": 20, "ema_width": 0.05, "step": 1500, "sampling_seed": 0, "precision": "float32",
    "status": "trained", "commit": None, "ema_residual": 0.0,
}  # fmt: skip


@pytest.fixture
def score(tmp_path, digit_reference, digits):
    """Scores samples, by default the first 20 real digits, and returns (status, rows)."""

    def run(arrays=None, protocol=None, reference=digit_reference, **options):
        images = np.repeat(digits[:20, ..., None], 3, axis=-1)
        arrays = {"arr_0": images, "labels": np.arange(20) // 4} if arrays is None else arrays
        np.savez(tmp_path / "samples.npz", **arrays)
        (tmp_path / "protocol.json").write_text(json.dumps(PROTOCOL if protocol is None else protocol))
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        files = ["--reference", str(reference), "--output", str(tmp_path / "fid.csv")]
        status = main(["score", str(tmp_path / "samples.npz"), *files, *words])
        if status:
            assert not (tmp_path / "fid.csv").exists()
            return status, None
        with open(tmp_path / "fid.csv", newline="") as file:
            return status, list(csv.DictReader(file))

    return run


def test_a_reference_of_other_pictures_is_refused(score, digit_reference, tmp_path, capsys):
    """Latents were encoded anew from other pictures, and the reference of the old ones was left."""
    reference, known = Reference.load(digit_reference), tmp_path / "known.json"
    known.write_text(json.dumps({"fingerprint": reference.listing}))
    assert score(known=known)[0] == 0
    (tmp_path / "fid.csv").unlink()
    known.write_text(json.dumps({"fingerprint": "0123456789abcdef"}))
    assert score(known=known) == (2, None)
    error = capsys.readouterr().err
    assert f"{digit_reference}: was made from other pictures or statistics ({reference.listing[:12]}) than" in error
    assert "(0123456789ab); delete it, and run again" in error

    replace(reference, listing=None).save(tmp_path / "earlier.npz")  # earlier versions recorded no such thing
    assert score(reference=tmp_path / "earlier.npz", known=known)[0] == 0
    assert score(known=tmp_path / "nothing-is-known.json")[0] == 0


def test_a_row_holds_the_metrics_and_the_whole_protocol(score, digit_reference):
    status, rows = score()
    assert status == 0 and len(rows) == 1
    row, reference = rows[0], Reference.load(digit_reference)
    assert tuple(row) == COLUMNS
    for name in set(PROTOCOL) - {"precision", "status", "commit", "ema_residual"}:
        assert row[name] == str(PROTOCOL[name])
    assert (row["features"], row["features_hash"]) == ("efficientnet-lite0", reference.features_hash)
    assert (row["reference"], row["reference_count"], row["reference_hash"]) == ("digits", "40", reference.hash)
    assert float(row["fid_floor"]) == reference.floor.fid and float(row["kid_floor"]) == reference.floor.kid
    assert row["floor_count"] == "10" and row["fid_rank_deficient"] == "True"
    assert 0 < float(row["fid"]) < reference.floor.fid and abs(float(row["kid"])) < 0.5 and float(row["kid_sd"]) > 0
    assert row["commit"] == (provenance.commit() or "")


def test_real_images_score_zero_and_noise_much_more(score, digits):
    real_images = np.repeat(digits[..., None], 3, axis=-1)
    _, (real,) = score({"arr_0": real_images}, {**PROTOCOL, "count": 40})
    noise = np.random.default_rng(0).integers(0, 256, real_images.shape, dtype=np.uint8)
    _, (noisy,) = score({"arr_0": noise}, {**PROTOCOL, "count": 40})
    assert float(real["fid"]) == pytest.approx(0, abs=1e-3)
    assert float(noisy["fid"]) > 100 and float(noisy["kid"]) > 10 * abs(float(real["kid"]))


def test_precomputed_statistics_leave_kid_and_floor_empty(digit_reference, digit_data, tmp_path, score):
    built = Reference.load(digit_reference)
    statistics = tmp_path / "published.npz"
    np.savez(statistics, mu=built.mu.astype(np.float32), sigma=built.sigma.astype(np.float32))
    assert build_reference(json.dumps(digit_data), tmp_path / "built.npz", reference=statistics) == 0
    status, (row,) = score(reference=tmp_path / "built.npz")
    assert status == 0 and float(row["fid"]) == pytest.approx(float(score()[1][0]["fid"]), rel=1e-3)
    assert (row["reference"], row["reference_count"]) == ("published.npz", "")
    assert row["reference_hash"] == hashlib.sha256(statistics.read_bytes()).hexdigest()[:16]
    assert all(row[name] == "" for name in ("kid", "kid_sd", "fid_floor", "kid_floor", "floor_count"))


def test_plain_weights_have_no_ema_width(score):
    assert score(protocol={**PROTOCOL, "ema_width": None})[1][0]["ema_width"] == ""


def test_a_diverged_run_gives_a_header_alone(score, tmp_path):
    status, rows = score({"arr_0": np.zeros((0, 8, 8, 3), np.uint8), "labels": np.zeros(0, np.int64)})
    assert (status, rows) == (0, [])
    assert (tmp_path / "fid.csv").read_text() == ",".join(COLUMNS) + "\n"


# Mistakes: (what is scored, how the message ends)

MISTAKES = {
    "floats": ({"arr_0": np.zeros((20, 8, 8, 3))}, "arr_0 is float64 (20, 8, 8, 3): must be uint8 (N, H, W, 3)"),
    "gray": ({"arr_0": np.zeros((20, 8, 8), np.uint8)}, "arr_0 is uint8 (20, 8, 8): must be uint8 (N, H, W, 3)"),
    "channels first": (
        {"arr_0": np.zeros((20, 3, 8, 8), np.uint8)},
        "arr_0 is uint8 (20, 3, 8, 8): must be uint8 (N, H, W, 3)",
    ),
    "no images": ({"labels": np.zeros(20)}, "no array 'arr_0': it must hold the images, uint8 (N, H, W, 3)"),
    "too few": ({"arr_0": np.zeros((3, 8, 8, 3), np.uint8)}, "3 images: must be 20, as protocol.json says"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_file_that_holds_other_than_the_samples_is_refused(score, mistake, capsys):
    arrays, line = MISTAKES[mistake]
    assert score(arrays)[0] == 2
    error = capsys.readouterr().err
    assert error.startswith("mpdit score: ") and "samples.npz: " + line in error and error.count("\n") == 1


def test_a_single_sample_has_no_covariance(score, capsys):
    assert score({"arr_0": np.zeros((1, 8, 8, 3), np.uint8)}, {**PROTOCOL, "count": 1})[0] == 2
    assert "samples.npz: 1 image: must be at least 2, a distance needs a covariance\n" in capsys.readouterr().err


def test_missing_and_damaged_files_are_named(score, digit_reference, tmp_path, capsys):
    files = ["--reference", str(digit_reference), "--output", str(tmp_path / "fid.csv")]
    assert main(["score", str(tmp_path / "samples.npz"), *files]) == 2
    assert "samples.npz: no such file\n" in capsys.readouterr().err
    (tmp_path / "samples.npz").write_bytes(b"PK\3\4 broken")
    assert main(["score", str(tmp_path / "samples.npz"), *files]) == 2
    assert "samples.npz: damaged, or not an .npz file of arrays" in capsys.readouterr().err
    assert score(reference=tmp_path / "none.npz")[0] == 2
    assert "none.npz: no such file\n" in capsys.readouterr().err
    (tmp_path / "protocol.json").unlink()
    assert main(["score", str(tmp_path / "samples.npz"), *files]) == 2
    assert "protocol.json: no such file\n" in capsys.readouterr().err


def test_a_protocol_without_its_axes_is_refused(score, capsys):
    assert score(protocol={"run": "x", "count": 20})[0] == 2
    assert "protocol.json: missing field 'model'" in capsys.readouterr().err


def test_projected_features_have_a_name_and_a_hash_of_their_own(score, digit_reference, digit_data, tmp_path, capsys):
    build_reference(json.dumps(digit_data), tmp_path / "projected.npz", features="efficientnet-lite0-pca64")
    plain, projected = (Reference.load(path) for path in (digit_reference, tmp_path / "projected.npz"))
    assert projected.hash == plain.hash and projected.mu.shape == (64,)
    replace(projected, features_hash=plain.features_hash).save(tmp_path / "mixed.npz")
    assert score(reference=tmp_path / "mixed.npz")[0] == 2
    assert f"mixed.npz: efficientnet-lite0-pca64 with hash {plain.features_hash}: must be" in capsys.readouterr().err
    status, rows = score(reference=tmp_path / "projected.npz")
    assert status == 0 and rows[0]["features"] == "efficientnet-lite0-pca64"
    assert rows[0]["features_hash"] == projected.features_hash != plain.features_hash
    assert 0 < float(rows[0]["fid"]) < projected.floor.fid


def test_a_reference_of_other_features_is_refused(score, digit_reference, tmp_path, capsys):
    reference = Reference.load(digit_reference)
    replace(reference, features_hash="0" * 16).save(tmp_path / "other.npz")
    assert score(reference=tmp_path / "other.npz")[0] == 2
    assert "other.npz: efficientnet-lite0 with hash 0000000000000000: must be built" in capsys.readouterr().err
    replace(reference, features="vgg").save(tmp_path / "unknown.npz")
    assert score(reference=tmp_path / "unknown.npz")[0] == 2
    assert "features: 'vgg': must be one of efficientnet-lite0, " in capsys.readouterr().err


def test_weights_are_only_for_inception(score, capsys):
    assert score(weights="w.pth")[0] == 2
    assert "weights: w.pth: must be left out with efficientnet-lite0" in capsys.readouterr().err
