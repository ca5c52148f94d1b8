from .maps import EXTRA_METHODS as EXTRA_METHODS
from .maps import METHODS as METHODS
from .maps import cam_maps as cam_maps
from .maps import maps_from_features as maps_from_features
from .score_maps import normalize_maps as normalize_maps
