"""What all sections of a configuration file share."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A section of the file: frozen, strict, without unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """The section as JSON has it: lists for tuples, every default filled in."""
        return self.model_dump(mode="json")


def key(default: Any, description: str, unit: str = "") -> Any:
    """A key of a section, with what the reference page says about it."""
    return Field(default, description=description, json_schema_extra={"x-unit": unit} if unit else {})
