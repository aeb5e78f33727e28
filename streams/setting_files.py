"""Settings that lie in files, as Kubernetes and Docker hand out secrets: `MESH_<SETTING>_FILE`."""

from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
)

SUFFIX: Final = "_file"


class UnreadableSetting(ValueError):
    """A setting's file that cannot be used; the text names the variable, never what is in it."""


class FileSource(PydanticBaseSettingsSource):
    """Reads each setting whose variable, with `_FILE` behind its name, gives a path.

    UnreadableSetting if the file cannot be read, or if the setting is given in both ways: nobody
    should have to guess which of two passwords counts.
    """

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        env: PydanticBaseSettingsSource,
        dotenv: PydanticBaseSettingsSource,
    ) -> None:
        super().__init__(settings_cls)
        self._variables: dict[str, str] = {}
        for source in (dotenv, env):  # the environment wins, as it does for the values themselves
            if isinstance(source, EnvSettingsSource | DotEnvSettingsSource):
                given = source.env_vars.items()
                self._variables |= {name: value for name, value in given if value}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return what is in the setting's file, without the line's end; None without a file."""
        variable = f"{self.config.get('env_prefix', '')}{field_name}".lower()
        path = self._variables.get(variable + SUFFIX)
        if path is None:
            return None, field_name, False
        named = (variable + SUFFIX).upper()
        if variable in self._variables:
            raise UnreadableSetting(f"{named}: {variable.upper()} is set too; leave one of them")
        try:
            text = Path(path).read_text()
        except OSError as error:
            raise UnreadableSetting(f"{named}: {path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UnreadableSetting(f"{named}: {path} is not text") from None
        return text.strip() or None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the settings that have files."""
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value = self.get_field_value(field, name)[0]
            if value is not None:
                found[name] = value
        return found
