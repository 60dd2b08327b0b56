"""Text encoders."""

from cmmasksd.models.text_encoders.open_clip_text import OpenCLIPTextTransformer

__all__ = ['OpenCLIPTextTransformer']
