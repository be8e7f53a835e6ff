"""The base of all models of an inventory."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# Other tools' keys: left out where the file is read, so that only the schema need know of them.
