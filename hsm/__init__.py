"""PKCS#11: tokens, their keys as ``cryptography`` private keys, recovery. Nobody else imports ``pkcs11``.

``config``, ``errors`` and ``secret`` do not load it: settings and refusals are known to every process.
"""
