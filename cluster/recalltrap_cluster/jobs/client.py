"""Ray's Jobs API as far as it's used here, with messages for what can go wrong.

A client never sees the token: Ray reads it from the environment or a file and sends it as a header.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recalltrap.errors import InputError
from recalltrap_cluster.joining.address import check_jobs_address
from recalltrap_cluster.joining.trial_join import join_seconds

ACTIVE = ("PENDING", "RUNNING")
"""States of Ray's that a job leaves by itself."""


@dataclass(frozen=True)
class JobState:
    """What a cluster says of a job."""

    state: str
    message: str
    started_at: str | None
    ended_at: str | None
    exit_code: int | None

    @property
    def active(self) -> bool:
        return self.state in ACTIVE


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            InputError: the address is refused, nothing or something else answers, or the token
                isn't the cluster's.
        """
        self.address = check_jobs_address(address)
        from recalltrap_cluster.ray_internals import job_client

        with self._told():
            self._client = job_client(self.address, join_seconds())

    def submit(
        self, job: str, entrypoint: str, runtime_env: dict[str, Any], metadata: dict[str, str]
    ) -> None:
        """Send a job under an id of ours."""
        with self._told():
            self._client.submit_job(
                entrypoint=entrypoint,
                submission_id=job,
                runtime_env=runtime_env,
                metadata=metadata,
            )

    def state(self, job: str) -> JobState | None:
        """How a job is; None where the cluster knows none of that id (it was started anew)."""
        with self._told():
            try:
                found = self._client.get_job_info(job)
            except RuntimeError as error:
                if "404" in str(error):
                    return None
                raise
        return JobState(
            str(getattr(found.status, "value", found.status)),
            str(found.message or ""),
            _time(found.start_time),
            _time(found.end_time),
            found.driver_exit_code,
        )

    def logs(self, job: str) -> str:
        """All that a job's driver has written so far."""
        with self._told():
            return str(self._client.get_job_logs(job))

    def stop(self, job: str) -> bool:
        """Ask a job to end; whether it was running."""
        with self._told():
            return bool(self._client.stop_job(job))

    def follow(self, job: str, write: Callable[[str], None]) -> None:
        """Hand over all that a job's driver writes, from its beginning until it ends."""

        async def tail() -> None:
            async for text in self._client.tail_job_logs(job):
                write(text)

        with self._told():
            asyncio.run(tail())

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What Ray, requests and aiohttp raise, as a message."""
        import aiohttp
        import requests
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise InputError(
                f"--address {self.address} refused us: {str(error).splitlines()[0].rstrip('.')}. "
                "Set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token"
            ) from None
        except (
            ConnectionError, RuntimeError, ValueError, requests.RequestException,
            aiohttp.ClientError,
        ) as error:  # fmt: skip
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(
                f"--address {self.address} doesn't answer as the dashboard of a Ray cluster "
                f"does: {said[0]}"
            ) from None


def _time(milliseconds: int | None) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def runtime_environment(folder: Path, wheel: Path, variables: dict[str, str]) -> dict[str, Any]:
    """What a job's processes run in: its files, this package, some variables."""
    from recalltrap_cluster.ray_internals import JOB_ENVIRONMENT

    return {
        "working_dir": str(folder),
        "py_modules": [str(wheel)],
        "env_vars": {**variables, **JOB_ENVIRONMENT},
    }
