-- What tells that an archive is corrupt may be a restore: that is no proof.
ALTER TABLE verified_archives ALTER COLUMN proof_id DROP NOT NULL;
