"""Audit: what checks a ledger or an evidence pack without a gateway, a network or a configuration."""
