"""Headings of metrics."""

from mpdit.experiment.metric_names import metric_label, metric_name


def test_only_inception_features_make_an_fid():
    assert metric_label("inception") == "FID"
    assert metric_label("inception", "kid") == "KID"
    assert metric_label("efficientnet-lite0") == "FD (EfficientNet-Lite0)"
    assert metric_label("efficientnet-lite0", "kid") == "KD (EfficientNet-Lite0)"


def test_a_short_name_leaves_the_network_out():
    assert metric_name("inception", "kid") == "KID"
    assert metric_name("efficientnet-lite0", "kid") == "KD"
