"""Flows: names are put on, what has none is forgotten in time, and metrics keep the names that dashboards know."""

from dataclasses import replace
from errno import ECONNREFUSED, ETIMEDOUT

import pytest

from agent.ir.flow_tables import FLOW_STEPS, OVERFLOW_ROW, FlowKey, FlowSums
from agent.ir.identity import Workload, name_id
from agent.ir.tables import Protocol, Reason
from agent.model.meta import Key
from agent.telemetry import flow_metrics
from agent.telemetry.flows import RETENTION_SECONDS, Flow, Flows, document
from agent.telemetry.metrics import Metrics
from agent.telemetry.name_index import service_id
from support.fakes.telemetry import FACE, KEY, SMILEY, FakeTable, KnownObjects, plan


def steps(**counts: int) -> tuple[int, ...]:
    """A histogram: `s0=3` is three in the first step."""
    return tuple(counts.get(f"s{number}", 0) for number in range(FLOW_STEPS))


SUMS = FlowSums(7, 5, 0, 4, 1000, 2000, 900, 400, steps(s0=3, s2=1, s15=1), steps(s1=4))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def made(rows: dict[FlowKey, FlowSums]) -> tuple[KnownObjects, FakeTable, Clock, Flows]:
    objects, table, clock = KnownObjects(), FakeTable(rows), Clock()
    return objects, table, clock, Flows(table, objects.names, clock)


def test_rows_get_names_and_those_without_are_left_out() -> None:
    other_workload = replace(KEY, workload_id=1)
    _, _, _, flows = made({KEY: SUMS, other_workload: SUMS, replace(KEY, service_id=1): SUMS, OVERFLOW_ROW: FlowSums()})
    assert flows.load() == [Flow(FACE, SMILEY, "TCP", Reason.FORWARDED, 0, SUMS)]
    assert flows.fill == {"flows": (4, 4096)}


def test_what_found_no_room_is_other() -> None:
    _, _, _, flows = made({OVERFLOW_ROW: SUMS})
    (flow,) = flows.load()
    assert (flow.client.name, flow.service.name, flow.sums) == ("other", "other", SUMS)


def test_rows_of_what_is_gone_stay_for_a_while_with_their_names() -> None:
    objects, table, clock, flows = made({KEY: SUMS, OVERFLOW_ROW: SUMS})
    flows.delete_stale()
    objects.pods.clear()
    flows.delete_stale()
    clock.now = RETENTION_SECONDS - 1
    assert flows.delete_stale() == 0
    assert [flow.client for flow in flows.load() if flow.client.name != "other"] == [FACE]
    clock.now = RETENTION_SECONDS
    assert flows.delete_stale() == 1
    assert table.rows.keys() == {OVERFLOW_ROW}
    assert objects.names.workload(FACE.id) is None


def test_rows_of_a_workload_go_while_a_service_of_its_name_stays() -> None:
    """The usual case: Deployment and Service are both called shop/web."""
    web = Workload("shop", "web", "web", "v1")
    objects, table, clock, flows = made({FlowKey(web.id, service_id(SMILEY), Reason.FORWARDED, 0, Protocol.TCP): SUMS})
    objects.pods[43] = plan("web-1", web)
    objects.services.add(Key("Service", "shop", "web"))
    assert flows.delete_stale() == 0
    del objects.pods[43]
    flows.delete_stale()
    clock.now = RETENTION_SECONDS
    assert flows.delete_stale() == 1
    assert table.rows == {}
    assert objects.names.workload(web.id) is None


def test_rows_of_a_service_go_while_a_workload_of_its_name_stays() -> None:
    web = Key("Service", "faces", "face")
    objects, table, clock, flows = made({FlowKey(FACE.id, service_id(web), Reason.FORWARDED, 0, Protocol.TCP): SUMS})
    objects.services.add(web)
    assert flows.delete_stale() == 0
    objects.services.remove(web)
    flows.delete_stale()
    clock.now = RETENTION_SECONDS
    assert flows.delete_stale() == 1
    assert table.rows == {}
    assert objects.names.service(service_id(web)) is None


