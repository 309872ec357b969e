-- name: claim_alert
-- One process at a time tells a target of a state: the one that gets a row. What did not arrive is tried again after a
-- while, the longer the more often it was tried, and so is what a process that died was about to tell.
INSERT INTO alerts AS a (application_id, target, event, state)
VALUES (%(application_id)s, %(target)s, %(event)s, %(state)s)
ON CONFLICT (application_id, target, event, state) DO UPDATE
   SET claimed_at = clock_timestamp(), tries = a.tries + 1, error = NULL
 WHERE a.told_at IS NULL AND a.claimed_at < clock_timestamp() - make_interval(mins => least(5 * a.tries, 60))
RETURNING tries;

-- name: record_alert
UPDATE alerts SET told_at = CASE WHEN %(error)s::text IS NULL THEN clock_timestamp() END, error = %(error)s
 WHERE application_id = %(application_id)s AND target = %(target)s AND event = %(event)s AND state = %(state)s;

-- name: forget_alerts
-- What is over may be told again when it comes back. What happened once is forgotten when it is no news any more.
DELETE FROM alerts a
 WHERE a.application_id = %(application_id)s
   AND NOT EXISTS (SELECT FROM unnest(%(events)s::text[], %(states)s::text[]) AS n (event, state)
                    WHERE n.event = a.event AND n.state = a.state)
   AND (a.event <> ALL(%(once)s) OR a.claimed_at < clock_timestamp() - interval '7 days');

-- name: list_alerts
SELECT event, state, claimed_at, told_at, tries, error FROM alerts
 WHERE application_id = %(application_id)s ORDER BY claimed_at DESC LIMIT 200;
