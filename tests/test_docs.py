"""The documents say what is so."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import click
import pytest

from pipelines.cli import COMMANDS, photomend

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "data" / "README.md"]
MODULES = sorted(path for floor in ("dataset_tools", "pix2pix", "pipelines") for path in (ROOT / floor).rglob("*.py"))


def public(tree: ast.Module) -> list[ast.AST]:
    found: list[ast.AST] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            found.append(node)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_and_public_name_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree) or path.name == "__init__.py"
    missing = [node.name for node in public(tree) if not ast.get_docstring(node)]  # type: ignore[attr-defined,arg-type]
    assert missing == []


def test_no_public_function_has_the_name_of_a_module() -> None:
    names = {path.stem for path in MODULES} - {"__init__"}
    for package in ("dataset_tools", "pix2pix", "pipelines"):
        exported = __import__(package).__all__
        assert not names & set(exported)
        for name in exported:
            assert callable(getattr(__import__(package), name))


def options_of_all_commands() -> set[str]:
    context = click.Context(photomend)
    found = {"--help", "--version", "--logdir"}  # the last one of tensorboard
    for name in COMMANDS:
        command = photomend.get_command(context, name)  # type: ignore[attr-defined]
        found |= {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_and_command_in_the_documents_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text)) <= options_of_all_commands()
    assert set(re.findall(r"photomend ([a-z]+)\b(?=[^\n]*`|\s+[A-Za-z./]*[/A-Z])", text)) <= {*COMMANDS}
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake (demo|test|check|lint|clean|soak|bench)\b", text)) <= targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), target


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in COMMANDS if f"photomend {name}" not in text] == []


def test_every_module_is_in_the_picture_of_the_house() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    missing = [path.stem for path in MODULES if path.stem not in text and path.parent.name != "cli" and path.stem != "__init__"]
    assert missing == []


def test_the_apt_line_is_the_same_everywhere() -> None:
    from dataset_tools.errors import APT_LINE

    packages = APT_LINE.partition("install -y ")[2]
    for name in ("README.md", "Makefile", ".ci/run"):
        assert packages in (ROOT / name).read_text("utf-8"), name


def test_pyproject_holds_only_the_build_system_and_ruff() -> None:
    value = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert value.keys() == {"build-system", "tool"}
    assert value["tool"].keys() == {"ruff"}
