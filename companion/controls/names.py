"""Names of control maps, their metrics, and the comparisons that bear on a claim: names only, no torch."""

from __future__ import annotations

from dataclasses import dataclass

NO_HEAD = "none"
"""The head of a map that has none."""
WEIGHTS = ("signed", "truncated")
"""Negative channel weights as they are, or cut to zero, as Oh and Noh 2025 do with those of the sigmoid head."""
SHIFTED = "best shift"
"""The logit of weights that are all shifted by one constant."""
WRONG_CLASS = "wrong class"
"""The logit of a random other class."""
CENTRE = "centre"
"""A Gaussian at the centre, the same for every image."""
CLASS_FREE = "class-free"
"""The sum of the feature maps."""
RANDOM, RANDOM_POSITIVE = "random weights", "random positive weights"
BASELINES = (CENTRE, CLASS_FREE, RANDOM, RANDOM_POSITIVE)
"""Maps without a head, with the random sums of feature maps."""
WHOLE_IMAGE, FIXED_BOX = "whole image", "best fixed box"
FIXED = (WHOLE_IMAGE, FIXED_BOX)
"""Boxes without any map, the same for every image; the second is the best of held-out images."""
NEGATIVES = {"signed": "negative", "truncated": "truncated, negative"}
"""One minus the map of either treatment, so that what was highest is lowest."""
TITLES = {
    "maxboxacc_v2": "MaxBoxAccV2",
    "maxboxacc_v2_held_out": "MaxBoxAccV2, held-out threshold",
    "gt_loc": "GT-Loc",
    "pxap": "PxAP",
    "pointing_game": "pointing game",
    "energy_pointing": "energy in box",
    "grid_2x2": "grid 2 × 2",
    "grid_3x3": "grid 3 × 3",
    "average_drop": "average drop",
    "increase_in_confidence": "increase in confidence",
    "coverage": "coverage",
    "drop_at_50": "drop at half the pixels",
    "insertion_auc": "insertion",
    "deletion_auc": "deletion",
}
"""Metrics of the crossed controls, as people write them."""
FURTHER_TITLES = {
    "maxboxacc_v2_outer": "MaxBoxAccV2, outer contours",
    "boxacc_v2_otsu": "BoxAccV2, Otsu's threshold",
    "boxacc_v2_half": "BoxAccV2, upper half of the pixels",
    "grid_2x2_top": "grid 2 × 2, highest pixels",
    "grid_2x2_named": "grid 2 × 2, cell named",
    "grid_3x3_top": "grid 3 × 3, highest pixels",
    "grid_3x3_named": "grid 3 × 3, cell named",
    "average_drop_own": "average drop, own branch",
    "increase_in_confidence_own": "increase in confidence, own branch",
}
"""Metrics that were added later. Their differences are families of their own, so that intervals of the others stay."""
OWN_BRANCH = ("average_drop_own", "increase_in_confidence_own")
"""Those of the paper's protocol, by which each map is scored by the head that it comes from."""
SOFTMAX, SIGMOID = "softmax", "sigmoid"  # in the table below, the two that are compared: at their optimum, or given
Row = tuple[str, str, str]


@dataclass(frozen=True)
class Comparison:
    """Two rows of control maps.

    Attributes:
        first: head, scalar and weights of the row that is subtracted.
        second: of the row from which it is subtracted.
        words: what the difference is, in words.
    """

    first: Row
    second: Row
    words: str


