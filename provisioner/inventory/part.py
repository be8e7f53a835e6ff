"""The base of all models of an inventory."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# Keys of other tools (`x-...`) are dropped when the file is read. So only the schema must allow them, not the models.
