"""`convcost check --base` of packages: each revision is counted from its own files, or nothing is decided."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from budgeted_project import commit, edit, git
from fork_server import fast_python

from convcost.cli import main
from convcost.nn.load.source_tree import sources_of, working_tree
from convcost.nn.load.user_code import PACKAGE_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "from torch import nn\nfrom .sizes import WIDTH\ndef net():\n    return nn.Conv2d(3, WIDTH, 3)\n"
PARAMS = 28  # 3·3·3 weights and a bias for each output channel
CONFIG = '[budget.net]\ntarget = "{target}"\ninput = "1x3x8x8"\nparams = {{ max = "1 k", grow = "0 %" }}\n'
PYPROJECT = '[project]\nname = "mypkg"\nversion = "1"\n'
METADATA = "Metadata-Version: 2.1\nName: mypkg\nVersion: 1\n"


def write(package: Path) -> Path:
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    (package / "sizes.py").write_text("WIDTH = 8\n")
    return package


def grow(package: Path) -> None:
    edit(package / "sizes.py", "8", "16")


class Project:
    """A repository with a package, of which a copy is installed.

    Attributes:
        folder: The repository.
        site: A folder of installed packages.
    """

    def __init__(self, folder: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.site = folder, site
        site.mkdir()
        folder.mkdir()
        git(folder, "init", "--quiet", "--initial-branch=main")
        (folder / "pyproject.toml").write_text(PYPROJECT)
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(site))

    def install(self, package: Path) -> None:
        """Copy the package as it is now, with its metadata."""
        shutil.copytree(package, self.site / package.name)
        (self.site / "mypkg-1.dist-info").mkdir()
        (self.site / "mypkg-1.dist-info" / "METADATA").write_text(METADATA)

    def commit(self, target: str) -> None:
        (self.folder / "convcost.toml").write_text(CONFIG.format(target=target))
        commit(self.folder)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    return Project(tmp_path / "project", tmp_path / "site", monkeypatch)


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["check", "--base", "HEAD", "--format", "json", *words])
    return code, json.loads(capsys.readouterr().out)["budgets"][0]


def require_growth(capsys: pytest.CaptureFixture[str]) -> None:
    code, budget = checked(capsys)
    (metric,) = budget["metrics"]
    assert (code, metric["verdict"]) == (1, "fail"), (metric, budget)
    assert (metric["baseline"], metric["actual"]) == (8 * PARAMS, 16 * PARAMS)


def require_doubt(capsys: pytest.CaptureFixture[str], reason: str) -> None:
    code, budget = checked(capsys)
    (metric,) = budget["metrics"]
    assert (code, metric["verdict"]) == (0, "inconclusive"), (metric, budget)
    assert metric["reason"].startswith(reason)
    assert checked(capsys, "--strict")[0] == 3


@pytest.mark.parametrize("src", ["src", "lib", "."])
@pytest.mark.parametrize("target", ["mypkg:net", "models.py:net"])
def test_each_revision_of_an_installed_package_is_its_own(
    src: str, target: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    package = write(project.folder / src / "mypkg")
    if src == "lib":
        edit(
            project.folder / "pyproject.toml",
            'version = "1"',
            'version = "1"\n[tool.setuptools.package-dir]\n"" = "lib"',
        )
    (project.folder / "models.py").write_text("from mypkg import net\n")
    project.install(package)
    project.commit(target)
    grow(package)
    require_growth(capsys)


def test_the_working_tree_is_counted_without_a_base_too(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    package = write(project.folder / "src" / "mypkg")
    project.install(package)
    project.commit("mypkg:net")
    grow(package)
    assert main(["check", "--format", "json"]) == 0
    (metric,) = json.loads(capsys.readouterr().out)["budgets"][0]["metrics"]
    assert metric["actual"] == 16 * PARAMS


def test_a_configuration_in_a_folder_of_the_repository(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = write(project.folder / "src" / "mypkg")
    project.install(package)
    (project.folder / "ci").mkdir()
    (project.folder / "ci" / "convcost.toml").write_text(CONFIG.format(target="mypkg:net"))
    commit(project.folder)
    monkeypatch.chdir(project.folder / "ci")
    grow(package)
    require_growth(capsys)


@pytest.mark.parametrize("by", ["path", "hook"])
def test_an_editable_install_is_each_revisions_own(
    by: str, project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = write(project.folder / "src" / "mypkg")
    project.commit("mypkg:net")

    class Hook:
        """What some build tools put before all other finders."""

        @staticmethod
        def find_spec(name: str, *_: object) -> Any:
            return PathFinder.find_spec(name, [str(package.parent)]) if name == "mypkg" else None

    if by == "path":
        monkeypatch.syspath_prepend(str(package.parent))
    else:
        monkeypatch.setattr(sys, "meta_path", [Hook, *sys.meta_path])
    grow(package)
    require_growth(capsys)


def test_a_namespace_package_is_each_revisions_own(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    package = write(project.folder / "src" / "space" / "mypkg")
    shutil.copytree(package, project.site / "space" / "mypkg")
    other = project.site / "space" / "other"
    other.mkdir()
    (other / "__init__.py").write_text("")  # installed alone, by another project
    edit(package / "__init__.py", "from torch", "import space.other\nfrom torch")
    project.commit("space.mypkg:net")
    grow(package)
    require_growth(capsys)


def test_with_the_import_path_on_the_working_tree(project: Project) -> None:
    package = write(project.folder / "python" / "mypkg")
    project.commit("mypkg:net")
    grow(package)
    done = subprocess.run(
        [fast_python(), "-m", "convcost", "check", "--base", "HEAD"],
        cwd=project.folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(package.parent), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "448 is 100 % over the baseline of 224" in done.stdout) == (1, True), done


def test_an_undeclared_folder_of_packages_decides_nothing(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    package = write(project.folder / "code" / "mypkg")
    project.install(package)
    project.commit("mypkg:net")
    grow(package)
    require_doubt(capsys, f"mypkg is imported from {project.site}/mypkg/__init__.py, not from the files of HEAD (")


def test_nor_for_a_file_that_imports_from_it(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    package = write(project.folder / "code" / "mypkg")
    (project.folder / "models.py").write_text("from mypkg import net\n")
    project.install(package)
    project.commit("models.py:net")
    grow(package)
    require_doubt(capsys, f"mypkg is imported from {project.site}/mypkg/__init__.py, not from the files of HEAD (")


def test_a_package_of_another_project_decides_nothing(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    write(project.site / "foreign")
    project.commit("foreign:net")
    require_doubt(capsys, f"foreign is imported from {project.site}/foreign/__init__.py, not from the files of HEAD (")


def test_compiled_parts_that_no_checkout_has_decide_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    package = write(project.folder / "src" / "mypkg")
    project.install(package)
    (project.site / "mypkg" / f"fast{EXTENSION_SUFFIXES[0]}").write_bytes(b"")
    project.commit("mypkg:net")
    grow(package)
    require_doubt(capsys, f"mypkg is imported from {project.site}/mypkg/__init__.py, not from the files of HEAD (")


def test_a_sibling_that_a_revision_lacks_is_not_an_installed_namesake(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.site / "blocks.py").write_text("WIDTH = 8\n")
    (project.folder / "models.py").write_text(PACKAGE.replace(".sizes", "blocks"))
    project.commit("models.py:net")
    (project.folder / "blocks.py").write_text("WIDTH = 16\n")
    require_doubt(capsys, f"blocks is imported from {project.site}/blocks.py, not from the files of HEAD (")


def test_a_module_of_the_targets_name_that_was_loaded_before_is_neither_revisions(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ModuleType("models")
    other.__file__ = str(project.site / "models.py")
    monkeypatch.setitem(sys.modules, "models", other)
    models = project.folder / "models.py"
    models.write_text("from torch import nn\ndef net():\n    return nn.Conv2d(3, 8, 3)\n")
    project.commit("models.py:net")
    edit(models, "8", "16")
    require_growth(capsys)


@pytest.mark.parametrize("where", ["project", "site"])
def test_a_file_that_both_revisions_share_decides_nothing(
    where: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    file = {"project": project.folder, "site": project.site}[where] / "shared.py"
    file.write_text("from torch import nn\ndef net():\n    return nn.Conv2d(3, 8, 3)\n")
    project.commit(f"{file}:net")
    require_doubt(capsys, f"{file}:net is imported from {file}, not from the files of HEAD (")


def test_a_network_as_data_that_both_revisions_share_decides_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    file = project.folder / "net.toml"
    file.write_text('input = [3, 8, 8]\n[[layers]]\nblock = "standard"\nout_channels = 8\nkernel_size = 3\n')
    project.commit(str(file))
    _, budget = checked(capsys)
    assert budget["metrics"][0]["verdict"] != "pass"


def test_a_test_that_has_imported_the_installed_package_compares_the_revisions(project: Project) -> None:
    package = write(project.folder / "src" / "mypkg")
    project.install(package)
    tests = project.folder / "tests"
    tests.mkdir()
    (tests / "conftest.py").write_text("import mypkg\nimport convcost.pytest\n")
    (tests / "test_cost.py").write_text(
        "import convcost, mypkg\n"
        "def test_cost():\n"
        "    (metric,) = convcost.check(base='HEAD').to_dict()['budgets'][0]['metrics']\n"
        f"    assert (metric['baseline'], metric['actual'], metric['verdict']) == ({8 * PARAMS}, {16 * PARAMS}, 'fail')\n"
        f"    assert mypkg.__file__.startswith({str(project.site)!r})\n"
    )
    project.commit("mypkg:net")
    grow(package)
    done = subprocess.run(
        [fast_python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=project.folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(project.site), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_package_of_sources_does_not_hide_an_installed_one(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where `src` is imported by its own name, what is in it is not."""
    for folder in (project.folder / "src", project.folder / "src" / "blocks"):
        folder.mkdir()
        (folder / "__init__.py").write_text("")
    (project.folder / "src" / "net.py").write_text(PACKAGE.replace(".sizes", "blocks"))
    (project.site / "blocks.py").write_text("WIDTH = 8\n")
    project.commit("src.net:net")
    code, budget = checked(capsys)
    assert (code, budget["metrics"][0]["verdict"], budget["metrics"][0]["actual"]) == (0, "pass", 8 * PARAMS)


