"""Images: root file systems that mmdebstrap builds once. They are kept until their recipe changes.

images/<name>-<digest>/root/       the file system; the lower layer of every host's disk
images/<name>-<digest>/packages/   the repository of the packages that the recipe offers, if any
images/building-<name>/            an unfinished build; removed by the next build and by `lab down`
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import time
from typing import TYPE_CHECKING

from provisioner.errors import LabError
from provisioner.lab import machine, recipes, repository
from provisioner.lab.locks import held
from provisioner.lab.shell import communicate, remove_tree, run
from provisioner.labs import lab_dir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provisioner.lab.recipes import Recipe

BUILD_DEADLINE = 1200  # seconds; half a minute with a fast network
# A build must end with the process that started it, however that process ends: setpriv kills unshare with it, unshare kills
# process 1 of the build, and the kernel kills the rest.
APART = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def images_dir() -> Path:
    return lab_dir() / "images"


def path_of(recipe: Recipe) -> Path:
    return images_dir() / f"{recipe.name}-{recipe.digest}"


def ensure(name: str, say: Callable[[str], None]) -> Path:
    """Return the image's folder. The image and its base are built if they do not exist.

    `say` gets one line for each stage of a build. Raises LabError.
    """
    recipe = recipes.recipe(name)
    if recipe.base:
        ensure(recipe.base, say)
    _ensure_one(recipe, say)
    return path_of(recipe)


def repository_of(name: str) -> Path | None:
    """The folder of the packages that hosts of this image can install; None if there are none."""
    source = recipes.recipe(name).uses_repository_of
    return path_of(recipes.recipe(source)) / "packages" if source else None


def _ensure_one(recipe: Recipe, say: Callable[[str], None]) -> None:
    target = path_of(recipe)
    if target.exists():
        return
    images_dir().mkdir(parents=True, exist_ok=True)
    with held(images_dir(), timeout=0) as ours:
        if not ours:
            say("waiting for another process that builds an image")
    with held(images_dir(), timeout=BUILD_DEADLINE) as ours:
        if not ours:
            raise LabError(
                f"another process has been building an image for {BUILD_DEADLINE} s", tried=f"lock {images_dir()}"
            )
        if not target.exists():
            _remove_unfinished()
            _build(recipe, target, say)
            _remove_outdated(recipe)


def clean() -> None:
    """Remove leftovers of a killed build, unless another process is building right now."""
    if images_dir().exists():
        with held(images_dir(), timeout=0) as ours:
            if ours:
                _remove_unfinished()


def _remove_unfinished() -> None:
    for folder in images_dir().glob("building-*"):
        remove_tree(folder)


def _remove_outdated(recipe: Recipe) -> None:
    """Remove images of older recipes, except those that a lab still uses as a disk layer or as a package repository."""
    labs = lab_dir() / "labs"
    used = set()
    for file in machine.matching(labs, "*/hosts/*/image"):
        with contextlib.suppress(FileNotFoundError):  # that lab is being removed
            used.add(file.read_text().strip())
    for link in machine.matching(labs, "*/www/debian"):
        with contextlib.suppress(FileNotFoundError):
            used.add(str(link.readlink().parent))
    for folder in images_dir().glob(recipe.name + "-" + "[0-9a-f]" * len(recipe.digest)):
        if folder != path_of(recipe) and str(folder) not in used:
            remove_tree(folder)


def _build(recipe: Recipe, target: Path, say: Callable[[str], None]) -> None:
    began = time.monotonic()
    building = images_dir() / f"building-{recipe.name}"
    (building / "tmp").mkdir(parents=True)
    try:
        source = f"image {recipe.base}" if recipe.base else f"Debian {recipe.suite}"
        say(f"image {recipe.name}: building it from {source}; kept for all later labs")
        _bootstrap(recipe, building)
        _settle(recipe, building / "root")
        if recipe.offered:
            repository.index(building / "packages")
        remove_tree(building / "tmp")
        building.rename(target)
    except BaseException:
        remove_tree(building)
        raise
    version = engine(target)
    say(
        f"image {recipe.name}: built in {time.monotonic() - began:.0f} s{f', with Docker {version}' if version else ''}"
    )


def engine(folder: Path) -> str:
    """The version of the package docker.io that an image's folder has or offers; "" if it has none."""
    status = (folder / "root/var/lib/dpkg/status").read_text(errors="replace")
    if found := re.search(r"^Package: docker\.io\n(?:\S.*\n|\s.*\n)*?Version: (\S+)$", status, re.MULTILINE):
        return found[1]
    offered = next((folder / "packages").glob("docker.io_*.deb"), None)
    return offered.name.split("_")[1] if offered else ""


