"""The site's settings. ``bash tools/build_docs.sh`` builds it; nothing is fetched, and a warning is an error.

The source folder is the repository's root, so that one relative link leads from page to page on the site and on a
forge alike. Sphinx with MyST was chosen over Zensical after building these pages with both: Zensical took under a
second, but passed links that lead out of ``docs/`` without a word, and reads no docstrings by itself.
"""

from __future__ import annotations

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

import cmmasksd

project = 'cmmasksd'
version = release = cmmasksd.__version__
root_doc = 'docs/index'
include_patterns = [
    'docs/**',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    'configs/README.md',
    'configs/*/README.md',
    'projects/*/README.md',
]
exclude_patterns = ['.*', 'build', 'cmmasksd', 'data', 'dist', 'docs/_*', 'shared', 'tests', 'tools', 'work_dirs']
extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx_copybutton']

myst_heading_anchors = 3
nb_execution_mode = 'off'  # a test executes the notebook; the site shows what it left

autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_typehints_format = 'short'
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = 'furo'
html_title = 'cmmasksd'
html_static_path = ['_static']
html_css_files = ['site.css']
html_additional_pages = {'index': 'moved.html'}
templates_path = ['_templates']
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_use_index = False


def setup(app: Sphinx) -> None:
    """Sphinx's hook: tables in CSV are shown as they are, for Pygments does not know them."""
    app.add_lexer('csv', TextLexer)
