"""A Python package that ships `.hyb` models compiled in its wheel (hybridc/setuptools.py)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from hybridc_runtime.artifact import read

pytestmark = pytest.mark.usefixtures("unoptimised")

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "package"
BUILD = """
import os, sys
import setuptools.dist
from hybridc.setuptools import finalize
if not {installed}:  # what its entry point does in an installation
    real = setuptools.dist.Distribution.finalize_options
    setuptools.dist.Distribution.finalize_options = lambda dist: (real(dist), finalize(dist))[0]
from setuptools import build_meta
print(build_meta.build_{what}("made"))
"""
INSTALLED = any(e.value == "hybridc.setuptools:finalize" for e in entry_points(group="setuptools.finalize_distribution_options"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLE, tmp_path / "package")
    (tmp_path / "package" / "made").mkdir()
    return tmp_path / "package"


def build(what: str, project: Path) -> subprocess.CompletedProcess[str]:
    code = BUILD.format(what=what, installed=INSTALLED)
    return subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=200)


def made(what: str, project: Path) -> Path:
    done = build(what, project)
    assert done.returncode == 0, done.stderr
    return project / "made" / done.stdout.splitlines()[-1]


def test_a_wheel_is_installed_and_used(project: Path, tmp_path: Path) -> None:
    wheel = made("wheel", project)
    assert wheel.name.startswith("hyb_moons-1.0-py3-none-linux_")
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    [site] = folder.glob("lib/python*/site-packages")
    # What the package depends on is found where it is here; the package itself only in the new environment.
    paths = [p for p in sys.path if p and Path(p).is_dir() and Path(p) != project]
    (site / "sitecustomize.py").write_text(f"import site\nfor path in {paths!r}:\n    site.addsitedir(path)\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    code = ("import sys, hyb_moons, numpy\nassert sys.prefix in hyb_moons.__file__\n"
            "print(hyb_moons.moon(0.0, 1.0), hyb_moons.moon(1.0, -0.5), hyb_moons.Net(seed=1)(numpy.zeros(2, numpy.float32)).sum())\n"
            "print([m for m in sys.modules if m.startswith('hybridc.')])")
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.stdout == "0 1 1.0\n[]\n", done.stderr  # the compiler is not needed


def test_two_wheels_are_the_same(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first = made("wheel", project).read_bytes()
    shutil.rmtree(project / "build")
    monkeypatch.setenv("HYB_CACHE_DIR", str(project / "other"))  # so that it is compiled again
    assert made("wheel", project).read_bytes() == first


def test_what_is_in_a_wheel_and_a_source_distribution(project: Path) -> None:
    names = {n.rpartition("hyb_moons/")[2] for n in zipfile.ZipFile(made("wheel", project)).namelist() if "hyb_moons/" in n}
    assert {"__init__.py", "moons.hybx", "moons.pyi"} <= names
    data = zipfile.ZipFile(made("wheel", project))
    contents = read(data.read(next(n for n in data.namelist() if n.endswith(".hybx"))))
    assert contents.targets() == ["cpu:x86-64-v3", "cpu:x86-64-v2"]
    assert [path for path, _ in contents.sources] == ["hyb_moons/moons.hyb", "hyb_moons/shapes.hyb"]
    with tarfile.open(made("sdist", project)) as tar:
        found = {n.partition("/")[2] for n in tar.getnames()}
    assert {"pyproject.toml", "hyb_moons/moons.hyb", "hyb_moons/shapes.hyb", "hyb_moons/__init__.py"} <= found
    assert not [n for n in found if n.endswith(".hybx")]


def test_an_editable_installation_has_it_beside_the_source(project: Path) -> None:
    made("editable", project)
    assert (project / "hyb_moons" / "moons.hybx").exists()


@pytest.mark.parametrize("table, message", [
    ('models = ["hyb_moons/none.hyb"]', "there is no hyb_moons/none.hyb"),
    ('models = "hyb_moons/moons.hyb"', "models is a list of .hyb files"),
    ('models = ["hyb_moons/moons.hyb"]\nlevel = 3', "there is no option level; its options are models, target, root"),
    ('models = ["hyb_moons/moons.hyb"]\ntarget = "cpu:nonsense"', "there is no x86-64 processor 'nonsense'"),
    ('models = ["hyb_moons/bad.hyb"]', "hyb_moons/bad.hyb:2:12: error[HYB201]"),
])  # fmt: skip
def test_mistakes(table: str, message: str, project: Path) -> None:
    (project / "hyb_moons" / "bad.hyb").write_text("fn f() -> int:\n    return x\n")
    file = project / "pyproject.toml"
    file.write_text(file.read_text().partition("[tool.hybridc]")[0] + f"[tool.hybridc]\n{table}\n")
    done = build("wheel", project)
    assert done.returncode != 0 and message in done.stderr, done.stderr


def test_other_projects_are_left_alone(project: Path) -> None:
    file = project / "pyproject.toml"
    file.write_text(file.read_text().partition("[tool.hybridc]")[0])
    assert made("wheel", project).name == "hyb_moons-1.0-py3-none-any.whl"
