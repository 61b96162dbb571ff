"""What can go wrong between an order and its sealed store."""

from __future__ import annotations

from issuer.errors import CaUnavailable


class WorkshopError(CaUnavailable):
    """No worker can be had: the template does not run, or the machine cannot confine it."""


class WorkerFailed(WorkshopError):
    """This job's worker ended, or said something it should not have. Nothing of it is left."""


class ProofRefused(WorkerFailed):
    """The public key is not of the ordered type, or its proof does not verify."""


class WorkerTimeout(WorkshopError):
    """This job took longer than ``keystore.wall_seconds``."""


class WorkerGone(WorkerFailed):
    """This job's worker ended without a word, before it had made anything."""
