-- What the last walk saw of each directory.
SELECT 1;
