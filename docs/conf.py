"""How Sphinx makes the site: `make docs`."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

import statekeep  # noqa: E402
from statekeep.domain.model import Model  # noqa: E402
from tools import llms  # noqa: E402

project = "Statekeep"
author = "Statekeep contributors"
copyright = author  # noqa: A001 - the name that Sphinx looks for
version = release = statekeep.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxcontrib.mermaid",
]

html_theme = "furo"
html_title = f"Statekeep {release}"
html_copy_source = True
html_theme_options = {
    "source_repository": "https://github.com/statekeep/statekeep/",
    "source_branch": "main",
    "source_directory": "docs/",
}
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = ">>> "

myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
# Markdown that names a heading by its anchor means it; the toctrees say what belongs where.
suppress_warnings = ["toc.excluded"]

autodoc_default_options = {"exclude-members": "model_config, model_post_init"}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# Nothing is looked up on other sites, so names of other packages lead nowhere. Ours must lead somewhere if they are
# public.
PUBLIC = {
    line.strip().replace(": ", ".") for line in (ROOT / "tests/unit/public_names.txt").read_text("utf-8").splitlines()
}
# autodoc would import them with TYPE_CHECKING set, which some of their models do not survive.
for name in sorted({name.rpartition(".")[0] for name in PUBLIC}):
    importlib.import_module(name)

nitpick_ignore_regex = [("py:.*", r"(?!statekeep\.).*")]

STAND_INS = {
    "changelog": ROOT / "CHANGELOG.md",
    "code-of-conduct": ROOT / "CODE_OF_CONDUCT.md",
    "contributing": ROOT / "CONTRIBUTING.md",
    "security": ROOT / "SECURITY.md",
}
"""Pages of the site whose text is a file of the repository."""

REPOSITORY = "https://github.com/statekeep/statekeep"
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")


def relinked(text: str, written_in: Path, docname: str) -> str:
    """Return Markdown with its links as the site needs them.

    Those between files of ``docs`` stay. A file that the site has under another name is linked there, and any other
    file on GitHub.

    Args:
        text: the Markdown.
        written_in: the folder that its links are relative to.
        docname: the page that it becomes.
    """

    def change(link: re.Match[str]) -> str:
        path, anchor = link[1], link[2] or ""
        there = (written_in / path).resolve()
        if ":" in path or not there.exists():
            return link[0]
        page = next((DOCS / f"{name}.md" for name, file in STAND_INS.items() if file == there), there)
        if page.is_relative_to(DOCS) and page.suffix == ".md":
            return os.path.relpath(page, (DOCS / docname).parent) + anchor
        kind = "tree" if there.is_dir() else "blob"
        return f"{REPOSITORY}/{kind}/main/{there.relative_to(ROOT).as_posix()}{anchor}"

    return LINK.sub(change, text)


def read_source(_app: object, docname: str, source: list[str]) -> None:
    file = STAND_INS.get(docname)
    text, folder = (source[0], (DOCS / docname).parent) if file is None else (file.read_text("utf-8"), ROOT)
    source[0] = relinked(text, folder, docname)


def sign(
    _app: object, _what: str, _name: str, thing: Any, _options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Show fields and defaults of a model; its constructor takes ``**values``, and types are long."""
    if not (inspect.isclass(thing) and issubclass(thing, Model) and thing.model_fields):
        return signature, returns
    shown = []
    for name, field in thing.model_fields.items():
        if field.is_required():
            shown.append(name)
        else:
            shown.append(f"{name}=..." if field.default_factory else f"{name}={field.default!r}")
    return f"(*, {', '.join(shown)})", None


def resolve(_app: object, env: Any, node: Any, contnode: Any) -> Any:
    """Let a name lead to where the API describes it, wherever it is defined; what is not public leads nowhere."""
    target = str(node.get("reftarget", ""))
    if node.get("refdomain") != "py" or not target:
        return None
    objects = env.get_domain("py").objects
    ends = target.lstrip("~.").removeprefix("statekeep.")
    candidates = [name for name in objects if name.endswith(f".{ends}")] or [
        name for name in objects if name.rpartition(".")[2] == ends.rpartition(".")[2]
    ]
    wanted = sorted(candidates, key=lambda name: (name.count("."), name))
    if not wanted:
        is_public = any(name.endswith(f".{ends}") for name in PUBLIC)
        return None if is_public else contnode
    name = wanted[0]
    found = objects[name]
    from sphinx.util.nodes import make_refnode

    return make_refnode(env.app.builder, node["refdoc"], found.docname, found.node_id, contnode, name)


def finish(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.name == "html":
        llms.write(DOCS, Path(app.outdir))


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", read_source)
    app.connect("autodoc-process-signature", sign)
    app.connect("missing-reference", resolve)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
