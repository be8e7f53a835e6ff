"""What every part of an inventory is."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Frozen, and only the keys that are named here."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# Other tools' keys: left out where the file is read, so that only the schema need know of them.
