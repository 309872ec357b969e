-- What pages show is counted where it changes, not when it is looked at.
SELECT 1;
