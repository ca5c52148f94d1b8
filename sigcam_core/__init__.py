"""Dual-branch sigmoid heads, class activation maps, and their evaluation.

The companion module of *Beyond Softmax: Dual-Branch Sigmoid Architecture for Accurate Class Activation Maps*
(Oh and Noh, BMVC 2025). Its folders are the paper's nouns (``backbones``, ``split``, ``dual``, ``cams``,
``localization``, ``pointing``, ``fidelity``), above them the stages of the pipeline (``prepare``, ``train``,
``evaluate``, ``summarise``), and what users ask (``ask``). Names are loaded when they are asked for (PEP 562).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
