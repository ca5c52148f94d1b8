"""Methods and metrics as people write them: names only, so that a page that names them loads no network.

A new method or metric gets its title here and everything else where it is defined; tests compare the names.
"""

METHOD_TITLES = {
    "cam": "CAM",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "xgradcam": "XGrad-CAM",
    "layercam": "Layer-CAM",
    "hirescam": "HiResCAM",
    "scorecam": "Score-CAM",
}
"""Titles of :data:`sigcam_core.cams.methods.CAM_METHODS`, in the order of tables."""
WSOL_TITLES = {
    "top1_cls": "Top-1 Cls",
    "top1_loc": "Top-1 Loc",
    "gt_loc": "GT-Loc",
    "maxboxacc_v2": "MaxBoxAccV2",
    "maxboxacc_v2_outer": "V2, outer contours",
    "boxacc_v2_otsu": "V2, Otsu's threshold",
    "boxacc_v2_half": "V2, upper half of the pixels",
    "pxap": "PxAP",
}
POINTING_TITLES = {
    "pointing_game": "pointing game",
    "energy_pointing": "energy in box",
    "energy_pointing_mask": "energy in mask",
}
FIDELITY_TITLES = {
    "average_drop": "average drop",
    "increase_in_confidence": "increase in confidence",
    "coverage": "coverage",
    "coherency": "coherency",
    "adcc": "ADCC",
}
PERTURBATION_TITLES = {"insertion_auc": "insertion AUC", "deletion_auc": "deletion AUC"}
WSOL_METRICS = tuple(WSOL_TITLES)
"""Columns of the paper's Table 1."""
POINTING_METRICS = tuple(POINTING_TITLES)
FIDELITY_METRICS = ("average_drop", "increase_in_confidence", "coverage")
"""Columns of the paper's Table 2, and coverage, without which they cannot be read."""
ADCC_METRICS = ("coherency", "coverage", "average_drop", "adcc")
"""ADCC and its three terms."""
PERTURBATION_METRICS = tuple(PERTURBATION_TITLES)
METRIC_TITLES = WSOL_TITLES | POINTING_TITLES | FIDELITY_TITLES | PERTURBATION_TITLES
"""Titles of the metrics of all families in :data:`sigcam_core.evaluate.schema.FAMILIES`."""
