"""What all tests share: Hypothesis on machines that others use too."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A slow moment of the machine is not a failure of the code; pytest's own timeout still holds.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
