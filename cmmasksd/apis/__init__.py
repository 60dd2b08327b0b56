"""Python API."""

from cmmasksd.apis.inferencer import ReferringInferencer, ReferringResult

__all__ = ['ReferringInferencer', 'ReferringResult']
