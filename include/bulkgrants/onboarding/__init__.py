"""Onboarding: from a tenant in the table to a tenant that is ready, by consent and propagation."""
