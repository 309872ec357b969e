from __future__ import annotations

import pytest

from glacier_provider.core.store_uri import VaultUri, parse_store_uri
from glacier_provider.errors import ConfigurationError

TOPIC = "arn:aws:sns:eu-central-1:123456789012:retrievals"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("glacier://photos", VaultUri("photos")),
        ("glacier://photos?region=eu-central-1", VaultUri("photos", "eu-central-1")),
        (f"glacier://photos?sns_topic={TOPIC}", VaultUri("photos", None, TOPIC)),
        (f"glacier://photos?region=eu-central-1&sns_topic={TOPIC}", VaultUri("photos", "eu-central-1", TOPIC)),
    ],
)
def test_a_vault_uri_is_read_and_written_the_same(text: str, place: VaultUri) -> None:
    assert parse_store_uri(text) == place
    assert str(place) == text


def test_the_order_of_parameters_makes_no_other_place() -> None:
    turned = parse_store_uri(f"glacier://photos/?sns_topic={TOPIC}&region=eu-central-1")
    assert str(turned) == f"glacier://photos?region=eu-central-1&sns_topic={TOPIC}"


@pytest.mark.parametrize("topic", ["retrievals", TOPIC + ".fifo", TOPIC.replace(":sns:", ":sqs:"), TOPIC + "%0A"])
def test_what_is_no_topic_is_refused_with_an_example(topic: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"sns_topic is .* Example: glacier://my-vault\?sns_topic=arn:aws:sns:"
    ):
        parse_store_uri(f"glacier://photos?sns_topic={topic}")
