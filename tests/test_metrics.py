"""The rules of the metrics: documented, bounded, of one process only, and about nobody."""

from __future__ import annotations

import re

import pytest

import gateway.metrics
from gateway.metrics import Metrics


def exposed(metrics: Metrics) -> dict[str, float]:
    """Every sample as `name{labels}` to its value."""
    lines = metrics.render().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def documented() -> set[str]:
    """The metric names of the module's table."""
    return set(re.findall(r"^\| `(gateway_\w+)` \|", gateway.metrics.__doc__ or "", re.MULTILINE))


def test_every_metric_stands_in_the_table_and_the_other_way_round() -> None:
    """What is undocumented fails: the table names every metric there is, and none that is not."""
    kinds = dict(re.findall(r"^# TYPE (gateway_\w+) (\w+)$", Metrics().render().decode(), re.MULTILINE))
    there = {name for name in kinds if not name.endswith("_created")}
    assert there == documented()


def test_each_step_counts_under_its_name() -> None:
    """Every step of the main path moves exactly its own metric."""
    metrics = Metrics()
    metrics.notice_issued("recording", "started")
    metrics.notices_sent(25)
    metrics.frames_sent(26)
    metrics.receipts("acknowledged")
    metrics.receipts("acknowledged")
    metrics.event("accepted", 3)
    metrics.closed(4409)
    metrics.overdue(2)
    metrics.sessions(7)
    metrics.gaps_open(1)
    metrics.writer_queue("europe", 4)
    metrics.storage_failing("europe", True)
    metrics.swept(9, 0.2)
    samples = exposed(metrics)
    assert samples['gateway_notices_issued_total{capability="recording",change="started"}'] == 1
    assert samples["gateway_notices_sent_total"] == 25
    assert samples["gateway_frames_sent_total"] == 26
    assert samples['gateway_receipts_total{level="acknowledged"}'] == 2
    assert samples['gateway_events_total{outcome="accepted"}'] == 3
    assert samples['gateway_closes_total{code="4409"}'] == 1
    assert samples["gateway_overdue_total"] == 2
    assert samples["gateway_sessions"] == 7
    assert samples["gateway_gaps_open"] == 1
    assert samples['gateway_writer_queue{region="europe"}'] == 4
    assert samples['gateway_storage_failing{region="europe"}'] == 1
    assert samples["gateway_sweep_deleted_total"] == 9
    assert samples["gateway_sweep_seconds_count"] == 1


def test_durations_are_histograms_fine_enough_for_milliseconds() -> None:
    """A promise of milliseconds can be read off: 0.8 ms and 80 ms fall into different buckets."""
    metrics = Metrics()
    metrics.event_to_last_frame(0.0008)
    metrics.ack_to_durable(0.08)
    metrics.event_loop_lag(0.0001)
    samples = exposed(metrics)
    assert samples['gateway_event_to_last_frame_seconds_bucket{le="0.001"}'] == 1
    assert samples['gateway_ack_to_durable_seconds_bucket{le="0.05"}'] == 0
    assert samples['gateway_ack_to_durable_seconds_bucket{le="0.1"}'] == 1
    assert samples["gateway_event_loop_lag_seconds_count"] == 1


def test_many_like_durations_count_as_many() -> None:
    """Acks of one commit come together: each counts, in its bucket, in the count and in the sum."""
    metrics = Metrics()
    metrics.ack_to_durable(0.08, 3)
    metrics.ack_to_durable(0.3)
    samples = exposed(metrics)
    assert samples['gateway_ack_to_durable_seconds_bucket{le="0.1"}'] == 3
    assert samples["gateway_ack_to_durable_seconds_count"] == 4
    assert samples["gateway_ack_to_durable_seconds_sum"] == pytest.approx(0.54)


def test_storage_that_recovered_is_not_failing_any_more() -> None:
    """The alarm ends with its cause."""
    metrics = Metrics()
    metrics.storage_failing("europe", True)
    metrics.storage_failing("europe", False)
    assert exposed(metrics)['gateway_storage_failing{region="europe"}'] == 0


def test_a_close_code_a_client_made_up_adds_no_label() -> None:
    """Whatever clients do, the number of time series stays bounded."""
    metrics = Metrics()
    for code in range(900, 5100):
        metrics.closed(code)
    labels = [name for name in exposed(metrics) if name.startswith("gateway_closes_total")]
    assert len(labels) <= 23
    assert 'gateway_closes_total{code="other"}' in labels


def test_two_gateways_in_one_process_do_not_share_counts() -> None:
    """Counts belong to one gateway: nothing is registered in the library's global registry."""
    one, other = Metrics(), Metrics()
    one.notices_sent()
    assert exposed(other)["gateway_notices_sent_total"] == 0


@pytest.mark.parametrize("label", ["participant", "call", "organization", "session", "device", "name", "thread"])
def test_no_label_is_about_anyone(label: str) -> None:
    """No metric is labelled by a person, a call or an organisation."""
    assert f"`{label}`" not in (gateway.metrics.__doc__ or "")
