--- Rows for the tables beside the shop, used by the other files.

INSERT INTO tags (tag, n, weight, raw, small, ratio, code, label) VALUES
    ('red', 1, 1.5, '\x00ff', -3, 0.1, 'ab', 'short'),
    ('blue', 2, 'NaN', '\x', 32767, 1e300, 'abcde', ''),
    ('it''s', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('', 4, -0.0, '\xdeadbeef', 0, 'Infinity', '', 'empty'),
    ('grün', 5, 3.25, 'text', 1, -1.5, 'x', 'umlaut'),
    ('日本', 6, 1e-10, NULL, 2, 2.5, 'y', 'kanji');

INSERT INTO documents (id, body, parts, took, at, plain, address, size, words, doc) VALUES
    ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'first', '{a,"b c",NULL}', '1 day 02:03:04', '12:34:56.789', '2024-02-29 10:00:00', '10.0.0.1/8', '[1,5)', 'fat cat', '{"a": 1}'),
    ('b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12', 'second', '{}', '-3 mons', '00:00', 'infinity', '::1', 'empty', NULL, '[]');

INSERT INTO documents VALUES ('c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a13');

INSERT INTO ledger (what, amount) VALUES ('opening', 0), ('sale', 12.50) RETURNING id, amount;

INSERT INTO settings VALUES ('theme', 'dark'), ('language', NULL);
