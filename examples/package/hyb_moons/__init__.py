"""Which of two moons a point lies on, by a model compiled from moons.hyb when the wheel was built."""

from pathlib import Path

from hybridc_runtime import load_artifact

_compiled = load_artifact(Path(__file__).with_name("moons.hybx"), trust=True)
moon = _compiled.moon
Net = _compiled.Net