def test_rows_by_the_numbers_of_an_earlier_version_are_nobodys_and_go() -> None:
    """A workload's number was once the hash of its name alone, as a Service's is: sockets of then still bear it."""
    web = Workload("shop", "web", "web", "v1")
    old = FlowKey(name_id("shop/web"), service_id(SMILEY), Reason.FORWARDED, 0, Protocol.TCP)
    objects, _, clock, flows = made({old: SUMS})
    objects.pods[43] = plan("web-1", web)
    objects.services.add(Key("Service", "shop", "web"))
    assert flows.load() == []
    flows.delete_stale()
    clock.now = RETENTION_SECONDS
    assert flows.delete_stale() == 1


def test_a_workload_that_comes_back_keeps_its_row() -> None:
    objects, table, clock, flows = made({KEY: SUMS})
    pods = dict(objects.pods)
    objects.pods.clear()
    flows.delete_stale()
    objects.pods.update(pods)
    clock.now = RETENTION_SECONDS / 2
    flows.delete_stale()
    objects.services.clear()
    clock.now = RETENTION_SECONDS
    assert flows.delete_stale() == 0
    assert table.rows.keys() == {KEY}


def test_a_row_that_an_earlier_agent_knew_goes_too() -> None:
    other_workload = replace(KEY, workload_id=1)
    _, table, clock, flows = made({other_workload: SUMS})
    flows.delete_stale()
    clock.now = RETENTION_SECONDS
    flows.delete_stale()
    assert table.rows == {}


def test_top_has_one_row_for_a_client_a_service_and_a_protocol() -> None:
    rows = {
        KEY: SUMS,
        replace(KEY, reason=Reason.TO_WAYPOINT): SUMS,
        replace(KEY, reason=Reason.NO_BACKEND): FlowSums(opened=3),
        replace(KEY, error=ECONNREFUSED): FlowSums(failed=2),
        replace(KEY, protocol=Protocol.UDP): FlowSums(opened=9),
    }
    _, _, _, flows = made(rows)
    tcp, udp = document(flows.load())
    assert tcp == {
        "namespace": "faces",
        "workload": "face",
        "service": "faces/smiley",
        "protocol": "TCP",
        "opened": 17,
        "established": 10,
        "refused": 3,
        "failed": 2,
        "closed": 8,
        "sent": 2000,
        "received": 4000,
        "connectMicroseconds": 1800,
        "rttMicroseconds": 800,
    }
    assert (udp["protocol"], udp["opened"]) == ("UDP", 9)


def rendered(rows: dict[FlowKey, FlowSums]) -> list[str]:
    _, _, _, flows = made(rows)
    metrics = Metrics("0", dict)
    metrics.register_flows(flows.load)
    return metrics.render().splitlines()


def samples(lines: list[str], name: str) -> dict[str, float]:
    """Response flags of Istio's counters, with their values."""
    found = (line for line in lines if line.startswith(f"{name}{{"))
    return {line.partition('response_flags="')[2].partition('"')[0]: float(line.rpartition(" ")[2]) for line in found}


def test_istios_counters_count_as_istio_does() -> None:
    lines = rendered(
        {
            KEY: SUMS,
            replace(KEY, reason=Reason.TO_WAYPOINT): SUMS,
            replace(KEY, reason=Reason.NO_BACKEND): FlowSums(opened=3),
            replace(KEY, reason=Reason.WAYPOINT_LOST): FlowSums(opened=2),
            replace(KEY, reason=Reason.SHARE_REJECTED): FlowSums(opened=1),
            replace(KEY, reason=Reason.PASSED): FlowSums(opened=100),
            replace(KEY, error=ECONNREFUSED): FlowSums(failed=2),
            replace(KEY, error=ETIMEDOUT): FlowSums(failed=1),
            replace(KEY, protocol=Protocol.UDP): FlowSums(opened=9),
        }
    )
    assert samples(lines, "istio_tcp_connections_opened_total") == {"-": 10, "UF": 3, "UH": 5, "NC": 1}
    assert samples(lines, "istio_tcp_connections_closed_total") == {"-": 8, "UF": 3, "UH": 5, "NC": 1}
    assert samples(lines, "istio_tcp_sent_bytes_total") == {"-": 2000, "UF": 0, "UH": 0, "NC": 0}
    assert samples(lines, "istio_tcp_received_bytes_total") == {"-": 4000, "UF": 0, "UH": 0, "NC": 0}


