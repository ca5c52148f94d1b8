from .cams import EXTRA_METHODS as EXTRA_METHODS
from .cams import METHODS as METHODS
from .cams import cam_maps as cam_maps
from .cams import normalize_maps as normalize_maps
from .common.errors import SigcamError as SigcamError
from .dual import DualBranch as DualBranch
from .dual import class_balanced_bce as class_balanced_bce
