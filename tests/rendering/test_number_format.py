"""Numbers as tables print them."""

import pytest

from mpdit.rendering import number_format as fmt


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (fmt.rate(1e-4), "1e-4"), (fmt.rate(0.02), "2e-2"), (fmt.rate(2.5e-3), "2.5e-3"),
        (fmt.percent(-12.84), "−12.8 %"), (fmt.percent(0.0), "+0.0 %"), (fmt.times(1.085), "1.08×"),
        (fmt.parameters(32_960_000), "32.96 M"), (fmt.parameters(214_272), "214 K"),
        (fmt.spread(69.284, 0.416), "69.28 ± 0.42"), (fmt.spread(float("nan")), "—"),
        (fmt.value(10_000), "10,000"), (fmt.value(0.05), "0.05"), (fmt.value("ddpm"), "ddpm"),
    ],
)  # fmt: skip
def test_numbers_as_they_are_printed(made, expected):
    assert made == expected
