"""`provisioner inventory`: check a file without touching a host, and print the schema for editors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from provisioner.errors import InventoryError
    from provisioner.inventory import Inventory

app = typer.Typer(name="inventory", help="Check an inventory file, print its schema.", no_args_is_help=True)

_File = Annotated[Path, typer.Argument(metavar="FILE", help="The inventory, a YAML file.", show_default=False)]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
_Files = Annotated[bool, typer.Option("--files/--no-files", help="Look whether the key and binary files are there.")]


@app.command()
def check(file: _File, *, json: _Json = False, files: _Files = True) -> None:
    """Tell all that is wrong with FILE, each problem with its line. Exit code 0: nothing; 64: something."""
    from provisioner.errors import InventoryError
    from provisioner.inventory import load

    try:
        inventory = load(file, check_files=files)
    except InventoryError as error:
        typer.echo(_refused_json(error) if json else "\n".join(error.problems))
        raise typer.Exit(error.exit_code) from None
    typer.echo(_sound_json(inventory) if json else _sound(inventory))


@app.command()
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of an inventory."""
    from provisioner.inventory import schema as generated
    from provisioner.inventory.json_schema import as_text

    typer.echo(as_text(generated()), nl=False)


def _sound(inventory: Inventory) -> str:
    """One line: what a run would work on."""
    servers, networks = inventory.servers, inventory.networks
    hosts = f"{len(inventory.hosts)} host{'s' * (len(inventory.hosts) > 1)}"
    count = f"{len(servers)} {inventory.store.kind} server{'s' * (len(servers) > 1)}"
    subnets = ", ".join(f"{name} {network.subnet}" for name, network in networks.items())
    plural = "s" * (len(networks) > 1)
    return f"ok: cluster {inventory.cluster}, {hosts}, {count} ({', '.join(servers)}), network{plural} {subnets}"


def _sound_json(inventory: Inventory) -> str:
    import json

    return json.dumps(
        {
            "ok": True,
            "file": str(inventory.path),
            "cluster": inventory.cluster,
            "hosts": list(inventory.hosts),
            "store": inventory.store.kind,
            "servers": list(inventory.servers),
            "networks": {name: str(network.subnet) for name, network in inventory.networks.items()},
            "problems": [],
        }
    )


def _refused_json(error: InventoryError) -> str:
    import json

    return json.dumps({"ok": False, "file": error.path, "problems": list(error.problems)})
