"""Any task is killed at any instant, and the run goes on as under Airflow: nothing is lost, nothing is there twice."""

from __future__ import annotations

import random

import pytest

from tests.faults.kills import Survey, kill_all, sample, survey
from tests.faults.world import World

BOTH = pytest.mark.parametrize("place", ["s3", "vault"], indirect=True)
SEED = 20
FIRSTS, BACKUPS, RESTORES, DELETIONS = 3, 9, 9, 6  # of several hundred instants; the long form takes all


@pytest.fixture
def surveyed(world: World) -> Survey:
    return survey(world, random.Random(SEED))


@BOTH
@pytest.mark.timeout(900)
def test_a_run_killed_at_an_instant_of_any_task_goes_on(world: World, surveyed: Survey) -> None:
    chance = random.Random(SEED)
    assert {kill.step for kill in surveyed.backups} >= {"open_backup", "dump_database", "scan_files", "close_backup"}
    assert {kill.step for kill in surveyed.restores} >= {"plan_restore", "download", "restore_database", "move_orphans"}
    assert {kill.step for kill in surveyed.deletions} == {"plan_deletion", "delete_backup"}
    world.renew()
    chosen = Survey(
        sample(surveyed.firsts, FIRSTS, chance),
        sample(surveyed.backups, BACKUPS, chance),
        sample(surveyed.restores, RESTORES, chance),
        sample(surveyed.deletions, DELETIONS, chance),
    )
    kill_all(world, chosen, chance)
    assert world.figures.kills >= (FIRSTS + BACKUPS + RESTORES + DELETIONS) // 2, world.figures  # some end before
    world.check_paid_once()
