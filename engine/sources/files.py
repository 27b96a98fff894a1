"""Where the files of a model are: a folder on disk, or the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from engine.errors import SourceError


class ModelFiles(Protocol):
    """The files of one model, fetched one by one."""

    @property
    def name(self) -> str:
        """What messages call the model."""
        ...

    @property
    def folder(self) -> Path:
        """The folder that the files found so far lie in."""
        ...

    def find(self, file_name: str) -> Path | None:
        """Path of a file, or None if the model has none of that name."""
        ...


class FolderFiles:
    """A model folder on disk."""

    def __init__(self, folder: Path, *, name: str) -> None:
        self.folder = folder
        self.name = name

    def find(self, file_name: str) -> Path | None:
        """Path of a file, or None if the folder has none of that name."""
        path = self.folder / file_name
        return path if path.is_file() else None


class HubFiles:
    """A model on the Hugging Face hub, at one commit, each file downloaded when it is asked for.

    What is in the local cache is used without asking the network, so a model once read opens
    again at once and offline; delete it from the cache to get a newer version.
    """

    def __init__(self, model_id: str) -> None:
        """Find the model.

        Args:
            model_id: "org/name", or one of the old names without an organisation.

        Raises:
            SourceError: If the hub has no such model, does not let us in or cannot be reached.
        """
        self.name = model_id
        self._revision: str | None = None
        config = self.find("config.json")
        if config is None:
            raise SourceError(
                f"{model_id} on the Hugging Face hub has no config.json, so it is no model that "
                "transformers could load; give another model, or one of its files"
            )
        self.folder = config.parent
        # the cache keeps each commit in a folder of its name: all further files are from that one
        self._revision = config.parent.name

    def find(self, file_name: str) -> Path | None:
        """Path of a file in the local cache, downloaded if needed.

        Args:
            file_name: Name within the model ("config.json").

        Returns:
            The path, or None if the model has no such file.

        Raises:
            SourceError: If the hub does not let us in or cannot be reached.
        """
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )

        try:
            cached = try_to_load_from_cache(self.name, file_name, revision=self._revision)
            if cached is not None:  # a path, or the mark for "known not to exist"
                return Path(cached) if isinstance(cached, str) else None
            return Path(hf_hub_download(self.name, file_name, revision=self._revision))
        except GatedRepoError as error:
            raise SourceError(
                f"{self.name} is gated: accept its terms on huggingface.co, then log in with "
                "`hf auth login` or set HF_TOKEN"
            ) from error
        except RepositoryNotFoundError as error:
            raise SourceError(
                f"{self.name}: no file or folder of that name here, and no such model on the "
                "Hugging Face hub; check the spelling, or log in with `hf auth login` "
                "if it is private"
            ) from error
        except LocalEntryNotFoundError as error:
            raise SourceError(
                f"{self.name}: no file or folder of that name here, and the Hugging Face hub "
                f"cannot be reached to download {file_name}; check the connection (and that "
                "HF_HUB_OFFLINE is not set), or give a local folder"
            ) from error
        except EntryNotFoundError:
            return None
        except HFValidationError as error:
            raise SourceError(
                f"{self.name!r} is no file, no folder and no Hugging Face id "
                "(“org/name”); check the spelling"
            ) from error
        except (OSError, _http_error()) as error:
            reason = str(error).strip().split("\n", 1)[0]
            raise SourceError(
                f"{self.name}: {file_name} could not be downloaded from the Hugging Face hub "
                f"({reason}); try again, or give a local folder"
            ) from error


def _http_error() -> type[Exception]:
    """What the hub's HTTP library raises when a connection breaks; which library varies."""
    from huggingface_hub.errors import HfHubHTTPError

    return cast("type[Exception]", HfHubHTTPError.__bases__[0])
