"""Which test shows which promise, keeps out which bug that peers had, and holds which control.

Rules: a promise, bug or control has at least one named test; a name stands as it is collected, so that a test that
is renamed or removed is missed here.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent

PROMISES = {
    "P1 a receipt is durable": [
        "scenarios/test_kills.py::test_every_receipt_survives_every_kill",
        "scenarios/test_kills.py::test_a_receipt_is_only_given_for_what_is_on_disk",
        "storage/test_powerloss.py::test_nothing_confirmed_is_lost_when_the_power_goes",
        "storage/test_failed_sync.py::test_a_failed_sync_is_never_taken_for_one_that_worked",
        "scenarios/test_restart.py::test_everything_comes_back_after_a_kill",
    ],
    "P2 no silent gap": [
        "scenarios/test_coverage.py::test_everyone_proved_is_complete",
        "scenarios/test_coverage.py::test_pending_becomes_overdue_and_is_sent_again",
        "scenarios/test_coverage.py::test_who_left_before_proof_is_a_gap_whose_exposure_ended",
        "scenarios/test_coverage.py::test_who_was_lost_is_disconnected_before_and_after_absence",
        "scenarios/test_coverage.py::test_who_never_had_a_session_is_unreachable",
        "scenarios/test_coverage.py::test_who_declines_is_a_gap_of_consent_only",
        "scenarios/test_coverage.py::test_who_reads_too_slowly_is_slow",
        "scenarios/test_full_disk.py::test_a_full_disk_stops_receipts_and_never_notices",
    ],
    "P3 idempotent": [
        "scenarios/test_idempotence.py::test_a_thousand_duplicates_are_one_start",
        "scenarios/test_idempotence.py::test_reordered_events_end_in_the_same_state",
        "scenarios/test_idempotence.py::test_repeated_acks_are_answered_with_the_same_entry",
        "scenarios/test_mqtt.py::test_the_same_event_by_both_ways_is_one",
    ],
    "P4 fail towards telling": [
        "scenarios/test_fusion.py::test_a_client_alone_opens_at_once_and_everyone_is_told",
        "scenarios/test_fusion.py::test_a_clients_false_stop_never_stops_an_authority",
        "scenarios/test_fusion.py::test_what_time_alone_does",
    ],
    "P5 nobody sees another's": [
        "scenarios/test_isolation.py::test_the_same_call_id_of_two_organisations_is_two_calls",
        "scenarios/test_isolation.py::test_control_answers_say_whose_call_they_mean",
        "scenarios/test_isolation.py::test_no_roster_name_or_count_reaches_a_client",
        "scenarios/test_isolation.py::test_a_token_opens_its_calls_only",
    ],
    "P6 residency": [
        "scenarios/test_residency.py::test_an_unserved_resource_is_refused_at_hello",
        "scenarios/test_residency.py::test_an_unserved_resource_is_refused_in_events",
        "scenarios/test_residency.py::test_no_token_is_minted_for_an_unserved_resource",
        "scenarios/test_residency.py::test_personal_data_lies_sealed_in_its_own_region",
        "scenarios/test_residency.py::test_every_open_file_has_its_place",
    ],
    "P9 bounded": [
        "scenarios/test_bounds.py::test_slow_readers_cost_a_bounded_amount_and_nobodys_time",
        "scenarios/test_bounds.py::test_a_flood_ends_the_flooder_only",
        "scenarios/test_bounds.py::test_a_huge_batch_does_not_delay_a_notice",
    ],
    "P10 loud": [
        "scenarios/test_full_disk.py::test_a_full_disk_stops_receipts_and_never_notices",
        "scenarios/test_full_disk.py::test_what_was_durable_survives_a_kill_on_a_full_disk",
    ],
}

PEER_BUGS = {
    "1 resume before the first event": ["scenarios/test_restart.py::test_rejoining_before_the_first_event_is_whole"],
    "2 an old connection's late timeout kills the new session": [
        "scenarios/test_restart.py::test_the_old_connections_end_does_not_end_the_new_session",
        "scenarios/test_restart.py::test_a_newer_session_of_a_device_replaces_the_older",
        "client/test_back.py::test_the_old_connections_end_does_not_touch_the_new_session",
    ],
    "4 an unknown last id leaves the client stuck": [
        "scenarios/test_restart.py::test_an_unknown_revision_leaves_nobody_stuck"
    ],
    "5 the client loops if the app listens to nothing": [
        "client/test_told.py::test_an_app_without_a_listener_neither_loops_nor_loses"
    ],
    "6 the first message after a silent death is lost": [
        "scenarios/test_restart.py::test_a_notice_sent_into_a_silent_death_is_owed",
        "client/test_repeated.py::test_a_silent_death_is_noticed_and_nothing_said_into_it_is_lost",
    ],
    "7 an ack higher than sent": ["scenarios/test_idempotence.py::test_an_ack_of_what_was_never_sent_is_refused"],
    "8 a duplicate after the broker's restart": ["scenarios/test_mqtt.py::test_a_broker_killed_and_back_costs_nothing"],
    "9 the race between snapshot and subscription": [
        "scenarios/test_restart.py::test_no_window_between_state_and_live"
    ],
    "10 a late joiner while paused": ["scenarios/test_fusion.py::test_a_late_joiner_is_told_the_whole_state_first"],
    "11 false and true flap on leave": ["scenarios/test_fusion.py::test_a_flap_of_a_leaving_client_is_no_stop"],
    "12 two announcements for one start": [
        "scenarios/test_fusion.py::test_one_start_reported_by_every_source_is_told_once"
    ],
    "16 acknowledged to the broker and lost in memory": [
        "scenarios/test_mqtt.py::test_a_gateway_killed_between_receipt_and_commit_loses_nothing",
        "contracts/test_mqtt.py::test_nothing_is_acknowledged_before_it_is_durable",
    ],
    "18 the database is locked during a sweep": [
        "scenarios/test_messages.py::test_a_sweep_in_the_background_never_locks_anybody_out"
    ],
    "24 a refresh kicks everyone": ["scenarios/test_tokens.py::test_a_refresh_disturbs_nobody"],
    "26 a full disk": ["scenarios/test_full_disk.py::test_a_full_disk_stops_receipts_and_never_notices"],
    "27 the clock steps backwards": [
        "core/test_fusion_limits.py::test_peer_bug_27_a_clock_that_steps_back_hides_no_start",
        "core/test_attendance.py::test_peer_bug_27_whoever_leaves_after_the_clock_stepped_back_was_there",
        "core/test_coverage.py::test_peer_bug_27_no_exposure_is_negative",
        "test_wheel.py::test_everything_that_expired_is_found_whatever_the_clock_does",
    ],
}

CONTROLS = {
    "E2 origins": ["scenarios/test_tokens.py::test_only_our_origins_may_connect"],
    "E3 no cookies": ["scenarios/test_tokens.py::test_a_token_stands_in_the_hello_or_in_authorization"],
    "E4 no token in URL or log": [
        "scenarios/test_tokens.py::test_a_token_stands_in_the_hello_or_in_authorization",
        "scenarios/test_running.py::test_the_log_is_one_json_line_each_and_names_nobody",
    ],
    "E5 the handshake's limits": [
        "scenarios/test_malformed.py::test_a_malformed_handshake_is_answered_in_http",
        "scenarios/test_malformed.py::test_silent_and_flooding_clients_are_ended_in_time",
    ],
    "E6 a budget for strangers": [
        "scenarios/test_bounds.py::test_silent_sockets_do_not_keep_others_out",
        "test_edge.py::test_strangers_are_closed_first_oldest_first",
    ],
    "E7 caps and floods": [
        "scenarios/test_bounds.py::test_a_flood_ends_the_flooder_only",
        "scenarios/test_bounds.py::test_one_participant_has_a_bounded_number_of_sessions",
    ],
    "E8 sizes": ["scenarios/test_malformed.py::test_a_malformed_text_ends_its_connection_only"],
    "E9 no compression": ["scenarios/test_malformed.py::test_compression_is_never_agreed"],
    "E10 UTF-8 and binary": [
        "scenarios/test_malformed.py::test_a_malformed_text_ends_its_connection_only",
        "scenarios/test_malformed.py::test_a_malformed_frame_ends_its_connection_only",
    ],
    "E11 strict JSON": [
        "scenarios/test_malformed.py::test_a_malformed_text_ends_its_connection_only",
        "core/test_wire.py::test_arbitrary_bytes_raise_nothing_else",
    ],
    "E12 slow readers": [
        "scenarios/test_bounds.py::test_slow_readers_cost_a_bounded_amount_and_nobodys_time",
        "test_listener.py::test_thirty_seconds_behind_is_4008",
    ],
    "E13 half-open connections": ["scenarios/test_restart.py::test_a_pong_keeps_a_session"],
    "T1 algorithms and keys": [
        "core/test_tokens.py::test_every_attack_is_refused_with_4401",
        "scenarios/test_tokens.py::test_attack_tokens_are_refused_at_the_door",
    ],
    "T2 claims that libraries miss": ["core/test_tokens.py::test_every_attack_is_refused_with_4401"],
    "T3 every claim required": [
        "core/test_tokens.py::test_every_attack_is_refused_with_4401",
        "scenarios/test_tokens.py::test_a_refresh_cannot_become_another",
    ],
    "T5 expiry on live sockets": [
        "scenarios/test_tokens.py::test_an_expired_token_closes_its_live_socket",
        "scenarios/test_tokens.py::test_the_client_refreshes_before_its_token_expires",
    ],
    "W2 handshakes need the secret": [
        "scenarios/test_idempotence.py::test_the_subscription_handshake_needs_the_secret",
        "scenarios/test_idempotence.py::test_the_cloudevents_handshake_needs_the_secret",
    ],
    "W3 no address is called": ["scenarios/test_idempotence.py::test_no_address_in_a_body_is_ever_called"],
    "W4 limits and duplicates": [
        "scenarios/test_idempotence.py::test_a_thousand_duplicates_are_one_start",
        "scenarios/test_idempotence.py::test_a_megabyte_and_five_thousand_events_are_taken",
        "scenarios/test_idempotence.py::test_an_ancient_event_announces_nothing",
        "scenarios/test_idempotence.py::test_a_malformed_item_fails_alone",
    ],
    "D1 organisations are apart": [
        "scenarios/test_isolation.py::test_the_same_call_id_of_two_organisations_is_two_calls",
        "scenarios/test_isolation.py::test_a_roster_over_two_organisations_is_split",
    ],
    "D3 modes of files": ["scenarios/test_residency.py::test_every_file_belongs_to_its_owner_alone"],
    "D4 a hardened engine": [
        "storage/test_opening.py::test_the_engine_is_hardened",
        "test_architecture.py::test_d4_no_statement_is_put_together_from_data",
    ],
    "L1 one line, no control characters": [
        "scenarios/test_running.py::test_the_log_is_one_json_line_each_and_names_nobody",
        "test_log.py::test_l1_no_text_at_all_breaks_the_line",
    ],
    "L2 nobody is named": [
        "scenarios/test_running.py::test_the_log_is_one_json_line_each_and_names_nobody",
        "test_log.py::test_l2_raw_ids_tokens_and_secrets_are_struck_out_of_any_text",
    ],
}

SHOWN = PROMISES | PEER_BUGS | CONTROLS


@cache
def _tests(path: Path) -> dict[str, str]:
    """The tests of a file, each with its docstring."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)]
    return {node.name: ast.get_docstring(node) or "" for node in found if node.name.startswith("test_")}


@pytest.mark.parametrize("what", SHOWN)
def test_each_has_a_named_test(what: str) -> None:
    """A promise, a peer's bug and a control are shown by tests that exist and say which rule they show."""
    for name in SHOWN[what]:
        file, _, test = name.partition("::")
        assert _tests(TESTS / file).get(test), f"{what}: no such test, or one that states no rule: {name}"


def test_every_scenario_states_its_rule() -> None:
    """Whoever reads a scenario that fails reads first what it stands for."""
    silent = [
        f"{path.name}::{test}"
        for path in sorted(Path(__file__).parent.glob("test_*.py"))
        for test, rule in _tests(path).items()
        if not rule
    ]
    assert silent == []
