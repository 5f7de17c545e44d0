"""What leads from the package's metadata to the repository, once its address is known (``REPOSITORY``)."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class LinksHook(MetadataHookInterface):
    """Gives the package its README, whose links must be absolute on PyPI, and its addresses."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add them to the metadata of ``pyproject.toml``."""
        package = runpy.run_path(str(Path(self.root, "airflow_provider_workflows", "__init__.py")))
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        repository: str = package["REPOSITORY"]
        metadata["urls"] = {}
        if repository:
            there = f"{repository}/blob/v{package['__version__']}"
            text = re.sub(r"\]\((?!\w+:|#)", f"]({there}/", text)
            metadata["urls"] = {
                # Airflow's page of providers leads to this one.
                "Documentation": f"{there}/README.md",
                "Changelog": f"{there}/CHANGELOG.md",
                "Source": repository,
                "Issues": f"{repository}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
