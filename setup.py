"""Installs cmmasksd; the requirement files are the one place where dependencies are named."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def read_version() -> str:
    """The version written in the package, read without importing it (that would need its dependencies)."""
    return re.search(r"^__version__ = '([^']+)'", (ROOT / 'cmmasksd/__init__.py').read_text(), re.MULTILINE).group(1)


def read_requirements(name: str) -> list[str]:
    """The requirements of ``requirements/<name>.txt``, without its comments."""
    lines = (ROOT / f'requirements/{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


TESTS = read_requirements('tests')
OPTIONAL = read_requirements('optional')
# cmmasksd/.mim links to these: where mmengine and mim look for them once they are installed.
SHIPPED = [
    'model-index.yml',
    *(f'configs/**/*.{kind}' for kind in ('py', 'yml', 'md')),
    'tools/**/*.py',
    'tools/**/*.sh',
    'tools/**/*.html',
    'demo/*.py',
]
OF_A_CHECKOUT = ['tools/quickstart.sh', 'tools/run_tests.sh', 'tools/build_docs.sh']

setup(
    name='cmmasksd',
    version=read_version(),
    description='CM-MaskSD: cross-modality masked self-distillation for referring image segmentation',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    keywords='referring image segmentation, vision and language, CLIP, self-distillation, OpenMMLab',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=['cmmasksd', 'cmmasksd.*']),
    package_data={'cmmasksd': [f'.mim/{files}' for files in SHIPPED]},
    exclude_package_data={'cmmasksd': [f'.mim/{script}' for script in OF_A_CHECKOUT]},
    entry_points={'console_scripts': ['cmmasksd = cmmasksd.cli:main']},
    python_requires='>=3.10,<3.13',
    install_requires=read_requirements('runtime'),
    extras_require={
        'onedl': read_requirements('mminstall'),
        'openmmlab': read_requirements('openmmlab'),
        'tests': TESTS,
        'docs': read_requirements('docs'),
        'dev': TESTS + read_requirements('dev'),
        'annotation': read_requirements('annotation'),
        'onnx': read_requirements('onnx'),
        'web': read_requirements('web'),
        **{re.match(r'[\w-]+', line).group(): [line] for line in OPTIONAL},
    },
)
