"""Text encoders."""

from cmmasksd.models.text_encoders.hugging_face_text import HuggingFaceTextEncoder
from cmmasksd.models.text_encoders.open_clip_text import OpenCLIPTextTransformer

__all__ = ['HuggingFaceTextEncoder', 'OpenCLIPTextTransformer']
