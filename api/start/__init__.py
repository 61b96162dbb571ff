"""How each process is put together from its settings: the composition roots.

One module a process; nothing else that serves makes an engine, opens a token or a socket. Commands
(``api.cli``) put together what they need for their own moment.
"""
