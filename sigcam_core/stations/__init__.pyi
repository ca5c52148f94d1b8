from .evidence import ensure_evidence as ensure_evidence
from .evidence import ensure_evidence_of_all as ensure_evidence_of_all
from .heads import ensure_classifier as ensure_classifier
from .heads import ensure_sigmoid_head as ensure_sigmoid_head
from .heads import seconds_of_training as seconds_of_training
from .manifest import ensure_manifest as ensure_manifest
from .records import record_of as record_of
