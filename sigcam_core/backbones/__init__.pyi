from .formats import BACKBONES as BACKBONES
from .formats import IMAGENET_CLASSES as IMAGENET_CLASSES
from .formats import InputFormat as InputFormat
from .formats import input_format as input_format
from .networks import build as build
