"""The package's registries: scope ``cmmasksd``, each a direct child of mmengine's root registry.

A config of this package (``default_scope = 'cmmasksd'``) writes our types bare and borrowed ones with their scope
(``mmseg.FCNHead``); a config of another OpenMMLab project writes ``cmmasksd.ReferringSegmentor`` after
``custom_imports = dict(imports=['cmmasksd.registry'])``. Nothing but this file is imported until a type is asked for:
each registry imports the room named in ``locations`` on its first miss.

Once this file is imported, mmengine also opens our configs by their package: ``_base_ = 'cmmasksd::cm_masksd/X.py'``.
"""

from mmengine import registry as mmengine
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

SCOPE = 'cmmasksd'
# mmengine's table of the packages whose .mim folder it opens for ``package::config``. A module's name serves as that of
# a distribution, and mmengine finds its folder in an editable install too.
MODULE2PACKAGE[SCOPE] = __name__


def _child(parent: Registry, location: str = 'registry') -> Registry:
    return Registry(parent.name, parent=parent, scope=SCOPE, locations=[f'cmmasksd.{location}'])


DATASETS = _child(mmengine.DATASETS, 'datasets')
FUNCTIONS = _child(mmengine.FUNCTIONS, 'datasets')
TRANSFORMS = _child(mmengine.TRANSFORMS, 'datasets.transforms')
MODELS = _child(mmengine.MODELS, 'models')
METRICS = _child(mmengine.METRICS, 'evaluation')
EVALUATOR = _child(mmengine.EVALUATOR, 'evaluation')
HOOKS = _child(mmengine.HOOKS, 'engine')
LOOPS = _child(mmengine.LOOPS, 'engine')
OPTIM_WRAPPERS = _child(mmengine.OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(mmengine.OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
MODEL_WRAPPERS = _child(mmengine.MODEL_WRAPPERS, 'engine')
VISUALIZERS = _child(mmengine.VISUALIZERS, 'visualization')

# We add nothing to these; a config may still name mmengine's types in our scope.
DATA_SAMPLERS = _child(mmengine.DATA_SAMPLERS)
LOG_PROCESSORS = _child(mmengine.LOG_PROCESSORS)
OPTIMIZERS = _child(mmengine.OPTIMIZERS)
PARAM_SCHEDULERS = _child(mmengine.PARAM_SCHEDULERS)
RUNNERS = _child(mmengine.RUNNERS)
VISBACKENDS = _child(mmengine.VISBACKENDS)