def test_a_package_anywhere_in_the_repository_decides_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = write(project.folder / "libs" / "helper" / "src" / "mypkg")
    service = project.folder / "services" / "api"
    service.mkdir(parents=True)
    (service / "models.py").write_text("from mypkg import net\n")
    (service / "convcost.toml").write_text(CONFIG.format(target="models.py:net"))
    project.install(package)
    commit(project.folder)
    monkeypatch.chdir(service)
    grow(package)
    require_doubt(capsys, f"mypkg is imported from {project.site}/mypkg/__init__.py, not from the files of HEAD (")


SETUP_CFG = "[options]\npackage_dir =\n    mypkg = lib\n"
RENAMED = {
    "setuptools": ("pyproject.toml", '[tool.setuptools.package-dir]\nmypkg = "lib"\n'),
    "hatch": ("pyproject.toml", '[tool.hatch.build.targets.wheel.sources]\nlib = "mypkg"\n'),
    "project": ("pyproject.toml", '[project]\nname = "mypkg"\n'),
    "setup.cfg": ("setup.cfg", SETUP_CFG),
    "setup.py": ("setup.py", "from setuptools import setup\nsetup(package_dir={'mypkg': 'lib'}, version='1')\n"),
}


@pytest.mark.parametrize("how", RENAMED)
def test_a_package_whose_folder_has_another_name_decides_nothing(
    how: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.folder / "pyproject.toml").unlink()
    file, text = RENAMED[how]
    (project.folder / file).write_text(text)
    write(project.folder / "lib")
    shutil.copytree(project.folder / "lib", project.site / "mypkg")
    (project.folder / "models.py").write_text("from mypkg import net\n")
    project.commit("models.py:net")
    grow(project.folder / "lib")
    require_doubt(capsys, f"mypkg is imported from {project.site}/mypkg/__init__.py, not from the files of HEAD (")