def test_kialis_labels_are_all_there() -> None:
    (line,) = (x for x in rendered({KEY: SUMS}) if x.startswith("istio_tcp_sent_bytes_total{"))
    for label in (
        'reporter="source"',
        'source_workload="face"',
        'source_workload_namespace="faces"',
        'source_app="face-app"',
        'source_version="v1"',
        'source_canonical_service="face-app"',
        'source_canonical_revision="v1"',
        'source_cluster="Kubernetes"',
        'source_principal="unknown"',
        'destination_service="smiley.faces.svc.cluster.local"',
        'destination_service_name="smiley"',
        'destination_service_namespace="faces"',
        'destination_workload="unknown"',
        'destination_workload_namespace="unknown"',
        'destination_canonical_service="smiley"',
        'destination_canonical_revision="latest"',
        'destination_cluster="Kubernetes"',
        'request_protocol="tcp"',
        'response_flags="-"',
        'connection_security_policy="unknown"',
    ):
        assert label in line


PAIR = {
    "source_workload_namespace": "faces",
    "source_workload": "face",
    "destination_service_namespace": "faces",
    "destination_service_name": "smiley",
}


def sample(name: str, value: float, **labels: str) -> str:
    """A line about the one pair."""
    labelled = ",".join(f'{label}="{text}"' for label, text in sorted((PAIR | labels).items()))
    return f"{name}{{{labelled}}} {value}"


def test_wefts_own_counters_keep_their_names() -> None:
    lines = rendered(
        {
            KEY: replace(SUMS, failed=1),
            replace(KEY, error=ECONNREFUSED): FlowSums(failed=2),
            replace(KEY, reason=Reason.NO_BACKEND): FlowSums(opened=3),
            replace(KEY, reason=Reason.NO_BACKEND, protocol=Protocol.UDP): FlowSums(opened=4),
            replace(KEY, protocol=Protocol.UDP): FlowSums(opened=9),
        }
    )
    assert sample("weft_tcp_failed_total", 2.0, errno="ECONNREFUSED") in lines
    assert sample("weft_tcp_failed_total", 1.0, errno="none") in lines
    assert sample("weft_refused_total", 7.0, reason="no_backend") in lines
    assert sample("weft_udp_opened_total", 9.0, reason="forwarded") in lines


def test_histograms_are_cumulative_and_in_seconds() -> None:
    lines = rendered({KEY: SUMS, replace(KEY, reason=Reason.TO_WAYPOINT): SUMS})
    for bound, count in (("0.000064", 6), ("0.000128", 6), ("0.000256", 8), ("1.048576", 8), ("+Inf", 10)):
        assert sample("weft_tcp_connect_seconds_bucket", float(count), le=bound) in lines
    assert sample("weft_tcp_connect_seconds_sum", 0.0018) in lines
    assert sample("weft_tcp_rtt_seconds_count", 8.0) in lines


def test_pairs_that_do_not_fit_are_other_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_metrics, "MAX_PAIRS", 2)
    objects, table, _, flows = made({})
    metrics = Metrics("0", dict)
    metrics.register_flows(flows.load)
    services = [Key("Service", "faces", name) for name in ("a", "b", "c")]
    objects.services.update(services)

    def names() -> dict[str, float]:
        lines = (x for x in metrics.render().splitlines() if x.startswith("istio_tcp_connections_opened_total{"))
        return {x.partition('destination_service_name="')[2].partition('"')[0]: float(x.split()[-1]) for x in lines}

    rows = [replace(KEY, service_id=service_id(service)) for service in services]
    table.rows = {rows[2]: SUMS}
    assert names() == {"c": 5}
    table.rows = dict.fromkeys(rows, SUMS)
    assert names() == {"a": 5, "c": 5, "other": 5}
    assert "weft_flow_pairs_overflowed 1.0" in metrics.render().splitlines()
    del table.rows[rows[2]]
    assert names() == {"a": 5, "b": 5}


def test_pods_of_a_workload_are_one_client() -> None:
    objects = KnownObjects()
    objects.pods[43] = plan("other-1", Workload("faces", "other", "other", "latest"))
    objects.names.refresh()
    assert objects.names.workload(objects.pods[41].workload.id) == FACE
    assert objects.names.pod(43).workload.name == "other"
