"""How each process is put together from its settings: the composition roots.

One module a process; nothing else in the system makes an engine, opens a token or a socket.
"""