def test_a_package_whose_name_begins_as_convcosts_is_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    zoo = ModuleType("convcost_zoo")
    zoo.__file__ = f"{PACKAGE_FOLDER.removesuffix(os.sep)}_zoo/__init__.py"
    monkeypatch.setitem(sys.modules, "convcost_zoo", zoo)
    assert sources_of(working_tree(tmp_path), "convcost_zoo:net", tmp_path, ()).doubted == {"convcost_zoo"}


READS = {
    "data": "import json\nWIDTH = json.load(open({path!r}))\n",
    "script": "import runpy\nWIDTH = runpy.run_path({path!r})['WIDTH']\n",
    "module": (
        "from importlib.util import module_from_spec, spec_from_file_location\n"
        "spec = spec_from_file_location('sizes', {path!r})\nmodule = module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\nWIDTH = module.WIDTH\n"
    ),
    "descriptor": "import os, pathlib\nWIDTH = int(os.read(os.open(pathlib.Path({path!r}), os.O_RDONLY), 9))\n",
}


@pytest.mark.parametrize("how", READS)
def test_a_changed_file_of_the_working_tree_that_the_revision_reads_decides_nothing(
    how: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    is_data = how in {"data", "descriptor"}
    sizes = project.folder / "sizes" / ("width.json" if is_data else "width.py")
    sizes.parent.mkdir()
    sizes.write_text("8" if is_data else "WIDTH = 8\n")
    code = READS[how].format(path=str(sizes))
    (project.folder / "models.py").write_text(f"{code}{PACKAGE.replace('from .sizes import WIDTH', '')}")
    project.commit("models.py:net")
    assert checked(capsys)[1]["metrics"][0]["verdict"] == "pass"  # it is the same at both
    edit(sizes, "8", "16")
    require_doubt(capsys, f"sizes/{sizes.name} is read from {project.folder}, not from the files of HEAD (")


def test_an_installed_module_that_is_only_executed_decides_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.folder / "pyproject.toml").unlink()
    sizes = project.folder / "lib" / "sizes.py"
    sizes.parent.mkdir()
    sizes.write_text("WIDTH = 8\n")
    shutil.copy(sizes, project.site)
    code = "import runpy\nWIDTH = runpy.run_module('sizes')['WIDTH']\n"
    (project.folder / "models.py").write_text(f"{code}{PACKAGE.replace('from .sizes import WIDTH', '')}")
    project.commit("models.py:net")
    edit(sizes, "8", "16")
    require_doubt(capsys, f"sizes is imported from {project.site}/sizes.py, not from the files of HEAD (")


def test_a_project_with_dependencies_and_changes_is_decided(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.folder / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "1"\ndependencies = ["mypkg", "torch", "numpy"]\n'
        '[tool.setuptools.package-data]\n"*" = ["mypkg.yaml"]\n'
    )
    write(project.site / "mypkg")
    docs = project.folder / "docs" / "torch" / "mypkg"
    docs.mkdir(parents=True)
    (docs / "index.py").write_text("")
    own = project.folder / "backbones"
    own.mkdir()
    (own / "mypkg.py").write_text("import mypkg, numpy\nfrom torch import nn\ndef net():\n    return mypkg.net()\n")
    project.commit("backbones.mypkg:net")
    for file in (own / "mypkg.py", docs / "index.py"):
        file.write_text(f"{file.read_text()}# changed\n")
    code, budget = checked(capsys)
    assert (code, budget["metrics"][0]["verdict"], budget["metrics"][0]["actual"]) == (0, "pass", 8 * PARAMS), budget[
        "metrics"
    ][0]["reason"]
