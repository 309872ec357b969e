"""What an OpenTelemetry collector is sent by OTLP over HTTP, read with OpenTelemetry's own messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.receivers import Received


@dataclass(frozen=True)
class Point:
    """One figure: its name, its tags, its value."""

    name: str
    tags: Mapping[str, str]
    value: float


def points_of(received: Iterable[Received]) -> list[Point]:
    """Return the gauges and the sums that arrived, in their order."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    return [
        point
        for one in received
        for of_resource in ExportMetricsServiceRequest.FromString(one.body).resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
        for point in _points(metric)
    ]


def _points(metric: Any) -> Iterator[Point]:
    of_kind = {"gauge": metric.gauge, "sum": metric.sum}.get(metric.WhichOneof("data"))
    for one in of_kind.data_points if of_kind else ():
        tags = {tag.key: tag.value.string_value for tag in one.attributes}
        yield Point(metric.name, tags, getattr(one, one.WhichOneof("value")))
