"""The same answers, CRLs and certificates as files that any web server serves (RFC 9919 GETs; R28).

``pki/ocsp/`` holds an answer under the base64 of the request that asks for it, which a server finds
once it has undone the percent-encoding. A '/' in it makes folders; what ends in one is the file
``-end`` in the folder. A link with '-' and '_' stands beside it for clients that write base64 so.

A file appears by renaming one that is on the disk already: a crash leaves the old or the new, and
in ``.new`` what the next start deletes. Files cannot say ``tryLater``: so a good answer is deleted
as soon as its certificate is revoked, signed anew or not, and any answer when it is over. When
nobody deletes any more, nextUpdate tells relying services.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from api.logs import get_logger
from api.status.documents import Document, read_certificates
from issuer.publisher.ocsp_request import CertId
from issuer.registry.answers import Answer

log = get_logger()

_BATCH = 500
_FEW = 8
"""Files or folders that are synchronised one by one; more of them with all that the machine has to write."""


class Files:
    """What ``api.status.follower.Follower`` keeps up to date, as it does ``Index``. One process a folder."""

    def __init__(self, folder: Path, pki: Path) -> None:
        """``pki`` holds the authorities' certificates. Raises OSError, ValueError."""
        certificates = read_certificates(pki)
        self._pki = folder / "pki"
        self._new = folder / ".new"
        shutil.rmtree(self._new, ignore_errors=True)
        self._new.mkdir(parents=True)
        self._cert_ids = CertId.both(certificates["issuing"])
        self._revoked: set[int] = set()
        self._pending: dict[Path, tuple[bytes, float]] = {}
        for name, certificate in certificates.items():
            moment = certificate.not_valid_before_utc.timestamp()
            self._put(self._pki / "ca" / f"{name}.cer", certificate.public_bytes(Encoding.DER), moment)

    def followed(self) -> None:
        self._write()

    def lost(self) -> None:
        """Another registry, or one from a backup: what is written is left to its nextUpdate."""
        self._pending.clear()

    def put_crl(self, name: str, crl: Document) -> None:
        self._put(self._pki / "crl" / f"{name}.crl", crl.body, crl.since)

    def revoke(self, serials: Iterable[int]) -> None:
        for serial in serials:
            self._revoked.add(serial)
            for cert_id in self._cert_ids:
                path = self._path(replace(cert_id, serial=serial))
                self._pending.pop(path, None)
                answer = _answer(path)
                if answer is None or answer.certificate_status is ocsp.OCSPCertStatus.GOOD:
                    path.unlink(missing_ok=True)

    def put(self, answer: Answer) -> None:
        serial = int(answer.serial, 16)
        if serial in self._revoked and answer.status != "revoked":
            return
        (cert_id,) = (one for one in self._cert_ids if one.hash_name == answer.hash_algorithm)
        cert_id = replace(cert_id, serial=serial)
        path = self._path(cert_id)
        self._link(cert_id, path)
        self._put(path, answer.answer, answer.this_update.timestamp())
        if len(self._pending) >= _BATCH:
            self._write()

    def forget_ended(self, now: float) -> None:
        """Delete the answers that are over: those of certificates that have ended, or that nobody renewed."""
        for folder, _, names in os.walk(self._pki / "ocsp"):
            for path in (Path(folder, name) for name in names):
                if path.is_symlink():
                    continue
                answer = _answer(path)
                until = None if answer is None else answer.next_update_utc
                if until is None or until.timestamp() <= now:
                    path.unlink()

    def _path(self, cert_id: CertId) -> Path:
        text = base64.b64encode(cert_id.request).decode()
        return self._pki / "ocsp" / (text + "-end" if text.endswith("/") else text)

    def _link(self, cert_id: CertId, path: Path) -> None:
        """It never changes; one that a crash took along is made again by the next start."""
        other = self._pki / "ocsp" / base64.urlsafe_b64encode(cert_id.request).decode()
        if other != path and not other.is_symlink():
            other.parent.mkdir(parents=True, exist_ok=True)
            other.symlink_to(path.relative_to(other.parent))

    def _put(self, path: Path, content: bytes, moment: float) -> None:
        self._pending[path] = (content, moment)

    def _write(self) -> None:
        """All that is pending: first on the disk, then seen. Raises OSError; what is pending stays so."""
        changed = {path: made for path, made in self._pending.items() if _read(path) != made[0]}
        fresh = [
            (self._write_new(number, *made), path) for number, (path, made) in enumerate(changed.items())
        ]
        if len(fresh) > _FEW:
            os.sync()
        else:
            for new, _ in fresh:
                _sync(new)
        folders: set[Path] = set()
        for new, path in fresh:
            folders |= self._make_folders(path.parent)
            new.rename(path)
            folders.add(path.parent)
        if len(folders) > _FEW:
            os.sync()
        else:
            for folder in folders:
                _sync(folder)
        self._pending.clear()
        if fresh:
            log.info("files-written", count=len(fresh))

    def _write_new(self, number: int, content: bytes, moment: float) -> Path:
        path = self._new / str(number)
        path.write_bytes(content)
        path.chmod(0o644)
        os.utime(path, (moment, moment))  # What a server tells as Last-Modified.
        return path

    def _make_folders(self, folder: Path) -> set[Path]:
        """And which folders have got a new one."""
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        return {one.parent for one in missing}


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _answer(path: Path) -> ocsp.OCSPResponse | None:
    """None where there is none, or something else."""
    content = _read(path)
    with suppress(ValueError):
        return None if content is None else ocsp.load_der_ocsp_response(content)
    return None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
