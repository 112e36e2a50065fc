--- Every type of the shop and some more, in text and in binary.

SELECT 1::smallint, 2::integer, 3::bigint, 4.50::numeric(10,2), 5.5::real, 6.5::double precision;

SELECT 'NaN'::numeric, 'NaN'::float8, 'Infinity'::float4, '-0'::float8, 1e-300::float8, 12345678901234567890.123456789::numeric;

SELECT true, false, NULL::boolean;

SELECT 'text'::text, 'var'::varchar(5), 'ch'::char(5), 'n'::name, 'x'::"char";

SELECT '\x00ff10'::bytea, ''::bytea;

SELECT date '2024-02-29', time '12:34:56.789', timestamp '2024-02-29 12:34:56', timestamptz '2024-02-29 12:34:56+02', interval '1 year 2 days 03:04:05.6', timetz '12:00+01';

SELECT 'infinity'::timestamptz, '-infinity'::date, '4713-01-01 BC'::date;

SELECT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid;

SELECT '{"a": [1, 2, {"b": null}]}'::jsonb, '{"a":   1}'::json;

SELECT ARRAY[1, 2, NULL], '{{1,2},{3,4}}'::int[], ARRAY['a', 'b c', 'd"e'], '{}'::bigint[];

SELECT '10.0.0.1/8'::inet, '10.0.0.0/8'::cidr, '08:00:2b:01:02:03'::macaddr;

SELECT int4range(1, 5), numrange(1.5, 2.5, '[]'), tstzrange('2024-01-01', NULL);

SELECT point(1, 2), box '((0,0),(1,1))', circle '<(0,0),1>';

SELECT B'101'::bit(3), B'1'::varbit, '12.34'::money, 'fat & cat'::tsquery, 'a fat cat'::tsvector;

SELECT ROW(1, 'a', NULL), ROW();

SELECT NULL, NULL::int, NULL::text;

SELECT 'unknown';

SELECT 1 + 1, 7 / 2, 7 % 2, 2 ^ 10, 7.0 / 2, -5 / 2, 10 / 3.0;

SELECT 'a' || 'b', 'a' LIKE '_', 'abc' ~ 'b', upper('grün'), length('日本');

SELECT now() - now(), current_date = now()::date, extract(year FROM date '2024-01-01'), date_trunc('month', timestamp '2024-02-29 12:00');

SELECT coalesce(NULL, 1), nullif(1, 1), greatest(1, 2, 3), least('a', 'b');

SELECT generate_series(1, 3);

SELECT * FROM generate_series(1, 3) WITH ORDINALITY ORDER BY 1;

SELECT unnest(ARRAY[1, 2]), unnest(ARRAY['a', 'b', 'c']);

VALUES (1, 'a'), (2, NULL) ORDER BY 1;

SELECT * FROM (VALUES (1, 'one'), (2, 'two')) AS t (n, word) ORDER BY n;

SELECT md5('x'), encode('abc', 'hex'), to_char(1234.5, 'FM9999.00'), format('%s-%I', 'a', 'b c');

SELECT regexp_matches('foobarbaz', 'b..', 'g');

SELECT jsonb_build_object('a', 1, 'b', ARRAY[1, 2]), '{"a": {"b": 2}}'::jsonb #> '{a,b}', '{"a": 1}'::jsonb ? 'a';

SELECT json_each_text('{"a": 1, "b": "x"}');

SELECT current_user, session_user, current_database(), current_schema();

SELECT pg_typeof(1), pg_typeof(now()), 1::oid, 'users'::regclass::text;

SELECT * FROM tags WHERE tag = 'red';

SELECT * FROM tags WHERE tag = 'blue';

SELECT * FROM documents WHERE id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';

SELECT * FROM documents WHERE id = 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12';

SELECT tag, weight, ratio FROM tags ORDER BY tag;

SELECT id, parts, took, at, plain, address, size, words, doc FROM documents ORDER BY id;

SELECT user_id, birth_date, vip, balance, external_id, preferences, created_at FROM users ORDER BY user_id LIMIT 20;

SELECT rating, title, body FROM reviews ORDER BY review_id LIMIT 20;

SELECT min(weight), max(ratio) FROM tags;
