CREATE ROLE psql_reader LOGIN;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE authors (id int PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE books (
    id serial PRIMARY KEY,
    title text NOT NULL,
    author_id int REFERENCES authors ON DELETE CASCADE,
    published date DEFAULT '2020-01-01' CHECK (published > '1900-01-01')
);
COMMENT ON TABLE books IS 'what is read';
CREATE INDEX books_by_title ON books (lower(title)) WHERE author_id IS NOT NULL;
CREATE TABLE moods (id int, mood mood);
CREATE TABLE scratch (a int);
CREATE VIEW recent AS SELECT title FROM books WHERE published > '2020-01-01';
CREATE MATERIALIZED VIEW counts AS SELECT author_id, count(*) FROM books GROUP BY 1;
CREATE TABLE parted (a int, b text) PARTITION BY RANGE (a);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
CREATE STATISTICS books_stats ON title, author_id FROM books;
CREATE PUBLICATION all_books FOR TABLE books;
GRANT SELECT ON books TO psql_reader;
ALTER ROLE psql_reader SET work_mem = '7MB';
INSERT INTO authors VALUES (1, 'Ada'), (2, 'Ben');
INSERT INTO books (title, author_id, published) VALUES
    ('One', 1, '2020-01-01'), ('Two', 2, '2021-02-02'), ('Three', 1, '2022-03-03');
INSERT INTO moods VALUES (1, 'good'), (2, 'bad'), (3, 'good');
