"""Features on principal components: what stays, what is invariant, and that nothing is mixed."""

import numpy as np
import pytest
from helpers.references import batches_of, random_reference

from mpdit.data.moments import row_moments
from mpdit.evaluation.metrics import frechet_distance, kernel_distance
from mpdit.evaluation.projection import Projection, principal_components, projected_hash
from mpdit.evaluation.reference import Reference, precomputed_reference, reference_statistics
from mpdit.evaluation.scoring import score

WIDTHS = np.array([5.0, 4.0, 3.0, 0.3, 0.2, 0.1])  # standard deviations along the axes, before a rotation


def rows_of(seed, count=300, shift=0.0):
    rotation = np.linalg.qr(np.random.default_rng(99).normal(size=(6, 6)))[0]
    return ((np.random.default_rng(seed).normal(size=(count, 6)) * WIDTHS + shift) @ rotation).astype(np.float32)


def projection_of(rows, number=3):
    moments = row_moments(rows)
    return principal_components(moments.mean, moments.covariance, number)


def test_components_are_orthonormal_and_hold_the_largest_variances():
    projection = projection_of(rows_of(0))
    np.testing.assert_allclose(projection.components.T @ projection.components, np.eye(3), atol=1e-12)
    projected = projection.rows(rows_of(0))
    assert projected.dtype == np.float32 and projected.shape == (300, 3)
    np.testing.assert_allclose(projected.mean(axis=0), 0, atol=1e-5)
    covariance = np.cov(projected, rowvar=False)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-4)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), WIDTHS[:3], rtol=0.1)


def test_projected_moments_are_the_moments_of_projected_rows():
    projection, others = projection_of(rows_of(0)), rows_of(1, shift=0.5)
    ours, theirs = projection.moments(row_moments(others)), row_moments(projection.rows(others))
    assert ours.count == theirs.count
    np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-5)
    np.testing.assert_allclose(ours.covariance, theirs.covariance, rtol=1e-4, atol=1e-4)


def test_distances_do_not_depend_on_the_signs_and_order_of_components():
    """They differ between machines."""
    projection, ours, others = projection_of(rows_of(0)), rows_of(0), rows_of(1, shift=0.5)
    other = Projection(projection.center, projection.components[:, ::-1] * [1, -1, 1])

    def distances(by):
        x, y = by.rows(others), by.rows(ours)
        moments = row_moments(x), row_moments(y)
        frechet = frechet_distance(moments[0].mean, moments[0].covariance, moments[1].mean, moments[1].covariance)
        return frechet, kernel_distance(x, y, seed=0).value

    assert distances(projection) == pytest.approx(distances(other), rel=1e-5)


def test_the_hash_is_of_network_images_and_number_of_components():
    hashes = {
        projected_hash(*arguments) for arguments in (("a", "b", 64), ("b", "b", 64), ("a", "a", 64), ("a", "b", 32))
    }
    assert len(hashes) == 4 and all(len(digest) == 16 for digest in hashes)


# References


def test_statistics_rows_and_floor_of_a_reference_are_projected():
    rows = rows_of(0)
    plain = reference_statistics(batches_of(rows), 100, np.random.default_rng(0))
    moments, kept, floor, projection = reference_statistics(batches_of(rows), 100, np.random.default_rng(0), 3)
    assert plain.projection is None and plain.rows.shape == (300, 6)
    np.testing.assert_array_equal(kept, projection.rows(plain.rows))
    np.testing.assert_allclose(moments.mean, 0, atol=1e-9)
    np.testing.assert_allclose(np.diag(moments.covariance), np.linalg.eigvalsh(plain.moments.covariance)[:2:-1])
    held_back, others = row_moments(kept[:100]), row_moments(kept[100:])
    expected = frechet_distance(held_back.mean, held_back.covariance, others.mean, others.covariance)
    assert floor.fid == pytest.approx(expected, rel=1e-4)
    compared = projection.kernel_rows(kept)
    assert floor.kid == kernel_distance(compared[:100], compared[100:], seed=0).value


def test_the_kernel_divides_by_the_number_of_features_before_the_projection():
    """With all components, the kernel distance is that of the centered features."""
    rows, others = rows_of(0), rows_of(1, shift=0.5)
    mean, covariance = row_moments(rows).mean, row_moments(rows).covariance
    projection = principal_components(mean, covariance, 4)
    x, y = (projection.rows(features) for features in (others, rows))
    back = [(features @ projection.components.T).astype(np.float32) for features in (x, y)]
    expected = kernel_distance(*back, seed=0).value
    assert kernel_distance(projection.kernel_rows(x), projection.kernel_rows(y), seed=0).value == pytest.approx(
        expected, rel=1e-4
    )


def test_samples_are_scored_in_the_projection_of_the_reference(tmp_path):
    moments, rows, floor, projection = reference_statistics(batches_of(rows_of(0)), 100, np.random.default_rng(0), 3)
    parts = {"mu": moments.mean, "sigma": moments.covariance, "rows": rows, "floor": floor, "count": moments.count}
    random_reference(**parts, projection=projection).save(tmp_path / "reference.npz")
    reference, samples = Reference.load(tmp_path / "reference.npz"), rows_of(1, shift=0.5)
    scored = score(samples, reference)
    projected = row_moments(projection.rows(samples))
    expected = frechet_distance(projected.mean, projected.covariance, moments.mean, moments.covariance)
    assert scored.fid == expected
    compared = (projection.kernel_rows(features) for features in (projection.rows(samples), rows))
    assert scored.kid == kernel_distance(*compared, seed=0).value
    assert not scored.fid_rank_deficient and score(samples[:4], reference).fid_rank_deficient is False
    assert score(samples[:3], reference).fid_rank_deficient is True  # as many as components


def test_precomputed_statistics_are_projected_on_their_own_components(tmp_path):
    """The scores of a projection are all that matters: 1,280 features, of which 64 components are compared."""
    rng = np.random.default_rng(0)
    covariance = np.diag(np.linspace(1, 3, 1280))
    np.savez(tmp_path / "statistics.npz", mu=rng.normal(size=1280), sigma=covariance)
    reference = precomputed_reference(tmp_path / "statistics.npz", "efficientnet-lite0-pca64", "f" * 16, 1280)
    assert reference.mu.shape == (64,) and reference.rows.shape == (0, 64)
    np.testing.assert_allclose(np.diag(reference.sigma), np.linspace(1, 3, 1280)[:-65:-1])
    assert reference.features_hash == projected_hash("f" * 16, reference.hash, 64)
