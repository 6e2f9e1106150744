"""A hook of setuptools: a package that has `.hyb` files ships them compiled in its wheel.

    [build-system]
    requires = ["setuptools>=68", "hybridc"]
    build-backend = "setuptools.build_meta"

    [tool.hybridc]
    models = ["mypackage/model.hyb"]      # within packages
    target = "cpu:x86-64-v3,cpu:x86-64-v2"   # as --target of `hybridc build`; this is the default

setuptools calls `finalize` for every project (entry point `setuptools.finalize_distribution_options`); it does nothing
for one without that table. `model.hybx` and `model.pyi` then stand where `model.hyb` does, and the wheel is one for
this kind of machine and any Python. The package loads it with `hybridc_runtime.load_artifact(path, trust=True)`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from setuptools import Command, Distribution
from setuptools.command.build import build
from setuptools.errors import CompileError, OptionError

PORTABLE = "cpu:x86-64-v3,cpu:x86-64-v2"
KNOWN = ("models", "target", "root")


def finalize(dist: Distribution) -> None:
    """Adds the step to a project that asks for it; OptionError for a table that is not as described above."""
    try:
        table = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8")).get("tool", {}).get("hybridc")
    except (OSError, ValueError):  # none, or one that setuptools itself complains about
        return
    if table is None:
        return
    unknown = sorted(set(table) - set(KNOWN))
    models = table.get("models")
    if unknown or not isinstance(models, list) or not all(isinstance(m, str) and m.endswith(".hyb") for m in models):
        why = f"there is no option {unknown[0]}" if unknown else "models is a list of .hyb files"
        raise OptionError(f"pyproject.toml, [tool.hybridc]: {why}; its options are {', '.join(KNOWN)}")
    dist.cmdclass["build_hyb"] = type("build_hyb", (BuildHyb,), {"table": table})
    outer = dist.get_command_class("build")
    steps = [*getattr(outer, "sub_commands", build.sub_commands), ("build_hyb", None)]
    dist.cmdclass["build"] = type("build", (outer,), {"sub_commands": steps})
    dist.cmdclass["bdist_wheel"] = _for_this_machine(dist.get_command_class("bdist_wheel"))


class BuildHyb(Command):
    """Compiles the models of a project; a step of `build`, as setuptools has them."""

    description = "compile .hyb files"
    user_options: list[tuple[str, str | None, str]] = []
    table: dict[str, Any] = {}
    editable_mode = False

    def initialize_options(self) -> None:
        self.build_lib: str | None = None

    def finalize_options(self) -> None:
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        from hybridc.base.diagnostic import CompileError as Refused
        from hybridc.build import write_all

        for source, made in self._models():
            try:
                write_all(str(source), str(made.parent), root=self.table.get("root"),
                          target=self.table.get("target", PORTABLE))
            except (Refused, OSError, ValueError) as e:
                raise CompileError(f"{source}: {e}" if not isinstance(e, Refused) else str(e)) from None

    def _models(self) -> Iterator[tuple[Path, Path]]:
        """Each model, and its artifact: beside it for an editable installation."""
        layout = self.get_finalized_command("build_py")
        for name in self.table["models"]:
            inside = Path(name)
            source = Path(layout.get_package_dir(".".join(inside.parent.parts))) / inside.name
            if not source.is_file():
                raise OptionError(f"pyproject.toml, [tool.hybridc]: there is no {source}")
            made = source if self.editable_mode else Path(self.build_lib or ".") / inside
            yield source, made.with_suffix(".hybx")

    # ---- what setuptools asks of a step
    def get_outputs(self) -> list[str]:
        return [str(made.with_suffix(suffix)) for _, made in self._models() for suffix in (".hybx", ".pyi")]

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        """For a source distribution: the models and the .hyb files beside them, which they may import."""
        folders = dict.fromkeys(source.parent for source, _ in self._models())
        return [str(file) for folder in folders for file in sorted(folder.glob("*.hyb"))]


def _for_this_machine(outer: Any) -> Any:
    """A wheel with native code that no version of Python is part of."""

    class bdist_wheel(outer):  # noqa: N801 (setuptools' name)
        def finalize_options(self) -> None:
            super().finalize_options()
            self.root_is_pure = False

        def get_tag(self) -> tuple[str, str, str]:
            python, abi, platform = super().get_tag()
            return (python, abi, platform) if self.distribution.has_ext_modules() else ("py3", "none", platform)

    return bdist_wheel
