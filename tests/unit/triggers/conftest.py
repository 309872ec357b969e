from tests.unit.sensors.waiting import s3, waiting  # noqa: F401 - fixtures
