-- A small lending library: enough for a first backup and restore.
CREATE TYPE loan_state AS ENUM ('open', 'returned', 'overdue');
CREATE DOMAIN isbn AS text CHECK (VALUE ~ '^97[89][0-9]{10}$');

CREATE TABLE authors (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE
);
CREATE TABLE books (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  author_id integer NOT NULL REFERENCES authors,
  isbn isbn NOT NULL UNIQUE,
  title text NOT NULL,
  words tsvector GENERATED ALWAYS AS (to_tsvector('english', title)) STORED
);
CREATE INDEX books_words ON books USING gin (words);
CREATE TABLE borrowers (
  id bigserial PRIMARY KEY,
  name text NOT NULL,
  since date NOT NULL DEFAULT current_date
);
CREATE TABLE loans (
  book_id integer NOT NULL REFERENCES books,
  borrower_id bigint NOT NULL REFERENCES borrowers,
  lent date NOT NULL,
  state loan_state NOT NULL DEFAULT 'open',
  PRIMARY KEY (book_id, borrower_id, lent)
) PARTITION BY RANGE (lent);
CREATE TABLE loans_2025 PARTITION OF loans FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE loans_2026 PARTITION OF loans FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE attachments (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  book_id integer NOT NULL REFERENCES books,
  file text NOT NULL UNIQUE,
  bytes bigint NOT NULL CHECK (bytes >= 0)
);
COMMENT ON COLUMN attachments.file IS 'relative to the directory of attached files; a file never changes';
CREATE VIEW open_loans AS
  SELECT book.title, borrower.name, loan.lent
  FROM loans loan JOIN books book ON book.id = loan.book_id JOIN borrowers borrower ON borrower.id = loan.borrower_id
  WHERE loan.state <> 'returned';

INSERT INTO authors (name) SELECT 'Author ' || n FROM generate_series(1, 200) n;
INSERT INTO books (author_id, isbn, title)
  SELECT 1 + n % 200, '978' || lpad(n::text, 10, '0'), 'The ' || n || '. book of the library' FROM generate_series(1, 5000) n;
INSERT INTO borrowers (name, since) SELECT 'Borrower ' || n, date '2024-01-01' + n % 700 FROM generate_series(1, 1000) n;
INSERT INTO loans (book_id, borrower_id, lent, state)
  SELECT 1 + n % 5000, 1 + n % 997, date '2025-01-01' + n % 690, (enum_range(NULL::loan_state))[1 + n % 3]
  FROM generate_series(1, 20000) n;
INSERT INTO attachments (book_id, file, bytes)
  SELECT n, format('%s/%s/cover %s.jpg', 2025 + n % 2, lpad((1 + n % 12)::text, 2, '0'), n),
         CASE n WHEN 1 THEN 0 WHEN 2 THEN 40 * 1024 * 1024 ELSE 1000 + n * 97 END
  FROM generate_series(1, 300) n;
