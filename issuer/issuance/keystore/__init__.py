"""One throw-away process a store: key pair, password, PKCS#12, sealed, gone.

Nothing is imported here, because the template process imports this package and must
stay free of everything it does not need. The issuer's side is ``workshop``; the web
tier's is ``sealing`` and ``landlock``.
"""
