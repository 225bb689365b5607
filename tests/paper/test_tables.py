"""The paper's tables cell by cell against numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from helpers.made_up_runs import (
    PROTOCOL,
    SCORE,
    SCORE_FILE,
    entry,
    frames,
    score_row,
    write_plan,
    write_rows,
    write_run,
)
from helpers.made_up_scores import modulations, one_seed, runs_of_e
from helpers.made_up_studies import INCEPTION

from mpdit.experiment.columns import AGGREGATES, COST, FID, HELDOUT, HELDOUT_IMAGES, RUNS, SCHEMAS
from mpdit.paper.tables import table1, table2, table3, table4
from mpdit.rendering import table_format
from mpdit.results import summary
from mpdit.results.collect import collect, read_plan
from mpdit.results.tables import empty_table, read_table, write_tables
from mpdit.system.errors import UserError


def cells(table: table_format.Table, config: str) -> dict:
    (row,) = [row for row in table.rows if row[0] == config]
    return dict(zip(table.header, row, strict=True))


SAME = ("DiT-Nano/2", "scale + shift")


SIZE = ("1.23 M", "1")  # parameters, n


def test_table1_of_one_seed_cell_by_cell():
    table = table1(one_seed())
    assert list(table.header) == [
        "config", "what it adds", "model", "modulation", "learning rate", "parameters", "n", "FD (EfficientNet-Lite0)",
        "KD ×10³", "KD vs. A (95 % interval)", "step time", "status",
    ]  # fmt: skip
    assert [list(row) for row in table.rows] == [
        ["A", "baseline DiT", *SAME, "1e-3", *SIZE, "80.00", "160.00", "—", "1.00×", "trained"],
        ["B", "cosine attention", *SAME, "1e-3", *SIZE, "84.00", "168.00", "—", "—", "trained"],
        ["C", "magnitude-preserving layers", *SAME, "2e-2", *SIZE, "60.00", "120.00", "—", "—", "trained"],
        ["D", "forced weight normalization", *SAME, "2e-2", *SIZE, "64.00", "128.00", "—", "1.10×", "trained"],
        ["E", "no LayerNorm", *SAME, "2e-2", *SIZE, "50.00", "100.00", "—", "1.04×", "trained"],
    ]  # fmt: skip
    assert [list(row) for row in table.footer] == [
        ["", "real images (1,000)", "", "", "", "", "", "12.25", "0.50", "", "", ""]
    ]


def test_table1_as_csv_is_in_full_precision_with_its_protocol():
    frame = table1(one_seed()).frame.set_index("config")
    row = frame.loc["E"]
    assert (row["fid_mean"], row["decides"], row["relative_step_time"]) == (50.0, "kid", 1.039)
    assert row[["fid_sd", "change_percent", "change_low", "change_high", "change_p_holm"]].isna().all()
    assert (row["fid_floor"], row["kid_floor"], row["floor_count"]) == (12.25, 0.0005, 1000)
    assert row["metric"] == "FD (EfficientNet-Lite0)"
    protocol = [
        "sampler",
        "sampling_steps",
        "guidance",
        "count",
        "ema_width",
        "snapshot_step",
        "features",
        "features_hash",
    ]
    assert row[protocol].tolist() == ["ddpm", 50, 1.0, 1000, 0.05, 100, "efficientnet-lite0", "fe00"]
    assert row[["reference", "reference_count", "reference_hash", "n"]].tolist() == ["mnist8", 5000, "4e00", 1]
    assert frame.loc["D", "relative_step_time"] == 1.1  # the cheap form, in which runs are trained


def test_one_seed_ranks_nothing():
    table = table1(one_seed())
    assert "**" not in str(table.rows)
    assert "±" not in str(table.rows)
    notes = " ".join(table.notes)
    assert "One seed (n = 1)" in notes
    assert (
        "Protocol: ddpm sampler, 50 sampling steps, guidance 1, 1,000 samples, EMA width 0.05, snapshot of step 100, "
        "efficientnet-lite0 features, reference mnist8, 5,000 real images. Lower is better."
    ) in notes
    assert "fewer than five samples per feature" in notes
    assert "on a processor" in notes


def test_a_seed_counts_with_its_mean_over_sampling_seeds():
    """Seed 0: (10 + 20) / 2 = 15; seed 1: 21. Mean 18, not 17; sd sqrt(2 * 3^2 / 1) = 4.243."""
    scores = [{"fid": 10.0, "sampling_seed": 0}, {"fid": 20.0, "sampling_seed": 1, "protocol": "other"}]
    data = frames((entry("A", 0), "trained", scores), (entry("A", 1), "trained", [{"fid": 21.0}]))
    (row,) = summary.summarize(data["runs"], data["fid"]).to_dict("records")
    assert (row["n"], row["fid_mean"], row["sampling_seeds"]) == (2, 18.0, 1)
    assert row["fid_sd"] == pytest.approx(18**0.5)
    assert cells(table1(data), "A")["FD (EfficientNet-Lite0)"] == "18.00 ± 4.24"
    assert "mean over sampling seeds" not in " ".join(table1(data).notes)


def of_seeds(config: str, *kids: float, **changes: object) -> list[tuple]:
    """Trained runs with these kernel distances, which decide, and Fréchet distances that say the opposite."""
    return [
        (entry(config, seed, **changes), "trained", [{"fid": 100 - 100 * kid, "kid": kid}])
        for seed, kid in enumerate(kids)
    ]


def test_changes_and_bold_follow_the_metric_that_decides():
    """KD decides and says that E is better, FD that it is worse: only KD is bold, and the change is KD's.

    Ratios 0.5, 0.52, 0.51; logs -0.6931, -0.6539, -0.6733; mean -0.6735, standard error 0.01132, t 4.3027.
    """
    table = table1(frames(*of_seeds("A", 0.2, 0.2, 0.2), *of_seeds("E", 0.1, 0.104, 0.102)))
    row = cells(table, "E")
    assert row["KD ×10³"] == "**102.00** ± 2.00"
    assert row["FD (EfficientNet-Lite0)"] == "89.80 ± 0.20"
    assert row["KD vs. A (95 % interval)"] == "−49.0 % (−51.4 to −46.5)"
    assert cells(table, "A")["KD vs. A (95 % interval)"] == "—"
    notes = " ".join(table.notes)
    assert "KD decides what is said about scores." in notes
    assert "bold: lower than Config A, by a paired test at 5 % after the correction" in notes
    assert "Three seeds demonstrate the comparison but decide little: half of the intervals here reach 2 " in notes


def test_nothing_is_bold_that_a_paired_test_does_not_confirm():
    unsure = frames(*of_seeds("A", 0.2, 0.2, 0.2), *of_seeds("E", 0.1, 0.19, 0.15))
    assert "**" not in str(table1(unsure).rows)
    one = frames(*of_seeds("A", 0.2, 0.2, 0.2), *of_seeds("E", 0.1))
    assert "**" not in str(table1(one).rows)
    assert cells(table1(one), "E")["KD vs. A (95 % interval)"] == "—"


def test_more_comparisons_need_clearer_differences():
    """Alone E holds up at 5 %; beside three configurations that differ by nothing the correction takes it away."""
    level = [of_seeds(config, 0.2, 0.21, 0.19) for config in "BCD"]
    pair = [*of_seeds("A", 0.2, 0.2, 0.2), *of_seeds("E", 0.1, 0.13, 0.115)]
    assert "**" in cells(table1(frames(*pair)), "E")["KD ×10³"]
    table = table1(frames(*pair, *(run for runs in level for run in runs)))
    assert "**" not in str(table.rows)
    assert "corrected for their number, 4 (Holm)" in " ".join(table.notes)


def test_nothing_is_bold_where_a_verdict_would_be_withheld():
    """Neither where a side was not tuned, nor where one sampling seed stands behind all training seeds."""
    pair = [*of_seeds("A", 0.2, 0.2, 0.2), *of_seeds("E", 0.1, 0.104, 0.102)]
    given = with_losses(frames(*pair), {"A": (0.2, 0.2, 0.2), "E": (0.1, 0.104, 0.102)})
    assert str(table1(given).rows).count("**") == 4
    given["runs"]["tuning"] = ["given"] * 3 + ["tuned"] * 3
    row = cells(table1(given), "E")
    assert "**" not in str(table1(given).rows)
    assert row["KD vs. A (95 % interval)"] == row["loss vs. A (95 % interval)"] == "−49.0 % (−51.4 to −46.5)"
    one = frames(*pair)
    one["fid"]["sampling_seed"] = 0
    assert "**" not in str(table1(one).rows)
    assert "Not tested: all training seeds share one sampling seed" in " ".join(table1(one).notes)


def test_an_interim_table_marks_nothing():
    pair = [*of_seeds("A", 0.2, 0.2, 0.2), *of_seeds("E", 0.1, 0.104, 0.102)]
    assert "**" not in str(table1(frames(*pair) | {"interim": True}).rows)


def test_survivors_of_divergence_are_not_averaged():
    seeds = [*of_seeds("E", 0.1, 0.1), (entry("E", 2), "diverged", [])]
    table = table1(frames(*of_seeds("A", 0.2, 0.2, 0.2), *seeds))
    assert "**" not in str(table.rows)
    row = cells(table, "E")
    assert (row["status"], row["n"]) == ("2 trained, 1 diverged", "2")
    assert {row[name] for name in ("KD ×10³", "FD (EfficientNet-Lite0)", "KD vs. A (95 % interval)")} == {"—"}
    assert any("Where a seed diverged there is neither mean nor change" in note for note in table.notes)


def with_losses(data: dict, losses: dict[str, tuple[float, ...]], images: int = 50) -> dict:
    """The study with held-out losses by configuration and seed, the same on all images."""
    rows, of_images = [], []
    for config, values in losses.items():
        for seed, loss in enumerate(values):
            run = entry(config, seed)["run"]
            about = {"run": run, "ema_width": 0.05}
            rows.append({**about, "step": 100, "part": "report", "loss": loss})
            rows.append({**about, "step": 100, "part": "tune", "loss": 9.0})
            rows.append({**about, "ema_width": 0.1, "step": 100, "part": "report", "loss": 7.0})
            of_images += [{**about, "image": image, "loss": loss} for image in range(images)]
    data["runs"]["steps"] = 100
    heldout = pd.DataFrame(rows, columns=HELDOUT.names)
    return data | {"heldout": heldout, "heldout_images": pd.DataFrame(of_images, columns=HELDOUT_IMAGES.names)}


def test_the_heldout_loss_has_a_column_and_a_change_of_its_own():
    """Score and loss disagree, and both are shown: the reporting part, at the EMA width of the row."""
    data = frames(*of_seeds("A", 0.2, 0.2, 0.2), *of_seeds("E", 0.3, 0.31, 0.3))
    table = table1(with_losses(data, {"A": (0.2, 0.2, 0.2), "E": (0.1, 0.104, 0.102)}))
    row = cells(table, "E")
    assert row["held-out loss"] == "**0.1020** ± 0.0020"
    assert row["loss vs. A (95 % interval)"] == "−49.0 % (−51.4 to −46.5)"
    assert row["KD vs. A (95 % interval)"].startswith("+51.")
    assert "**" not in row["KD ×10³"]
    assert cells(table, "A")["held-out loss"] == "0.2000 ± 0.0000"
    assert "may disagree with the scores" in " ".join(table.notes)
    assert table.frame["heldout_change_percent"].notna().tolist() == [False, True]


def test_runs_with_a_loss_and_no_score_yet_show_their_loss():
    """As in an interim table: sampling comes after the loss. It is at the width that all scores have."""
    data = frames(*of_seeds("A", 0.2, 0.2, 0.2), *of_seeds("E", 0.1, 0.1, 0.1))
    data = with_losses(data, {"A": (0.2, 0.2, 0.2), "E": (0.1, 0.104, 0.102)})
    data["fid"] = data["fid"][data["fid"]["config"] == "A"]
    table = table1(data)
    row = cells(table, "E")
    assert (row["held-out loss"], row["n"]) == ("**0.1020** ± 0.0020", "0")
    assert row["loss vs. A (95 % interval)"] == "−49.0 % (−51.4 to −46.5)"
    assert row["KD ×10³"] == row["KD vs. A (95 % interval)"] == "—"
    assert table.frame.set_index("config").loc["E", "heldout_loss_mean"] == pytest.approx(0.102)
    nothing = table1(data | {"fid": data["fid"].iloc[:0]})
    assert cells(nothing, "E")["held-out loss"] == "**0.1020** ± 0.0020"
    assert nothing.notes[0] == "No run has been scored yet." and nothing.notes[1].startswith("Held-out loss:")


def test_the_error_of_images_widens_the_interval_of_a_loss():
    data = with_losses(
        frames(*of_seeds("A", 0.2, 0.2, 0.2), *of_seeds("E", 0.2, 0.2, 0.2)), {"A": (0.2,) * 3, "E": (0.1,) * 3}
    )
    images = data["heldout_images"]
    assert cells(table1(data), "E")["loss vs. A (95 % interval)"] == "−50.0 % (−50.0 to −50.0)"
    of_e = images["run"].str.contains("-E-")
    images.loc[of_e, "loss"] += (images.loc[of_e, "image"] % 2 - 0.5) * 0.1
    row = table1(data).frame.set_index("config").loc["E"]
    assert row["heldout_change_low"] < -51 and row["heldout_change_high"] > -49


def test_a_table_of_configurations_that_were_not_tuned_alike_says_so_above():
    alike = frames(*of_seeds("A", 0.2, 0.2), *of_seeds("E", 0.1, 0.1))
    assert table1(alike).above == []
    edge = frames(*of_seeds("A", 0.2, 0.2), *of_seeds("E", 0.1, 0.1, tuning="edge"))
    (sentence,) = table1(edge).above
    assert sentence.startswith("Not tuned alike, so differences may be due to learning rates. Config E: ")
    text = table_format.markdown(table1(edge), "Ladder")
    assert text.index(sentence) < text.index("| config")
    assert "Not tuned alike" in table_format.latex(table1(edge), "Ladder", "tab:x").split(r"\label")[0]
    swept = frames(*of_seeds("A", 0.2, 0.2, tuning="given"), *of_seeds("E", 0.1, 0.1, tuning="given"))
    assert table3(swept).above == []  # it compares the rates themselves


@pytest.mark.parametrize(
    ("status", "shown"), [("missing", "missing"), ("running", "running"), ("diverged", "diverged at step 100")]
)
def test_runs_without_a_score_show_their_status(status, shown):
    data = one_seed()
    runs = data["runs"]
    runs.loc[runs["config"] == "A", "status"] = status
    data["fid"] = data["fid"][data["fid"]["config"] != "A"]
    table = table1(data)
    assert len(table.rows) == 5
    assert cells(table, "A")["status"] == shown
    assert cells(table, "A")["FD (EfficientNet-Lite0)"] == "—"
    assert {cells(table, config)["KD vs. A (95 % interval)"] for config in "BCDE"} == {"—"}


def test_a_table_without_any_score():
    table = table1(frames((entry("A"), "missing", []), (entry("E"), "running", [])))
    assert [row[-1] for row in table.rows] == ["missing", "running"]
    assert table.footer == []
    assert table.notes == ["No run has been scored yet."]
    assert "Ladder" in table_format.latex(table, "Ladder", "tab:x")


def test_no_rows_at_all():
    empty = {name: empty_table(SCHEMAS[name]) for name in AGGREGATES} | {"cost": None}
    assert "No run" in table_format.markdown(table1(empty), "Ladder")


def test_protocols_never_share_a_row():
    data = frames(*of_seeds("A", 0.2, 0.2), *of_seeds("E", 0.1, 0.1))
    wider = data["fid"].assign(ema_width=0.1, kid=data["fid"]["kid"] + 0.1, protocol="wider")
    data["fid"] = pd.concat([data["fid"], wider])
    table = table1(data)
    assert len(table.rows) == 4
    found = {(row[0], row[-1]): row[table.header.index("KD ×10³")] for row in table.rows}
    assert table.header[-1] == "EMA width"
    assert (found["A", "0.05"], found["A", "0.1"]) == ("200.00 ± 0.00", "300.00 ± 0.00")
    change = {(row[0], row[-1]): row[table.header.index("KD vs. A (95 % interval)")][:7] for row in table.rows}
    assert (change["E", "0.05"], change["E", "0.1"]) == ("−50.0 %", "−33.3 %")  # each against A at its own width
    assert "EMA width" not in " ".join(table.notes)
    assert len(table.footer) == 1


def test_a_change_may_be_between_two_widths_that_were_tuned():
    data = frames(*of_seeds("A", 0.2, 0.2), *of_seeds("E", 0.1, 0.1))
    data["fid"].loc[data["fid"]["config"] == "E", "ema_width"] = 0.1
    assert cells(table1(data), "E")["KD vs. A (95 % interval)"] == "−50.0 % (−50.0 to −50.0)"


def test_plain_weights_are_a_protocol_of_their_own():
    data = frames((entry("A"), "trained", [{"fid": 1.0}]))
    data["fid"]["ema_width"] = np.nan  # an empty cell
    assert "plain weights" in table1(data).notes[0]
    assert cells(table1(data), "A")["FD (EfficientNet-Lite0)"] == "1.00"


def test_only_inception_features_are_called_fid():
    data = frames((entry("A"), "trained", [INCEPTION]))
    table = table1(data)
    assert list(table.header[7:9]) == ["FID", "KID ×10³"]
    assert "fewer than five samples" not in " ".join(table.notes)
    both = frames((entry("A"), "trained", [{}, {"features": "inception", "features_hash": "1"}]))
    assert {"FID or FD", "features"} <= set(table1(both).header)
    assert set(table1(both).frame["metric"]) == {"FID", "FD (EfficientNet-Lite0)"}


def test_two_runs_of_one_setting_and_seed_are_refused():
    twin = entry("A") | {"run": "another-name"}
    with pytest.raises(UserError) as error:
        table1(frames((entry("A"), "trained", [{}]), (twin, "trained", [{}])))
    assert str(error.value) == (
        f"runs {entry('A')['run']} and another-name: both have model DiT-Nano/2, config A, modulation scale_shift, "
        "lr 0.001, data mnist8, seed 0: must be one run per setting and seed"
    )


def test_no_baseline_is_picked_among_several():
    a = [run for lr in (1e-4, 1e-3) for run in of_seeds("A", 0.2, 0.2, lr=lr)]
    table = table1(frames(*a, *of_seeds("E", 0.1, 0.1)))
    assert cells(table, "E")["KD vs. A (95 % interval)"] == "—"


def test_rows_are_in_the_order_of_the_grid():
    configs = [(entry(config, model=model), "missing", []) for config in "EA" for model in ("DiT-S/2", "DiT-XS/2")]
    rows = summary.summarize(**{key: frames(*configs)[key] for key in ("runs", "fid")})
    assert rows[["model", "config"]].to_numpy().tolist() == [
        ["DiT-XS/2", "A"], ["DiT-XS/2", "E"], ["DiT-S/2", "A"], ["DiT-S/2", "E"],
    ]  # fmt: skip


def test_table2_cell_by_cell():
    """Means 78, 65, 66.95; sd of 64 and 66 is sqrt 2. KD decides, and is the same for all."""
    table = table2(modulations())
    assert list(table.header) == [
        "modulation", "config", "model", "learning rate", "parameters", "vs. AdaLN", "n", "FD (EfficientNet-Lite0)",
        "KD ×10³", "KD vs. AdaLN (95 % interval)", "status",
    ]  # fmt: skip
    same, kd = ("E", "DiT-Nano/2", "2e-2"), "125.00 ± 0.00"
    none = "+0.0 % (+0.0 to +0.0)"
    assert [list(row) for row in table.rows] == [
        ["scale", *same, "80 K", "−20.0 %", "2", "78.00 ± 1.41", kd, none, "trained"],
        ["scale + shift", *same, "100 K", "—", "2", "65.00 ± 1.41", kd, "—", "trained"],
        ["rotate", *same, "90 K", "−10.0 %", "0", "—", "—", "—", "diverged at step 100"],
        ["scale + rotate", *same, "95 K", "−5.0 %", "2", "66.95 ± 2.76", kd, none, "trained"],
    ]
    assert table.footer[0][0] == "real images (1,000)"
    assert "relative to AdaLN, that is, to scale + shift with the same configuration" in " ".join(table.notes)
    assert "Step time" not in " ".join(table.notes)
    assert not table.frame["best"].any()


def test_modulations_are_compared_with_adaln_of_the_same_configuration_model_and_protocol():
    data = modulations()
    data["fid"]["kid"] = data["fid"]["fid"] / 500
    sizes = {"scale": 10.0, "scale_shift": 20.0}
    other = frames(*(run for kind, fid in sizes.items() for run in runs_of_e(kind, fid, fid, model="DiT-S/2")))
    other["fid"]["kid"] = other["fid"]["fid"] / 500
    runs = pd.concat([data["runs"], other["runs"]])
    both = {"runs": runs, "fid": pd.concat([data["fid"], other["fid"]])}
    table = table2(both)
    found = {(row[2], row[0]): row[table.header.index("KD vs. AdaLN (95 % interval)")][:7] for row in table.rows}
    assert (found["DiT-S/2", "scale"], found["DiT-Nano/2", "scale"]) == ("−50.0 %", "+20.0 %")
    without = {key: both[key][both[key]["modulation"] != "scale_shift"] for key in both}
    assert {row[-2] for row in table2(without).rows} == {"—"}


def test_table3_cell_by_cell():
    """E at three rates, one of them diverged; A at two, one still running on its second seed. Bold is KD, which
    decides, of the one rate that may be the best."""
    rates = {1e-4: (90.0, 92.0), 1e-3: (60.0, 63.0), 1e-2: ()}
    runs = [r for lr, fids in rates.items() for r in runs_of_e("scale_shift", *fids, lr=lr)]
    runs += [(entry("E", seed, lr=1e-2), "diverged", []) for seed in (0, 1)]
    runs += [(entry("A", seed, lr=1e-4), "trained", [{"fid": 70.0 + seed}]) for seed in (0, 1)]
    runs += [(entry("A", 0, lr=1e-3), "trained", [{"fid": 75.0}]), (entry("A", 1, lr=1e-3), "running", [])]
    data = frames(*runs)
    data["fid"]["kid"] = data["fid"]["fid"] / 500
    table = table3(data)
    assert list(table.header) == [
        "model", "config", "modulation", "learning rate", "n", "FD (EfficientNet-Lite0)", "KD ×10³", "status",
    ]  # fmt: skip
    keep = [1, 3, 4, 6, 7]
    assert [[row[i] for i in keep] for row in table.rows] == [
        ["A", "1e-4", "2", "141.00 ± 1.41", "trained"],  # not bold: its other rate has one seed
        ["A", "1e-3", "1", "150.00", "1 trained, 1 running"],
        ["E", "1e-4", "2", "182.00 ± 2.83", "trained"],
        ["E", "1e-3", "2", "**123.00** ± 4.24", "trained"],
        ["E", "1e-2", "0", "—", "diverged"],
    ]
    assert table.footer[0][0] == "real images (1,000)"
    bold = "bold: the best rate of a configuration, where paired tests exclude all its others at 5 %"
    assert bold in " ".join(table.notes)


def test_bold_rates_are_corrected_for_the_number_of_settings():
    """E alone has a best rate; beside three configurations without one the correction takes it away."""

    def swept(config, best, other):
        return [
            (entry(config, seed, lr=lr), "trained", [{"fid": 100 * kid, "kid": kid}])
            for lr, kids in ((1e-3, best), (1e-2, other))
            for seed, kid in enumerate(kids)
        ]

    e = swept("E", (0.1, 0.16, 0.13), (0.2, 0.2, 0.2))
    assert str(table3(frames(*e)).rows).count("**") == 2
    level = [run for config in "ACD" for run in swept(config, (0.2, 0.21, 0.19), (0.2, 0.2, 0.2))]
    assert "**" not in str(table3(frames(*e, *level)).rows)
    shared = frames(*e)
    shared["fid"]["sampling_seed"] = 0
    assert "**" not in str(table3(shared).rows)


def test_table4_cell_by_cell():
    cost = pd.DataFrame(
        [
            (
                "DiT-S/2",
                "E",
                "scale_shift",
                "textbook",
                32_960_000,
                6.06e9,
                0.1234,
                1.085,
                1.07,
                1.101,
                40,
                "a card",
                1,
            ),
            ("DiT-S/2", "A", "scale_shift", "cheap", 32_950_000, 6.05e9, 0.11, 1.0, 1.0, 1.0, 40, "a card", 1),
            ("DiT-Nano/4", "E", "scale_rotate", "cheap", 250_000, 4.2e6, 0.0015, 1.02, 0.99, 1.05, 40, "a card", 1),
        ],
        columns=COST.names,
    )
    table = table4({"cost": cost})
    assert list(table.header) == [
        "config", "model", "modulation", "form", "parameters", "GFLOPs", "ms per step", "step time", "interval (95 %)",
    ]  # fmt: skip
    assert [list(row) for row in table.rows] == [
        ["E", "DiT-Nano/4", "scale + rotate", "cheap", "250 K", "0.00420", "1.50", "1.02×", "0.99 to 1.05"],
        ["A", "DiT-S/2", "scale + shift", "cheap", "32.95 M", "6.05", "110", "1.00×", "1.00 to 1.00"],
        ["E", "DiT-S/2", "scale + shift", "textbook", "32.96 M", "6.06", "123", "1.08×", "1.07 to 1.10"],
    ]
    assert list(table.frame.columns) == list(COST.names)
    assert "Measured on a card, 1 thread, 40 rounds." in table.notes
    for nothing in (None, cost.iloc[:0]):
        empty = table4({"cost": nothing})
        assert (empty.rows, empty.notes) == ([], ["Not measured yet."])


NOT_IN_STATISTICS = ("reference_count", "kid", "kid_sd", "fid_floor", "kid_floor", "floor_count")


def test_what_precomputed_statistics_lack_is_a_dash_in_tables(tmp_path):
    entries = [entry("A"), entry("E")]
    for run, fid in zip(entries, (80.0, 50.0), strict=True):
        score = score_row(run, fid=fid, reference="adm.npz") | dict.fromkeys(NOT_IN_STATISTICS)
        write_rows(write_run(tmp_path, run) / f"samples/{PROTOCOL}" / SCORE_FILE, SCORE, [score])
    tables = collect(read_plan(write_plan(tmp_path / "plan.json", entries)), tmp_path)
    write_tables(tables, tmp_path)
    fid = read_table(tmp_path / "fid.csv", FID)
    assert fid[list(NOT_IN_STATISTICS)].isna().all(axis=None) and fid["reference"].tolist() == ["adm.npz"] * 2
    runs = read_table(tmp_path / "runs.csv", RUNS)
    table = table1({"runs": runs, "fid": fid, "cost": None})
    lines = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert [line["FD (EfficientNet-Lite0)"] for line in lines] == ["80.00", "50.00"]
    assert [line["KD ×10³"] for line in lines] == ["—", "—"]
    assert lines[1]["FD vs. A (95 % interval)"] == "—"  # one seed
    assert list(table.footer) == []
    notes = " ".join(table.notes)
    assert "reference adm.npz. Lower is better." in notes
    assert "there is no kernel distance and no score of real images" in notes
    assert "Real images:" not in notes
