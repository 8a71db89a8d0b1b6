"""Checks of Python, the required and optional packages, and the devices."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from dualclip_lightning.doctor.finding import Finding, describe

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGE = "dualclip_lightning"
FOR_DEVELOPERS = frozenset({"dev", "test"})
"""Extras that no command needs."""
IMPORTED = {
    "torch": "torch", "torchvision": "torchvision", "open_clip": "open_clip_torch", "cv2": "opencv-python-headless",
    "scipy.ndimage": "scipy", "sklearn": "scikit-learn", "matplotlib": "matplotlib", "PIL.Image": "pillow",
    "timm": "timm", "kornia": "kornia", "lightning.pytorch": "lightning", "torchmetrics": "torchmetrics",
    "albumentations": "albumentations", "anomalib.models": "anomalib",
}  # fmt: skip
"""Modules with compiled code or many imports of their own, which break most often, and the packages to reinstall."""


def check_python() -> Iterator[Finding]:
    """Yield the versions of this package and of Python, and the platform."""
    facts = {
        "python": platform.python_version(), "implementation": platform.python_implementation(),
        "executable": sys.executable, "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
    }  # fmt: skip
    yield Finding("dualclip_lightning", "ok", version(PACKAGE), facts={"version": version(PACKAGE)})
    yield Finding(
        "python", "ok",
        f"{facts['python']} ({facts['implementation']}) on {facts['platform']}, {facts['cores']} cores", facts=facts,
    )  # fmt: skip


def check_packages() -> Iterator[Finding]:
    """Yield the installed versions of all required packages, and a problem for each that is missing or unsuitable."""
    installed: dict[str, str | None] = {}
    for requirement in _requirements():
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found = installed[requirement.name] = _installed(requirement.name)
            if found is None or not requirement.specifier.contains(found, prereleases=True):
                said = f"{requirement.name} is {'not installed' if found is None else found}"
                needed = f"{requirement.name}{requirement.specifier}"
                yield Finding("packages", "problem", f"{said}, and {needed} is needed.", f'pip install "{needed}"')
    listed = ", ".join(f"{name} {found}" for name, found in sorted(installed.items()) if found)
    yield Finding("packages", "ok", listed, facts=dict(sorted(installed.items())))


def check_extras() -> Iterator[Finding]:
    """Yield, for every optional extra that a command may need, whether its packages are installed."""
    for extra, needed in sorted(_extras().items()):
        found = {each.name: _installed(each.name) for each in needed}
        missing = [name for name, number in found.items() if number is None]
        if missing:
            yield Finding(f"extra {extra}", "note", f"not installed: {', '.join(missing)}",
                          f'To use it: pip install "{PACKAGE}[{extra}]"', found)  # fmt: skip
        else:
            listed = ", ".join(f"{name} {number}" for name, number in found.items())
            yield Finding(f"extra {extra}", "ok", listed, facts=found)


def check_imports() -> Iterator[Finding]:
    """Yield a problem for every library that is installed but cannot be imported."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import checks the network for updates otherwise
    errors = {module: error for module in IMPORTED if (error := _import_error(module))}
    for module, error in errors.items():
        yield Finding("imports", "problem", f"{module} cannot be imported ({error}).",
                      f"pip install --force-reinstall --no-deps {IMPORTED[module]}", {"error": error})  # fmt: skip
    if not errors:
        yield Finding("imports", "ok", f"{len(IMPORTED)} libraries can be imported")


def check_devices() -> Iterator[Finding]:
    """Yield the devices that PyTorch can use."""
    import torch  # noqa: PLC0415 - takes seconds

    yield Finding("device cpu", "ok", f"{torch.get_num_threads()} threads", facts={"threads": torch.get_num_threads()})
    for number in range(torch.cuda.device_count()):
        of = torch.cuda.get_device_properties(number)
        facts = {"name": of.name, "gibibytes": round(of.total_memory / 2**30, 1), "cuda": torch.version.cuda,
                 "capability": f"{of.major}.{of.minor}"}  # fmt: skip
        yield Finding(f"device cuda:{number}", "ok", f"{of.name}, {facts['gibibytes']} GiB, CUDA {torch.version.cuda}",
                      facts=facts)  # fmt: skip
    if torch.backends.mps.is_available():
        yield Finding("device mps", "ok", "Apple GPU")
    elif not torch.cuda.device_count():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        yield Finding("device cuda", "note", f"no GPU can be used; PyTorch {torch.__version__} is {built}",
                      "If there is one, check its driver (nvidia-smi) and install PyTorch for its CUDA version.",
                      {"built_for": torch.version.cuda})  # fmt: skip


def _import_error(module: str) -> str:
    """Return the error of an import; empty if there is none."""
    try:
        import_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a broken library may raise anything
        return describe(error)
    return ""


def _requirements() -> list[Requirement]:
    from packaging.requirements import Requirement  # noqa: PLC0415 - may be what is missing

    return [Requirement(text) for text in requires(PACKAGE) or ()]


def _extras() -> dict[str, list[Requirement]]:
    """Return the requirements of every extra that is not only for developers."""
    extras: dict[str, list[Requirement]] = {}
    for requirement in _requirements():
        for extra in re.findall(r"extra == ['\"]([\w.-]+)['\"]", str(requirement.marker)):
            if extra not in FOR_DEVELOPERS:
                extras.setdefault(extra, []).append(requirement)
    return extras


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