_PUBLISHED, _SIGNED = (SIGMOID, "logit", "truncated"), (SOFTMAX, "logit", "signed")
COMPARISONS: dict[str, Comparison] = {
    # The paper's printed gain mixes two changes, the head and the truncation; then each of them alone.
    "sigmoid_as_published": Comparison(_SIGNED, _PUBLISHED, "truncated sigmoid minus signed softmax"),
    "sigmoid_vs_softmax_signed": Comparison(
        _SIGNED, (SIGMOID, "logit", "signed"), "signed sigmoid minus signed softmax"
    ),
    "sigmoid_vs_softmax_truncated": Comparison(
        (SOFTMAX, "logit", "truncated"), _PUBLISHED, "truncated sigmoid minus truncated softmax"
    ),
    "truncation_softmax": Comparison(_SIGNED, (SOFTMAX, "logit", "truncated"), "truncated minus signed, softmax head"),
    "truncation_sigmoid": Comparison((SIGMOID, "logit", "signed"), _PUBLISHED, "truncated minus signed, sigmoid head"),
    # What needs no second head: the softmax head's own contrasts, which its predictions do fix.
    "centring_softmax": Comparison(_SIGNED, (SOFTMAX, "centred", "signed"), "centred minus as trained, softmax head"),
    "centring_softmax_truncated": Comparison(
        (SOFTMAX, "logit", "truncated"),
        (SOFTMAX, "centred", "truncated"),
        "centred minus as trained, both truncated, softmax head",
    ),
    "log_odds_softmax": Comparison(_SIGNED, (SOFTMAX, "log_odds", "signed"), "log-odds minus logit, softmax head"),
    "finer_softmax": Comparison(_SIGNED, (SOFTMAX, "finer", "signed"), "Finer-CAM minus CAM, softmax head"),
    "sigmoid_vs_softmax_centred": Comparison(
        (SOFTMAX, "centred", "signed"), _PUBLISHED, "truncated sigmoid minus centred softmax"
    ),
    "sigmoid_signed_vs_softmax_centred": Comparison(
        (SOFTMAX, "centred", "signed"), (SIGMOID, "logit", "signed"), "signed sigmoid minus centred softmax"
    ),
    "sigmoid_vs_softmax_centred_truncated": Comparison(
        (SOFTMAX, "centred", "truncated"), _PUBLISHED, "truncated sigmoid minus centred and truncated softmax"
    ),
    "sigmoid_signed_vs_log_odds": Comparison(
        (SOFTMAX, "log_odds", "signed"), (SIGMOID, "logit", "signed"), "signed sigmoid minus softmax log-odds"
    ),
    # What knows no class, or nothing at all.
    "best_shift_vs_sigmoid_truncated": Comparison(
        (SOFTMAX, SHIFTED, "signed"), _PUBLISHED, "truncated sigmoid minus shifted softmax"
    ),
    "class_free_vs_sigmoid_truncated": Comparison(
        (NO_HEAD, CLASS_FREE, "signed"), _PUBLISHED, "truncated sigmoid minus sum of the feature maps"
    ),
    "class_free_vs_sigmoid_signed": Comparison(
        (NO_HEAD, CLASS_FREE, "signed"), (SIGMOID, "logit", "signed"), "signed sigmoid minus sum of the feature maps"
    ),
    "random_positive_vs_sigmoid_truncated": Comparison(
        (NO_HEAD, RANDOM_POSITIVE, "signed"), _PUBLISHED, "truncated sigmoid minus random positive weights"
    ),
    "centre_vs_sigmoid_truncated": Comparison(
        (NO_HEAD, CENTRE, "signed"), _PUBLISHED, "truncated sigmoid minus one centred square"
    ),
    **{
        f"wrong_class_{name}_{weights}": Comparison(
            (head, "logit", weights),
            (head, WRONG_CLASS, weights),
            f"wrong class minus right class, {weights} {name}",
        )
        for name, head in (("softmax", SOFTMAX), ("sigmoid", SIGMOID))
        for weights in WEIGHTS
    },
}
"""Comparisons by name. Heads stand for the two that are compared; claims and tables take them from here."""
FURTHER_COMPARISONS: dict[str, Comparison] = {
    # What all classes share taken out of both heads, before they are compared where a map's zero counts.
    "sigmoid_centred_vs_softmax_centred": Comparison(
        (SOFTMAX, "centred", "signed"), (SIGMOID, "centred", "signed"), "centred sigmoid minus centred softmax"
    ),
    "centring_sigmoid": Comparison(
        (SIGMOID, "logit", "signed"), (SIGMOID, "centred", "signed"), "centred minus as trained, sigmoid head"
    ),
    # What a measure of localisation must see, if it sees anything.
    **{
        f"negative_{name}_{weights}": Comparison(
            (head, scalar, weights), (head, scalar, NEGATIVES[weights]), f"negative minus the map, {words}"
        )
        for name, head, scalar, weights, words in (
            ("softmax", SOFTMAX, "logit", "signed", "softmax"),
            ("sigmoid", SIGMOID, "logit", "signed", "signed sigmoid"),
            ("sigmoid", SIGMOID, "logit", "truncated", "truncated sigmoid"),
            ("centre", NO_HEAD, CENTRE, "signed", "centred Gaussian"),
            ("class_free", NO_HEAD, CLASS_FREE, "signed", "sum of the feature maps"),
        )
    },
    "whole_image_vs_sigmoid_truncated": Comparison(
        (NO_HEAD, WHOLE_IMAGE, "signed"), _PUBLISHED, "truncated sigmoid minus the whole image"
    ),
    "fixed_box_vs_sigmoid_truncated": Comparison(
        (NO_HEAD, FIXED_BOX, "signed"), _PUBLISHED, "truncated sigmoid minus the best fixed box"
    ),
}
"""Comparisons that were added later, of all metrics."""
GAINS = {
    "centring": "centring",
    "truncation": "truncation",
    "sigmoid": "the truncated sigmoid map instead",
}
"""Changes of any softmax head's signed map, in words."""
