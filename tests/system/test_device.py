import argparse

import pytest
import torch

from mpdit.system.device import add_device_argument, choose_device, device_name, peak_memory
from mpdit.system.errors import UserError


def pretend(monkeypatch, available):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)


@pytest.mark.parametrize(
    ("name", "available", "kind"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_auto_is_cuda_if_available(monkeypatch, name, available, kind):
    pretend(monkeypatch, available)
    assert choose_device(name) == torch.device(kind)


def test_cuda_without_a_cuda_device_is_an_error(monkeypatch):
    pretend(monkeypatch, False)
    with pytest.raises(UserError, match=r"^--device: cuda: torch finds no CUDA device .* use cpu or auto$"):
        choose_device("cuda")


def test_an_unknown_device_is_an_error():
    with pytest.raises(UserError, match=r"^--device: 'tpu': must be one of auto, cpu, cuda$"):
        choose_device("tpu")


def test_the_option_accepts_known_devices_only(capsys):
    parser = argparse.ArgumentParser()
    add_device_argument(parser, "the autoencoder")
    assert parser.parse_args([]).device == "auto"
    assert parser.parse_args(["--device", "cpu"]).device == "cpu"
    assert "where the autoencoder runs" in parser.format_help()
    with pytest.raises(SystemExit):
        parser.parse_args(["--device", "tpu"])
    assert "invalid choice: 'tpu'" in capsys.readouterr().err


def test_a_gpu_is_named_as_cuda_reports_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert device_name(torch.device("cuda", 1)) == "GPU 1"
    assert device_name(torch.device("cpu")) == "cpu"


def test_peak_memory_covers_memory_that_was_freed():
    cpu = torch.device("cpu")
    size = int(1.5 * peak_memory(cpu)) // 4
    torch.ones(size)  # float32, freed at once
    assert peak_memory(cpu) >= 4 * size
