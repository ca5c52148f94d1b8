"""Examples that the chapters work by hand, and values that they quote of a small experiment, computed here again."""

from pathlib import Path

import numpy as np

BOOK = Path(__file__).resolve().parents[2] / "book"


def test_the_example_done_by_hand_is_right() -> None:
    text = (BOOK / "softmax_invariance.md").read_text()
    maps, weights = np.array([[4.0, 0.0], [0.0, 2.0]]), np.eye(2)
    shifted = weights + np.array([-1.5, 1.0])
    logits, after = weights @ maps.mean(1), shifted @ maps.mean(1)
    assert (logits @ [1, -1], after @ [1, -1]) == (1.0, 1.0)
    assert (shifted[0] @ maps).tolist() == [-2.0, 2.0]
    for value in (*logits, *after):
        assert f"{1 / (1 + np.exp(-value)):.3f}".rstrip("0") in text


def test_a_map_shares_much_though_its_head_shares_little() -> None:
    text = (BOOK / "softmax_invariance.md").read_text()
    maps, weights = np.array([[16.0, 16, 0, 0], [1, 0, 1, 0]]), np.array([[0.05, 1], [0.05, -1]])
    energy = 2 * np.square(weights.mean(0)).sum() / np.square(weights).sum()
    mean, own = weights.mean(0) @ maps, weights[0] @ maps
    assert (mean.tolist(), own.tolist()) == ([0.8, 0.8, 0, 0], [1.8, 0.8, 1, 0])
    assert f"$\\rho = {energy:.4f}$" in text
    assert f"{100 * mean.var() / own.var():.0f} % of its variance" in text


def test_balancing_changes_the_slope_of_the_best_linear_head() -> None:
    features, shares = np.array([0.0, 1.0, 2.0]), np.array([0.1, 0.1, 0.5])

    def best(weight: float, shares: np.ndarray) -> tuple[float, float]:
        """Slope and intercept of least loss, by Newton's method."""
        inputs, head = np.stack([features, np.ones(3)]), np.zeros(2)
        for _ in range(50):
            s = 1 / (1 + np.exp(-head @ inputs))
            gradient = inputs @ (s * (1 - shares) - weight * (1 - s) * shares)
            head -= np.linalg.solve((inputs * s * (1 - s) * (1 - shares + weight * shares)) @ inputs.T, gradient)
        return head[0], head[1]

    plain, balanced = best(1, shares), best(9, shares)
    text = (BOOK / "dual_branch.md").read_text()
    for slope, intercept in (plain, balanced):
        assert f"${slope:.2f} f - {-intercept:.2f}$" in text
    assert f"differ by ${balanced[1] - plain[1]:.2f}$, not by $\\log 9 = {np.log(9):.2f}$" in text
    # Where the log-odds is linear the proposition holds of linear heads too.
    linear = 1 / (1 + np.exp(2 - features))
    np.testing.assert_allclose(np.subtract(best(9, linear), best(1, linear)), [0, np.log(9)], atol=1e-9)


def test_random_labels_raise_the_gauge_energy_as_the_chapter_says() -> None:
    def gauge_energy(weight: np.ndarray) -> float:
        return len(weight) * np.square(weight.mean(0)).sum() / np.square(weight).sum()

    rng = np.random.default_rng(0)
    inputs, weight, targets = rng.normal(size=(500, 20)), rng.normal(size=(7, 20)), np.eye(7)[rng.integers(7, size=500)]
    before, mean = gauge_energy(weight), weight.mean(0)
    for _ in range(200):
        exponentials = np.exp(inputs @ weight.T)
        weight = weight - 0.1 * (exponentials / exponentials.sum(1, keepdims=True) - targets).T @ inputs / 500
    np.testing.assert_allclose(weight.mean(0), mean, atol=1e-12)
    text = (BOOK / "softmax_invariance.md").read_text()
    assert f"from ${before:.2f}$ to ${gauge_energy(weight):.2f}$" in text
