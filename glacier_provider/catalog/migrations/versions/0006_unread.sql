-- Which backup tried last to read a file that is not archived, and could not: it is completed without it.

ALTER TABLE glacier_archives ADD COLUMN unread_by bigint;
