from tests.unit.sensors.waiting import documents, s3, waiting  # noqa: F401 - fixtures
