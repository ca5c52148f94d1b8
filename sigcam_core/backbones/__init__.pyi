from .networks import BACKBONES as BACKBONES
from .networks import IMAGENET_CLASSES as IMAGENET_CLASSES
from .networks import build as build
from .networks import input_format as input_format
