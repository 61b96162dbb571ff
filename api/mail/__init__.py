"""Mail to professionals: addresses, letters, SMTP, and the outbox's sender."""
