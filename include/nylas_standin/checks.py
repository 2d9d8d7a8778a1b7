"""Reading of request bodies: every field is known and has its type, or the request is refused."""

from collections.abc import Collection
from dataclasses import dataclass

from nylas_standin.envelopes import invalid
from nylas_standin.switches import Switches
from nylas_standin.wire import Json


@dataclass(frozen=True, slots=True)
class Fields:
    """An object of the body, and where in the body it is."""

    values: dict[str, Json]
    where: str = ""

    def _name(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def only(self, known: Collection[str], switches: Switches) -> "Fields":
        """The part of the object that is known; where anything else is there, a refusal."""
        unknown = [key for key in self.values if key not in known]
        if unknown and switches.unknown_fields == "refuse":
            raise invalid(f"Unknown field '{self._name(unknown[0])}'.")
        return Fields({k: v for k, v in self.values.items() if k in known}, self.where)

    def text(self, key: str) -> str:
        """A string that has to be there and not be empty."""
        found = self.optional_text(key)
        if not found:
            raise invalid(f"Field '{self._name(key)}' is required.")
        return found

    def optional_text(self, key: str) -> str | None:
        """A string, if it is there."""
        found = self.values.get(key)
        if key in self.values and not isinstance(found, str):
            raise invalid(f"Field '{self._name(key)}' must be a string.")
        return found if isinstance(found, str) else None

    def optional_texts(self, key: str) -> list[str] | None:
        """A list of strings, if it is there."""
        if key not in self.values:
            return None
        found = self.values[key]
        if not isinstance(found, list):
            raise invalid(f"Field '{self._name(key)}' must be a list of strings.")
        texts = [item for item in found if isinstance(item, str) and item]
        if len(texts) != len(found):
            raise invalid(f"Field '{self._name(key)}' must be a list of strings.")
        return texts

    def fields(self, key: str) -> "Fields":
        """An object that has to be there."""
        found = self.values.get(key)
        if key not in self.values:
            raise invalid(f"Field '{self._name(key)}' is required.")
        return as_fields(found, self._name(key))

    def optional_fields(self, key: str) -> "Fields | None":
        """An object, if it is there."""
        return self.fields(key) if key in self.values else None


def as_fields(value: Json, where: str = "") -> Fields:
    """A JSON object, or a refusal."""
    if not isinstance(value, dict):
        raise invalid(f"{where or 'The body'} must be a JSON object.")
    return Fields(value, where)
