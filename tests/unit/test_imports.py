"""How the modules of the package depend on one another. Layers and circles of packages are import-linter's (pyproject.toml)."""

from graphlib import TopologicalSorter

import grimp


def test_no_module_imports_itself_through_others():
    """Type imports count too: a circle means that no module in it can be read, or tested, without the others."""
    graph = grimp.build_graph("provisioner", cache_dir=None)
    TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()
