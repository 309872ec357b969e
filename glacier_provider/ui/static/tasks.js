// The tasks of one run in Airflow, each with the way to its log.

import { query, useAnswer } from "./api.js";
import * as form from "./format.js";
import { h, Link, Nothing, Problem, Time, Waiting } from "./parts.js";
import { TaskBadge } from "./status.js";
import { Table } from "./table.js";

const OPEN = new Set(["running", "queued"]);

const COLUMNS = [
  { name: "Task", wrap: true, show: (task) => h(Link, { to: `/${task.log_url}` }, nameOf(task)) },
  { name: "State", show: (task) => h(TaskBadge, { state: task.state }) },
  { name: "Attempt", number: true, from: "md", show: (task) => form.count(task.try_number) },
  { name: "Started", from: "md", show: (task) => h(Time, { at: task.started_at }) },
  { name: "Took", number: true, show: (task) => form.took({ opened_at: task.started_at, closed_at: task.ended_at, state: task.state }) },
];

const nameOf = ({ task_id: id, map_index: index }) => (index < 0 ? id : `${id} [${index}]`);

export function Tasks({ dagId, runId }) {
  const { data, error } = useAnswer(`/runs/tasks${query({ dag_id: dagId, dag_run_id: runId })}`, (found) => (OPEN.has(found?.state) ? 3000 : null));
  if (error?.status === 404) return h(Nothing, null, "Airflow no longer has this run, or its logs.");
  if (!data) return error ? h(Problem, { error }) : h(Waiting);
  return h(Table, { label: "Tasks of the run", columns: COLUMNS, rows: data.tasks, keyOf: nameOf, empty: "No task has begun." });
}
