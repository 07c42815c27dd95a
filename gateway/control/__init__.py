"""The control API: HTTP for webhooks, operators and auditors."""
