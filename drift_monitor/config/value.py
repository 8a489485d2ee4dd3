"""What all parts of a checked configuration have in common."""

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """Common to all parts: frozen, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)
