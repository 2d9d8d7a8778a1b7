"""Onboarding: takes a tenant from the tenants table to ready, through consent and propagation."""
