"""`mpdit verify`: what it prints, and its exit status."""

from helpers.damage import flip_bit

from mpdit.__main__ import main
from mpdit.system.files import write_text


def test_the_exit_status_tells_whether_something_is_damaged(tmp_path, capsys):
    for name in ("table1.md", "table2.md"):
        write_text(tmp_path / name, "a table\n")
    assert main(["verify", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 2 files intact, 0.0 MB\n"
    flip_bit(tmp_path / "table2.md")
    (tmp_path / "notes.txt").write_text("by hand")
    assert main(["verify", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    damaged, counts = out.splitlines()
    assert damaged.startswith(
        f"{tmp_path}/table2.md: its content is not what was written; delete it and run `snakemake"
    )
    assert counts == (
        f"{tmp_path}: 2 files intact, 0.0 MB; 1 damaged or lost; 1 of them without a seal, such as {tmp_path}/notes.txt"
    )
    assert err == ""
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
