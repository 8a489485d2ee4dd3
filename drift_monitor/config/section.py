"""What all sections of a configuration have in common.

`exactly_one` and `at_most_one` list keys that exclude each other. `placeholders` stand in for keys that are broken, so
that the rest of a section can still be checked. `secret_files` names the secrets that may stand in a file of their own,
under the same key with `_file`, and how the content of such a file is checked.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SecretStr

SecretCheck = Callable[[SecretStr], SecretStr]


class Section(BaseModel):
    """Common to all sections: frozen, unknown keys refused, values never in error messages."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)

    exactly_one: ClassVar[tuple[tuple[str, ...], ...]] = ()
    at_most_one: ClassVar[tuple[tuple[str, ...], ...]] = ()
    placeholders: ClassVar[dict[str, Any]] = {}
    secret_files: ClassVar[Mapping[str, SecretCheck | None]] = {}
