from .metrics import LocalizationAccuracy as LocalizationAccuracy
from .metrics import MaxBoxAcc as MaxBoxAcc
from .metrics import PixelAP as PixelAP
from .protocol import best_iou_per_threshold as best_iou_per_threshold
