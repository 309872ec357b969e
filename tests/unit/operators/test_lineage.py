"""A kind of task that is to tell OpenLineage what it reads and writes, and does not, is refused where it is defined."""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from glacier_provider.operators.backup_steps import CloseBackupOperator
from glacier_provider.operators.drill_steps import CloseDrillOperator
from glacier_provider.operators.glacier_upload import GlacierUploadOperator
from glacier_provider.operators.lineage import Ends, LineageOperator
from glacier_provider.operators.pg_dump import PgDumpOperator
from glacier_provider.operators.restore_steps import CloseRestoreOperator
from glacier_provider.operators.verify_steps import CloseVerificationOperator

WITHOUT = """
from airflow.sdk import DAG
from glacier_provider.operators.lineage import LineageOperator

class Copy(LineageOperator):
    def execute(self, context):
        return None

with DAG("copies", schedule=None):
    Copy(task_id="copy", application="dms")
"""


KINDS = (
    PgDumpOperator,
    GlacierUploadOperator,
    CloseBackupOperator,
    CloseRestoreOperator,
    CloseDrillOperator,
    CloseVerificationOperator,
)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_task_keeps_what_it_returns(kind: type[LineageOperator]) -> None:
    """Without that, OpenLineage hears of a task that it ran, and nothing of what came of it."""
    source = ast.parse(textwrap.dedent(inspect.getsource(kind.execute)))
    returned = [node.value for node in ast.walk(source) if isinstance(node, ast.Return)]
    assert returned
    assert all(ast.unparse(one).startswith("self.told(") for one in returned if one is not None)


def test_an_operator_without_flow_is_an_error_of_its_dag_file(tmp_path: Path) -> None:
    path = tmp_path / "copies.py"
    path.write_text(WITHOUT)
    bag = DagBag(str(path))
    assert not bag.dags
    (told,) = bag.import_errors.values()
    assert "Copy is a LineageOperator without `flow`" in told
    assert "Let flow(ends) return what it reads and writes, or make it a GlacierOperator." in told


def test_one_that_inherits_it_or_is_but_a_base_is_none() -> None:
    class _Base(LineageOperator):
        """For others."""

    class Copy(_Base):
        def flow(self, ends: Ends) -> None:
            return None

    class Again(Copy):
        """The same once more."""

    with pytest.raises(TypeError, match="Lacking is a LineageOperator without `flow`"):
        type("Lacking", (_Base,), {})
