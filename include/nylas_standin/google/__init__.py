"""Google, as far as a service account or a refresh token notices it."""
