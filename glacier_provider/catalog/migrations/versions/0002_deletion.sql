-- Backups can be deleted, and vaults reconciled.
SELECT 1;
