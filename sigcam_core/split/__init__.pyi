from .modules import TokensToMaps as TokensToMaps
from .proposals import Split as Split
from .split import split_classifier as split_classifier
