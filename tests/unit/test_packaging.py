"""What a wheel of the package holds: all that the checkout has, so that no checkout is needed."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent.parent


def test_files_that_are_no_python_are_named_as_the_packages_data() -> None:
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    named = [f"{package.replace('.', '/')}/{pattern}" for package, patterns in settings.items() for pattern in patterns]
    files = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "labsupport").rglob("*")
             if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert {file for file in files if not any(fnmatch(file, pattern) for pattern in named)} == set()
    assert {pattern for pattern in named if not any(fnmatch(file, pattern) for file in files)} == set()


def test_every_folder_with_python_is_a_package() -> None:
    """setuptools leaves out a folder without `__init__.py`."""
    folders = {path.parent for path in (CHECKOUT / "labsupport").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
