"""The portal: pages for people over the same use cases as ``/api/v1``. It decides nothing itself."""
