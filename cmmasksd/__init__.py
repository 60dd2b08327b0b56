"""CM-MaskSD: cross-modality masked self-distillation for referring image segmentation."""

__version__ = '0.1.0'
