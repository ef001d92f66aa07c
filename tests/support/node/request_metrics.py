"""Metrics of an agent, summed by labels."""

from prometheus_client.parser import text_string_to_metric_families

from support.node.lab_handle import LabHandle

METRICS = ("curl", "-sS", "http://127.0.0.1:9464/metrics")


def counted(mesh: LabHandle, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    found = text_string_to_metric_families(mesh.node(*METRICS).stdout)
    samples = [sample for family in found for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())
