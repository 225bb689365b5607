"""What is rendered of a study, and the names that blocks cannot have."""

import pytest

from mpdit import paper  # noqa: F401  # registers the paper's
from mpdit.experiment.columns import AGGREGATES, HELDOUT_AGGREGATES
from mpdit.rendering.every_block import OF_EVERY_BLOCK
from mpdit.rendering.goals import artifact_named, goals, names_of, require_block_names
from mpdit.system.errors import UserError


def test_each_block_that_no_table_claims_has_a_table_of_its_own():
    files = goals(["table1", "my_ablation"])
    assert files["my_ablation.csv"].block == "my_ablation"
    assert files["table1.csv"].artifact.title == "Table 1"
    assert [file for file, goal in files.items() if goal.artifact.kind == "table" and goal.block] == [
        "table1.csv", "my_ablation.csv",
    ]  # fmt: skip


def test_a_block_that_only_a_figure_claims_has_a_table_too():
    files = goals(["ema_width"])
    assert files["figures/ema_width.png"].artifact.name == files["ema_width.csv"].artifact.name == "ema_width"
    assert artifact_named("ema_width", ".csv", "ema_width").kind == "table"
    assert artifact_named("ema_width", ".png", "ema_width").kind == "figure"
    assert artifact_named("ema_width", ".csv", None).kind == "figure"


def test_figures_of_held_out_losses_need_them():
    reading = {artifact.name for artifact in OF_EVERY_BLOCK if "heldout" in artifact.reads}
    with_losses = goals(["mine"], (*AGGREGATES, *HELDOUT_AGGREGATES))
    assert {f"figures/mine/{name}.png" for name in reading} == {
        file for file in set(with_losses) - set(goals(["mine"])) if file.startswith("figures/mine/")
    }


def test_unknown_names_are_none():
    assert artifact_named("mine", ".csv", None) is None
    assert "mine" not in names_of(None)
    assert "mine" in names_of("mine")


@pytest.mark.parametrize(
    "name", ["runs", "heldout_images", "cost", "rates", "tuning", "table4", "claims", "comparisons"]
)
def test_names_of_other_tables_are_refused(name):
    with pytest.raises(UserError) as raised:
        require_block_names(["table1", name])
    assert str(raised.value) == (
        f"experiments.{name}: expected another name: results/{name}.csv is not the table of a block"
    )


def test_blocks_of_registered_tables_and_others_are_accepted():
    require_block_names(["table1", "learning_rate", "ema_width", "my_ablation", "loss"])
