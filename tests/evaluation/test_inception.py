"""Inception's weights: downloaded with a checked hash or read from a file, and never unpickled."""

import urllib.error

import pytest
import torch

from mpdit.evaluation.features import load_extractor
from mpdit.system.errors import UserError


def test_without_a_network_the_message_says_what_to_pass(monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(UserError) as error:
        load_extractor("inception")
    message = str(error.value)
    assert message.startswith("features: inception: its weights could not be downloaded (<urlopen error no network>)")
    assert "--weights FILE" in message and "weights-inception-2015-12-05-6726825d.pth" in message
    assert "\n" not in message


def test_a_download_is_checked_and_never_unpickled(monkeypatch):
    used = {}
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, **options: used.update(options) or {})
    with pytest.raises(UserError, match="of another network"):
        load_extractor("inception")
    assert used["check_hash"] and used["weights_only"]


class Malicious:
    def __reduce__(self):
        return print, ("unpickled",)


@pytest.mark.parametrize("content", [b"", b"text", Malicious(), [1, 2], {"a": 1}])
def test_a_file_that_holds_no_weights_is_refused(tmp_path, content, capsys):
    path = tmp_path / "w.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(UserError, match=r"^weights: .*w\.pth: not a file of tensors: must be a copy of https://"):
        load_extractor("inception", path)
    assert capsys.readouterr().out == ""


def test_weights_that_are_missing_or_of_another_network_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    with pytest.raises(UserError, match=r"^weights: .*w\.pth: no such file: must be a copy of https://"):
        load_extractor("inception", path)
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"^weights: .*w\.pth: of another network: must be a copy of https://[^\n]*$"):
        load_extractor("inception", path)