def _bootstrap(recipe: Recipe, building: Path) -> None:
    mirror = os.environ.get("PROVISIONER_LAB_MIRROR") or find_mirror()
    argv = [
        *APART,
        # Python in the image would obey these variables when its packages compile their modules.
        *("env", "-u", "PYTHONPYCACHEPREFIX", "-u", "PYTHONDONTWRITEBYTECODE", f"TMPDIR={building / 'tmp'}"),
        *("mmdebstrap", "--quiet", "--mode=root", "--format=directory"),
        f"--keyring={machine.keyring()}",
        *_beginning(recipe),
        "--dpkgopt=force-unsafe-io",
        # The archive of an old suite is no longer re-signed.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        '--aptopt=Acquire::Retries "3"',
        *_proxy_options(),
        *repository.download_hooks(recipe.offered, building / "packages"),
        recipe.suite,
        str(building / "root"),
        *filter(None, [mirror]),
    ]
    try:
        answer = communicate(argv, timeout=BUILD_DEADLINE)
    except subprocess.TimeoutExpired:
        raise _failed(recipe, mirror, f"mmdebstrap did not end within {BUILD_DEADLINE} s") from None
    if answer.returncode != 0:
        raise _failed(recipe, mirror, answer.stderr)


def _beginning(recipe: Recipe) -> list[str]:
    """Options of mmdebstrap for the base of the tree and for the image's packages."""
    if not recipe.base:
        return ["--variant=minbase", f"--include={','.join(recipe.packages)}"]
    base = shlex.quote(str(path_of(recipes.recipe(recipe.base))))
    ours = "etc/apt/sources.list etc/resolv.conf"  # keep the build's files; the base has those of the lab's hosts
    install = f"--customize-hook={repository.APT_GET} install {' '.join(recipe.packages)}"
    return [
        "--variant=custom",
        f'--setup-hook=cd "$1" && tar cf ../tmp/ours.tar {ours} && cp -a --reflink=auto {base}/root/. . && tar xf ../tmp/ours.tar',
        # Packages that the base offers to its hosts need not be downloaded again.
        f'--setup-hook=! [ -d {base}/packages ] || ln {base}/packages/*.deb "$1/var/cache/apt/archives/"',
        *repository.source_hooks(recipe.suite, recipe.other_suites),
        *([install] if recipe.packages else []),
    ]


def _failed(recipe: Recipe, mirror: str, answer: str) -> LabError:
    return LabError(
        f"the image {recipe.name} could not be built",
        tried=f"mmdebstrap {recipe.suite} from {mirror or 'its own default mirror'}",
        answer=answer,
        cure="if the mirror does not have this suite, set PROVISIONER_LAB_MIRROR to one that does",
    )


def _settle(recipe: Recipe, root: Path) -> None:
    for pattern in recipes.REMOVED:
        for path in root.glob(pattern):
            path.unlink()
    for name, text in {**recipes.FILES, **recipes.sources(recipe)}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
    masked = [f"system/{unit}" for unit in recipes.MASKED] + [
        f"system-generators/{name}" for name in recipes.GENERATORS
    ]
    for place in masked:
        link = root / "etc/systemd" / place
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")


def find_mirror() -> str:
    """The Debian mirror that this machine's apt uses; "" if there is none, so that mmdebstrap uses its default."""
    columns = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    listing = run(["apt-get", "indextargets", "--format", columns, "Created-By: Packages"])
    for line in listing.splitlines():
        origin, label, uri = line.split("|", 2)
        if origin == label == "Debian" and uri.startswith(("http://", "https://")):
            return uri.rstrip("/")
    return ""


def _proxy_options() -> list[str]:
    """Options of mmdebstrap for the proxies of the machine's apt, because it does not read apt's settings."""
    options = []
    for scheme in ("http", "https"):
        name = f"Acquire::{scheme}::Proxy"
        value = run(["apt-config", "dump", "--format", "%v%n", name]).strip()
        if value and '"' not in value:
            options.append(f'--aptopt={name} "{value}"')
    return options
