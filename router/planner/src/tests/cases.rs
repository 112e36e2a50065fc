//! One check for each area.
#![expect(clippy::too_many_lines, reason = "a list of statements with their plans")]

use super::{check, is_query, render};
use crate::tests::shop::Shop;
use crate::{Notice, Values};
use expect_test::expect;

#[test]
fn keys() {
    check(
        "
        SELECT * FROM orders WHERE user_id = 42
        SELECT * FROM orders WHERE 42 = user_id
        SELECT * FROM public.orders o WHERE o.user_id = '42'
        SELECT * FROM orders WHERE user_id = -42
        SELECT * FROM orders WHERE user_id = - -42
        SELECT * FROM orders WHERE user_id = 42::int
        SELECT * FROM orders WHERE user_id = '42'::bigint
        SELECT * FROM orders WHERE user_id = CAST(42 AS integer)
        SELECT * FROM orders WHERE user_id = 42.0
        SELECT * FROM orders WHERE user_id = 42 AND status = 'open'
        SELECT * FROM orders WHERE status = 'open' AND (total > 5 AND user_id = 42)
        SELECT * FROM orders WHERE user_id = 42 OR user_id = 42
        SELECT * FROM orders WHERE (user_id = 42 AND status = 'a') OR (user_id = 42 AND status = 'b')
        SELECT * FROM orders WHERE user_id = 42 OR status = 'open'
        SELECT * FROM orders WHERE user_id IN (42)
        SELECT * FROM orders WHERE user_id IN (1, 2, 3)
        SELECT * FROM orders WHERE user_id NOT IN (1, 2)
        SELECT * FROM orders WHERE user_id = ANY (ARRAY[42, 42])
        SELECT * FROM orders WHERE user_id = ANY ('{42}')
        SELECT * FROM orders WHERE user_id = ANY ('{1,2,3}'::bigint[])
        SELECT * FROM orders WHERE user_id = ALL (ARRAY[42])
        SELECT * FROM orders WHERE (user_id, order_id) = (42, 7)
        SELECT * FROM orders WHERE (user_id, order_id) IN ((42, 7), (42, 8))
        SELECT * FROM orders WHERE user_id = NULL
        SELECT * FROM orders WHERE user_id = 99999999999999999999
        SELECT * FROM orders WHERE user_id = 'abc'
        SELECT * FROM orders WHERE user_id > 42
        SELECT * FROM orders WHERE NOT user_id = 42
        SELECT * FROM orders WHERE user_id IS NOT DISTINCT FROM 42
        SELECT * FROM orders WHERE user_id = 42 AND user_id = 43
        SELECT * FROM inventory WHERE product_id = 7
        SELECT * FROM inventory WHERE product_id = 70000000000
        SELECT * FROM documents WHERE id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
        SELECT * FROM documents WHERE id = E'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
        SELECT * FROM tags WHERE tag = 'it''s'
        SELECT * FROM tags WHERE tag = $$it's$$
        SELECT * FROM tags WHERE tag = 5
        SELECT * FROM folded WHERE tag = 'x'
        SELECT * FROM missing WHERE id = 1
        SELECT 'it''s' FROM orders WHERE user_id = 42 -- comment with '
        SELECT /* a 'b' */ count(*) FROM orders WHERE user_id = 42
        ",
        expect![[r#"
            SELECT * FROM orders WHERE user_id = 42
                single 0 slot 6754 cache(shard key=42, 5s)
            SELECT * FROM orders WHERE 42 = user_id
                single 0 slot 6754 cache(shard key=42, 5s)
            SELECT * FROM public.orders o WHERE o.user_id = '42'
                single 0 slot 6754 cache(shard key=42, 5s)
            SELECT * FROM orders WHERE user_id = -42
                single 1 slot 8514 cache(shard key=-42, 5s)
            SELECT * FROM orders WHERE user_id = - -42
                single 0 slot 6754 cache(shard key=42, 5s)
            SELECT * FROM orders WHERE user_id = 42::int
                single 0 slot 6754 cache(shard key=42, 5s)
            SELECT * FROM orders WHERE user_id = '42'::bigint
                single 0 slot 6754 cache(shard key=42, 5s)
            SELECT * FROM orders WHERE user_id = CAST(42 AS integer)
                single 0 slot 6754 cache(shard key=42, 5s)
            SELECT * FROM orders WHERE user_id = 42.0
                scatter Rows { order: [] } offset 0 limit None columns 6 hidden 0 [0 | 1]
            SELECT * FROM orders WHERE user_id = 42 AND status = 'open'
                single 0 slot 6754
            SELECT * FROM orders WHERE status = 'open' AND (total > 5 AND user_id = 42)
                single 0 slot 6754
            SELECT * FROM orders WHERE user_id = 42 OR user_id = 42
                single 0 slot 6754
            SELECT * FROM orders WHERE (user_id = 42 AND status = 'a') OR (user_id = 42 AND status = 'b')
                single 0 slot 6754
            SELECT * FROM orders WHERE user_id = 42 OR status = 'open'
                scatter Rows { order: [] } offset 0 limit None columns 6 hidden 0 [0 | 1]
            SELECT * FROM orders WHERE user_id IN (42)
                single 0 slot 6754
            SELECT * FROM orders WHERE user_id IN (1, 2, 3)
                scatter Rows { order: [] } offset 0 limit None columns 6 hidden 0 [0 | 1]
            SELECT * FROM orders WHERE user_id NOT IN (1, 2)
                scatter Rows { order: [] } offset 0 limit None columns 6 hidden 0 [0 | 1]
            SELECT * FROM orders WHERE user_id = ANY (ARRAY[42, 42])
                single 0 slot 6754
            SELECT * FROM orders WHERE user_id = ANY ('{42}')
                single 0 slot 6754
            SELECT * FROM orders WHERE user_id = ANY ('{1,2,3}'::bigint[])
                scatter Rows { order: [] } offset 0 limit None columns 6 hidden 0 [0 | 1]
            SELECT * FROM orders WHERE user_id = ALL (ARRAY[42])
                scatter Rows { order: [] } offset 0 limit None columns 6 hidden 0 [0 | 1]
            SELECT * FROM orders WHERE (user_id, order_id) = (42, 7)
                single 0 slot 6754
            SELECT * FROM orders WHERE (user_id, order_id) IN ((42, 7), (42, 8))
                single 0 slot 6754
            SELECT * FROM orders WHERE user_id = NULL
                single 0
            SELECT * FROM orders WHERE user_id = 99999999999999999999
                single 0
            SELECT * FROM orders WHERE user_id = 'abc'
                single 0
            SELECT * FROM orders WHERE user_id > 42
                scatter Rows { order: [] } offset 0 limit None columns 6 hidden 0 [0 | 1]
            SELECT * FROM orders WHERE NOT user_id = 42
                scatter Rows { order: [] } offset 0 limit None columns 6 hidden 0 [0 | 1]
            SELECT * FROM orders WHERE user_id IS NOT DISTINCT FROM 42
                scatter Rows { order: [] } offset 0 limit None columns 6 hidden 0 [0 | 1]
            SELECT * FROM orders WHERE user_id = 42 AND user_id = 43
                single 0 slot 6754
            SELECT * FROM inventory WHERE product_id = 7
                single 0 slot 1303
            SELECT * FROM inventory WHERE product_id = 70000000000
                single 0
            SELECT * FROM documents WHERE id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
                single 1 slot 9680 cache(pk=a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11, 5s)
            SELECT * FROM documents WHERE id = E'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
                single 1 slot 9680 cache(pk=a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11, 5s)
            SELECT * FROM tags WHERE tag = 'it''s'
                single 1 slot 11297
            SELECT * FROM tags WHERE tag = $$it's$$
                single 1 slot 11297
            SELECT * FROM tags WHERE tag = 5
                single 0
            SELECT * FROM folded WHERE tag = 'x'
                refuse 0A000: the configured shard key of public.folded is not a column of a type that can be a key
            SELECT * FROM missing WHERE id = 1
                refuse 42P01: the configuration lists it as sharded, but the catalog that was loaded last does not have it
            SELECT 'it''s' FROM orders WHERE user_id = 42 -- comment with '
                single 0 slot 6754
            SELECT /* a 'b' */ count(*) FROM orders WHERE user_id = 42
                single 0 slot 6754
        "#]],
    );
}

#[test]
fn joins_and_subqueries() {
    check(
        "
        SELECT * FROM users u JOIN orders o ON o.user_id = u.user_id WHERE u.user_id = 42
        SELECT * FROM users u JOIN orders o USING (user_id) WHERE u.user_id = 42
        SELECT * FROM users u JOIN orders o USING (user_id) WHERE user_id = 42
        SELECT * FROM users u, orders o, order_items i WHERE u.user_id = o.user_id AND o.user_id = i.user_id AND i.user_id = 42
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.user_id WHERE u.user_id = 42
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.user_id AND u.user_id = 42
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = 42 WHERE u.user_id = 42
        SELECT * FROM users u RIGHT JOIN orders o ON o.user_id = u.user_id WHERE o.user_id = 42
        SELECT * FROM users u FULL JOIN orders o ON o.user_id = u.user_id WHERE u.user_id = 42
        SELECT * FROM users u JOIN orders o ON o.order_id = u.user_id WHERE u.user_id = 42
        SELECT * FROM users u JOIN orders o ON u.user_id = o.user_id WHERE u.user_id IN (1, 2, 3)
        SELECT * FROM users u JOIN orders o ON u.user_id = o.user_id WHERE u.user_id = 1 AND o.user_id = 2
        SELECT * FROM users u JOIN orders o ON true WHERE u.user_id = 1 AND o.user_id = 2
        SELECT * FROM users u JOIN orders o ON true WHERE u.user_id = 42 AND o.user_id = 42
        SELECT * FROM users u NATURAL JOIN orders o WHERE u.user_id = 42
        SELECT * FROM order_items i JOIN products p ON p.product_id = i.product_id WHERE i.user_id = 42
        SELECT * FROM orders o JOIN settings s ON s.name = o.status WHERE o.user_id = 42
        SELECT * FROM inventory v JOIN orders o ON o.order_id = v.product_id WHERE v.product_id = 7 AND o.user_id = 42
        SELECT * FROM users u WHERE u.user_id = 42 AND EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.user_id)
        SELECT * FROM users u WHERE u.user_id = 42 AND EXISTS (SELECT 1 FROM orders o WHERE o.total > 5)
        SELECT *, (SELECT count(*) FROM orders o WHERE o.user_id = u.user_id) FROM users u WHERE u.user_id = 42
        SELECT * FROM users WHERE user_id = 42 AND user_id IN (SELECT user_id FROM orders)
        SELECT * FROM users WHERE user_id IN (SELECT user_id FROM orders WHERE user_id = 42)
        SELECT * FROM users WHERE user_id IN (SELECT user_id FROM orders LIMIT 1)
        SELECT * FROM (SELECT * FROM orders WHERE user_id = 42) x
        SELECT * FROM (SELECT * FROM orders) x WHERE x.user_id = 42
        SELECT * FROM (SELECT user_id AS who FROM orders) x WHERE who = 42
        SELECT * FROM (SELECT user_id, total * 2 AS double FROM orders) x WHERE user_id = 42
        SELECT * FROM (SELECT user_id, max(total) FROM orders) x WHERE user_id = 42
        SELECT * FROM (SELECT * FROM orders LIMIT 5) x WHERE x.user_id = 42
        SELECT * FROM (SELECT user_id, count(*) FROM orders GROUP BY user_id) x WHERE user_id = 42
        WITH x AS (SELECT * FROM orders WHERE user_id = 42) SELECT * FROM x
        WITH x AS (SELECT * FROM orders) SELECT * FROM x WHERE user_id = 42
        WITH x AS (SELECT * FROM orders) SELECT * FROM x a, x b WHERE a.user_id = 1 AND b.user_id = 2
        WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM t
        WITH x AS (SELECT 1 AS one) SELECT * FROM x, orders WHERE user_id = 42
        SELECT * FROM orders WHERE user_id = 42 UNION ALL SELECT * FROM orders WHERE user_id = 42
        SELECT * FROM orders WHERE user_id = 1 UNION ALL SELECT * FROM orders WHERE user_id = 2
        SELECT * FROM users u, LATERAL (SELECT * FROM orders o WHERE o.user_id = u.user_id LIMIT 1) x WHERE u.user_id = 42
        SELECT * FROM generate_series(1, 3) g, orders WHERE user_id = 42
        ",
        expect![[r#"
            SELECT * FROM users u JOIN orders o ON o.user_id = u.user_id WHERE u.user_id = 42
                single 0 slot 6754
            SELECT * FROM users u JOIN orders o USING (user_id) WHERE u.user_id = 42
                single 0 slot 6754
            SELECT * FROM users u JOIN orders o USING (user_id) WHERE user_id = 42
                single 0 slot 6754
            SELECT * FROM users u, orders o, order_items i WHERE u.user_id = o.user_id AND o.user_id = i.user_id AND i.user_id = 42
                single 0 slot 6754
            SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.user_id WHERE u.user_id = 42
                single 0 slot 6754
            SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.user_id AND u.user_id = 42
                scatter Rows { order: [] } offset 0 limit None columns 10 hidden 0 [0 | 1]
            SELECT * FROM users u LEFT JOIN orders o ON o.user_id = 42 WHERE u.user_id = 42
                single 0 slot 6754
            SELECT * FROM users u RIGHT JOIN orders o ON o.user_id = u.user_id WHERE o.user_id = 42
                single 0 slot 6754
            SELECT * FROM users u FULL JOIN orders o ON o.user_id = u.user_id WHERE u.user_id = 42
                refuse 0A000: FULL JOIN over several shards is not supported
            SELECT * FROM users u JOIN orders o ON o.order_id = u.user_id WHERE u.user_id = 42
                refuse 0A000: sharded tables are joined on other columns than their shard keys, or on the side of an outer join that may be missing
            SELECT * FROM users u JOIN orders o ON u.user_id = o.user_id WHERE u.user_id IN (1, 2, 3)
                scatter Rows { order: [] } offset 0 limit None columns 10 hidden 0 [0 | 1]
            SELECT * FROM users u JOIN orders o ON u.user_id = o.user_id WHERE u.user_id = 1 AND o.user_id = 2
                single 0 slot 4024
            SELECT * FROM users u JOIN orders o ON true WHERE u.user_id = 1 AND o.user_id = 2
                refuse 0A000: sharded tables are joined on other columns than their shard keys, or on the side of an outer join that may be missing
            SELECT * FROM users u JOIN orders o ON true WHERE u.user_id = 42 AND o.user_id = 42
                single 0 slot 6754
            SELECT * FROM users u NATURAL JOIN orders o WHERE u.user_id = 42
                refuse 0A000: sharded tables are joined on other columns than their shard keys, or on the side of an outer join that may be missing
            SELECT * FROM order_items i JOIN products p ON p.product_id = i.product_id WHERE i.user_id = 42
                single 0 slot 6754
            SELECT * FROM orders o JOIN settings s ON s.name = o.status WHERE o.user_id = 42
                refuse 0A000: the statement joins sharded tables with a table that lives on one shard
            SELECT * FROM inventory v JOIN orders o ON o.order_id = v.product_id WHERE v.product_id = 7 AND o.user_id = 42
                refuse 0A000: sharded tables are joined on other columns than their shard keys, or on the side of an outer join that may be missing
            SELECT * FROM users u WHERE u.user_id = 42 AND EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.user_id)
                single 0 slot 6754
            SELECT * FROM users u WHERE u.user_id = 42 AND EXISTS (SELECT 1 FROM orders o WHERE o.total > 5)
                refuse 0A000: sharded tables are joined on other columns than their shard keys, or on the side of an outer join that may be missing
            SELECT *, (SELECT count(*) FROM orders o WHERE o.user_id = u.user_id) FROM users u WHERE u.user_id = 42
                single 0 slot 6754
            SELECT * FROM users WHERE user_id = 42 AND user_id IN (SELECT user_id FROM orders)
                single 0 slot 6754
            SELECT * FROM users WHERE user_id IN (SELECT user_id FROM orders WHERE user_id = 42)
                single 0 slot 6754
            SELECT * FROM users WHERE user_id IN (SELECT user_id FROM orders LIMIT 1)
                refuse 0A000: sharded tables are joined on other columns than their shard keys, or on the side of an outer join that may be missing
            SELECT * FROM (SELECT * FROM orders WHERE user_id = 42) x
                single 0 slot 6754
            SELECT * FROM (SELECT * FROM orders) x WHERE x.user_id = 42
                single 0 slot 6754
            SELECT * FROM (SELECT user_id AS who FROM orders) x WHERE who = 42
                single 0 slot 6754
            SELECT * FROM (SELECT user_id, total * 2 AS double FROM orders) x WHERE user_id = 42
                single 0 slot 6754
            SELECT * FROM (SELECT user_id, max(total) FROM orders) x WHERE user_id = 42
                refuse 0A000: a sharded table in a subquery is not bound to one shard
            SELECT * FROM (SELECT * FROM orders LIMIT 5) x WHERE x.user_id = 42
                refuse 0A000: a sharded table in a subquery is not bound to one shard
            SELECT * FROM (SELECT user_id, count(*) FROM orders GROUP BY user_id) x WHERE user_id = 42
                refuse 0A000: a sharded table in a subquery is not bound to one shard
            WITH x AS (SELECT * FROM orders WHERE user_id = 42) SELECT * FROM x
                single 0 slot 6754
            WITH x AS (SELECT * FROM orders) SELECT * FROM x WHERE user_id = 42
                single 0 slot 6754
            WITH x AS (SELECT * FROM orders) SELECT * FROM x a, x b WHERE a.user_id = 1 AND b.user_id = 2
                refuse 0A000: a sharded table in a subquery is not bound to one shard
            WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM t
                any
            WITH x AS (SELECT 1 AS one) SELECT * FROM x, orders WHERE user_id = 42
                single 0 slot 6754
            SELECT * FROM orders WHERE user_id = 42 UNION ALL SELECT * FROM orders WHERE user_id = 42
                single 0 slot 6754
            SELECT * FROM orders WHERE user_id = 1 UNION ALL SELECT * FROM orders WHERE user_id = 2
                refuse 0A000: UNION, INTERSECT or EXCEPT over several shards is not supported
            SELECT * FROM users u, LATERAL (SELECT * FROM orders o WHERE o.user_id = u.user_id LIMIT 1) x WHERE u.user_id = 42
                single 0 slot 6754
            SELECT * FROM generate_series(1, 3) g, orders WHERE user_id = 42
                single 0 slot 6754
        "#]],
    );
}

#[test]
fn scatter() {
    check(
        "
        SELECT * FROM orders
        SELECT order_id, total FROM orders WHERE total > 5
        SELECT order_id FROM orders ORDER BY order_id LIMIT 10
        SELECT order_id FROM orders ORDER BY order_id LIMIT 10 OFFSET 20
        SELECT order_id FROM orders ORDER BY total DESC, order_id LIMIT 3
        SELECT order_id FROM orders ORDER BY total DESC NULLS LAST
        SELECT * FROM orders ORDER BY placed_at
        SELECT * FROM orders ORDER BY 2 DESC
        SELECT order_id AS total FROM orders ORDER BY total
        SELECT o.order_id FROM orders o ORDER BY o.status
        SELECT o.order_id FROM orders o ORDER BY o.note
        SELECT order_id FROM orders ORDER BY lower(status)
        SELECT order_id FROM orders ORDER BY total + 1
        SELECT order_id FROM orders OFFSET 5
        SELECT order_id FROM orders LIMIT -1
        SELECT order_id FROM orders LIMIT 1 + 1
        SELECT order_id FROM orders LIMIT ALL
        SELECT order_id FROM orders FETCH FIRST 5 ROWS ONLY
        SELECT order_id FROM orders ORDER BY order_id FETCH FIRST 5 ROWS WITH TIES
        SELECT count(*) FROM orders
        SELECT count(*), sum(total), min(order_id), max(placed_at) FROM orders WHERE total > 5
        SELECT sum(quantity) FROM order_items
        SELECT sum(weight) FROM order_items
        SELECT min(note) FROM orders
        SELECT max(status) FROM orders
        SELECT avg(total) FROM orders
        SELECT count(DISTINCT user_id) FROM orders
        SELECT count(*) + 1 FROM orders
        SELECT count(*) FROM orders GROUP BY status
        SELECT count(*) FROM orders LIMIT 1
        SELECT status, count(*) FROM orders
        SELECT count(*) FILTER (WHERE total > 5) FROM orders
        SELECT DISTINCT status FROM orders
        SELECT status FROM orders GROUP BY status
        SELECT order_id, row_number() OVER (ORDER BY total) FROM orders
        SELECT order_id FROM orders FOR UPDATE
        SELECT order_id FROM orders WHERE random() < 0.5
        SELECT order_id FROM orders WHERE placed_at < now()
        SELECT discount(total) FROM orders
        SELECT close_month(order_id) FROM orders
        SELECT * FROM users u JOIN orders o ON o.user_id = u.user_id
        SELECT u.name, o.total FROM users u JOIN orders o USING (user_id) ORDER BY o.total LIMIT 5
        SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.user_id
        SELECT * FROM products p LEFT JOIN order_items i ON i.product_id = p.product_id
        SELECT i.line, p.name FROM order_items i LEFT JOIN products p ON p.product_id = i.product_id
        SELECT * FROM users u JOIN orders o ON o.order_id = u.user_id
        SELECT * FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.user_id)
        SELECT * FROM products WHERE EXISTS (SELECT 1 FROM order_items)
        SELECT * FROM users WHERE user_id IN (1, 2, 3, 4) ORDER BY user_id
        SELECT * FROM users TABLESAMPLE BERNOULLI (10)
        SELECT * FROM orders UNION SELECT * FROM orders
        SELECT * FROM order_items NATURAL JOIN products
        SELECT (o).* FROM orders o
        SELECT o FROM orders o
        SELECT 'x', order_id FROM orders ORDER BY 2
        SELECT p.*, i.line FROM order_items i JOIN products p USING (product_id)
        SELECT * FROM order_items i JOIN products p USING (product_id)
        ",
        expect![[r#"
            SELECT * FROM orders
                scatter Rows { order: [] } offset 0 limit None columns 6 hidden 0 [0 | 1]
            SELECT order_id, total FROM orders WHERE total > 5
                scatter Rows { order: [] } offset 0 limit None columns 2 hidden 0 [0 | 1]
            SELECT order_id FROM orders ORDER BY order_id LIMIT 10
                scatter Rows { order: [OrderKey { column: 0, column_type: Int8, descending: false, nulls_first: false }] } offset 0 limit Some(10) columns 1 hidden 0 [0 | 1]
            SELECT order_id FROM orders ORDER BY order_id LIMIT 10 OFFSET 20
                scatter Rows { order: [OrderKey { column: 0, column_type: Int8, descending: false, nulls_first: false }] } offset 20 limit Some(10) columns 1 hidden 0 [0: SELECT order_id FROM orders ORDER BY order_id LIMIT 10::bigint + COALESCE(20::bigint, 0) | 1: SELECT order_id FROM orders ORDER BY order_id LIMIT 10::bigint + COALESCE(20::bigint, 0)]
            SELECT order_id FROM orders ORDER BY total DESC, order_id LIMIT 3
                scatter Rows { order: [OrderKey { column: 1, column_type: Numeric, descending: true, nulls_first: true }, OrderKey { column: 0, column_type: Int8, descending: false, nulls_first: false }] } offset 0 limit Some(3) columns 2 hidden 1 [0: SELECT order_id, total FROM orders ORDER BY total DESC, order_id LIMIT 3 | 1: SELECT order_id, total FROM orders ORDER BY total DESC, order_id LIMIT 3]
            SELECT order_id FROM orders ORDER BY total DESC NULLS LAST
                scatter Rows { order: [OrderKey { column: 1, column_type: Numeric, descending: true, nulls_first: false }] } offset 0 limit None columns 2 hidden 1 [0: SELECT order_id, total FROM orders ORDER BY total DESC NULLS LAST | 1: SELECT order_id, total FROM orders ORDER BY total DESC NULLS LAST]
            SELECT * FROM orders ORDER BY placed_at
                scatter Rows { order: [OrderKey { column: 4, column_type: TimestampTz, descending: false, nulls_first: false }] } offset 0 limit None columns 6 hidden 0 [0 | 1]
            SELECT * FROM orders ORDER BY 2 DESC
                scatter Rows { order: [OrderKey { column: 1, column_type: Int8, descending: true, nulls_first: true }] } offset 0 limit None columns 6 hidden 0 [0 | 1]
            SELECT order_id AS total FROM orders ORDER BY total
                scatter Rows { order: [OrderKey { column: 0, column_type: Int8, descending: false, nulls_first: false }] } offset 0 limit None columns 1 hidden 0 [0 | 1]
            SELECT o.order_id FROM orders o ORDER BY o.status
                scatter Rows { order: [OrderKey { column: 1, column_type: TextByBytes, descending: false, nulls_first: false }] } offset 0 limit None columns 2 hidden 1 [0: SELECT o.order_id, o.status FROM orders o ORDER BY o.status | 1: SELECT o.order_id, o.status FROM orders o ORDER BY o.status]
            SELECT o.order_id FROM orders o ORDER BY o.note
                refuse 0A000: the order of column "note" depends on its collation or type, which is not known here
            SELECT order_id FROM orders ORDER BY lower(status)
                refuse 0A000: ORDER BY an expression over several shards is not supported
            SELECT order_id FROM orders ORDER BY total + 1
                refuse 0A000: ORDER BY an expression over several shards is not supported
            SELECT order_id FROM orders OFFSET 5
                scatter Rows { order: [] } offset 5 limit None columns 1 hidden 0 [0: SELECT order_id FROM orders | 1: SELECT order_id FROM orders]
            SELECT order_id FROM orders LIMIT -1
                single 0
            SELECT order_id FROM orders LIMIT 1 + 1
                refuse 0A000: LIMIT or OFFSET is an expression
            SELECT order_id FROM orders LIMIT ALL
                scatter Rows { order: [] } offset 0 limit None columns 1 hidden 0 [0 | 1]
            SELECT order_id FROM orders FETCH FIRST 5 ROWS ONLY
                scatter Rows { order: [] } offset 0 limit Some(5) columns 1 hidden 0 [0 | 1]
            SELECT order_id FROM orders ORDER BY order_id FETCH FIRST 5 ROWS WITH TIES
                refuse 0A000: FETCH FIRST ... WITH TIES over several shards is not supported
            SELECT count(*) FROM orders
                scatter Aggregates([Count]) offset 0 limit None columns 1 hidden 0 [0 | 1]
            SELECT count(*), sum(total), min(order_id), max(placed_at) FROM orders WHERE total > 5
                scatter Aggregates([Count, Sum(Numeric), Min(Int8), Max(TimestampTz)]) offset 0 limit None columns 4 hidden 0 [0 | 1]
            SELECT sum(quantity) FROM order_items
                scatter Aggregates([Sum(Int8)]) offset 0 limit None columns 1 hidden 0 [0 | 1]
            SELECT sum(weight) FROM order_items
                refuse 0A000: sum() of this argument over several shards is not supported
            SELECT min(note) FROM orders
                refuse 0A000: min() of this argument over several shards is not supported
            SELECT max(status) FROM orders
                scatter Aggregates([Max(TextByBytes)]) offset 0 limit None columns 1 hidden 0 [0 | 1]
            SELECT avg(total) FROM orders
                refuse 0A000: avg() of this argument over several shards is not supported
            SELECT count(DISTINCT user_id) FROM orders
                refuse 0A000: aggregates with DISTINCT, ORDER BY, LIMIT or OFFSET over several shards are not supported
            SELECT count(*) + 1 FROM orders
                refuse 0A000: a column beside an aggregate over several shards is not supported
            SELECT count(*) FROM orders GROUP BY status
                refuse 0A000: GROUP BY over several shards is not supported
            SELECT count(*) FROM orders LIMIT 1
                refuse 0A000: aggregates with DISTINCT, ORDER BY, LIMIT or OFFSET over several shards are not supported
            SELECT status, count(*) FROM orders
                refuse 0A000: a column beside an aggregate over several shards is not supported
            SELECT count(*) FILTER (WHERE total > 5) FROM orders
                scatter Aggregates([Count]) offset 0 limit None columns 1 hidden 0 [0 | 1]
            SELECT DISTINCT status FROM orders
                refuse 0A000: DISTINCT over several shards is not supported
            SELECT status FROM orders GROUP BY status
                refuse 0A000: GROUP BY over several shards is not supported
            SELECT order_id, row_number() OVER (ORDER BY total) FROM orders
                refuse 0A000: a window function over several shards is not supported
            SELECT order_id FROM orders FOR UPDATE
                refuse 0A000: FOR UPDATE or FOR SHARE over several shards is not supported
            SELECT order_id FROM orders WHERE random() < 0.5
                refuse 0A000: the statement calls a function that is volatile, or that may read other tables
            SELECT order_id FROM orders WHERE placed_at < now()
                scatter Rows { order: [] } offset 0 limit None columns 1 hidden 0 [0 | 1]
            SELECT discount(total) FROM orders
                scatter Rows { order: [] } offset 0 limit None columns 1 hidden 0 [0 | 1]
            SELECT close_month(order_id) FROM orders
                refuse 0A000: the statement calls a function that is volatile, or that may read other tables
            SELECT * FROM users u JOIN orders o ON o.user_id = u.user_id
                scatter Rows { order: [] } offset 0 limit None columns 10 hidden 0 [0 | 1]
            SELECT u.name, o.total FROM users u JOIN orders o USING (user_id) ORDER BY o.total LIMIT 5
                scatter Rows { order: [OrderKey { column: 1, column_type: Numeric, descending: false, nulls_first: false }] } offset 0 limit Some(5) columns 2 hidden 0 [0 | 1]
            SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.user_id
                scatter Rows { order: [] } offset 0 limit None columns 10 hidden 0 [0 | 1]
            SELECT * FROM products p LEFT JOIN order_items i ON i.product_id = p.product_id
                refuse 0A000: sharded tables are joined on other columns than their shard keys, or on the side of an outer join that may be missing
            SELECT i.line, p.name FROM order_items i LEFT JOIN products p ON p.product_id = i.product_id
                scatter Rows { order: [] } offset 0 limit None columns 2 hidden 0 [0 | 1]
            SELECT * FROM users u JOIN orders o ON o.order_id = u.user_id
                refuse 0A000: sharded tables are joined on other columns than their shard keys, or on the side of an outer join that may be missing
            SELECT * FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.user_id)
                scatter Rows { order: [] } offset 0 limit None columns 4 hidden 0 [0 | 1]
            SELECT * FROM products WHERE EXISTS (SELECT 1 FROM order_items)
                refuse 0A000: a sharded table in a subquery is not bound to one shard
            SELECT * FROM users WHERE user_id IN (1, 2, 3, 4) ORDER BY user_id
                scatter Rows { order: [OrderKey { column: 0, column_type: Int8, descending: false, nulls_first: false }] } offset 0 limit None columns 4 hidden 0 [0 | 1]
            SELECT * FROM users TABLESAMPLE BERNOULLI (10)
                refuse 0A000: TABLESAMPLE over several shards is not supported
            SELECT * FROM orders UNION SELECT * FROM orders
                refuse 0A000: UNION, INTERSECT or EXCEPT over several shards is not supported
            SELECT * FROM order_items NATURAL JOIN products
                refuse 0A000: the columns of the answer cannot be told
            SELECT (o).* FROM orders o
                refuse 0A000: the columns of the answer cannot be told
            SELECT o FROM orders o
                scatter Rows { order: [] } offset 0 limit None columns 1 hidden 0 [0 | 1]
            SELECT 'x', order_id FROM orders ORDER BY 2
                scatter Rows { order: [OrderKey { column: 1, column_type: Int8, descending: false, nulls_first: false }] } offset 0 limit None columns 2 hidden 0 [0 | 1]
            SELECT p.*, i.line FROM order_items i JOIN products p USING (product_id)
                scatter Rows { order: [] } offset 0 limit None columns 4 hidden 0 [0 | 1]
            SELECT * FROM order_items i JOIN products p USING (product_id)
                refuse 0A000: the columns of * cannot be told
        "#]],
    );
}

#[test]
fn writes() {
    check(
        "
        INSERT INTO users (user_id, name) VALUES (42, 'Ann')
        INSERT INTO users VALUES (42, 'a@b', 'Ann')
        INSERT INTO users (user_id, name) VALUES (42, 'Ann'), (42, 'Bob')
        INSERT INTO users (user_id, name) VALUES (1, 'Ann'), (2, 'it''s'), (3, lower('C')), (4, DEFAULT) RETURNING user_id
        INSERT INTO users (user_id, name) VALUES (1, 'x'), (2, 'y') ON CONFLICT (user_id) DO UPDATE SET name = EXCLUDED.name
        INSERT INTO users (name) VALUES ('Ann')
        INSERT INTO users DEFAULT VALUES
        INSERT INTO users (user_id) VALUES (DEFAULT)
        INSERT INTO users (user_id) VALUES (40 + 2)
        INSERT INTO users (user_id) VALUES ('abc')
        INSERT INTO users (user_id) VALUES (NULL)
        INSERT INTO users (user_id) VALUES (42) ON CONFLICT (user_id) DO NOTHING
        INSERT INTO users (user_id) VALUES (42) ON CONFLICT (user_id) DO UPDATE SET user_id = 5
        INSERT INTO orders (order_id, user_id) SELECT order_id + 1, user_id FROM orders WHERE user_id = 42
        INSERT INTO orders (order_id, user_id) SELECT order_id + 1, 42 FROM orders WHERE user_id = 42
        INSERT INTO orders (order_id, user_id) SELECT order_id + 1, 43 FROM orders WHERE user_id = 42
        INSERT INTO orders SELECT * FROM orders WHERE user_id = 42
        INSERT INTO orders (order_id, user_id) SELECT 1, o.user_id FROM users u LEFT JOIN orders o ON o.user_id = 42 WHERE u.user_id = 42
        INSERT INTO orders (order_id, user_id) SELECT order_id, user_id FROM orders
        WITH x AS (SELECT 1) INSERT INTO users (user_id) VALUES (42)
        UPDATE orders SET status = 'x' WHERE user_id = 42 AND order_id = 7
        UPDATE orders SET status = 'x' WHERE order_id = 7
        UPDATE orders SET status = 'x' WHERE user_id IN (1, 2, 3, 4) RETURNING order_id
        UPDATE orders SET user_id = 43 WHERE user_id = 42
        UPDATE orders SET user_id = 42, status = 'x' WHERE user_id = 42
        UPDATE orders SET user_id = user_id + 1 WHERE user_id = 42
        UPDATE orders o SET status = u.name FROM users u WHERE u.user_id = o.user_id
        UPDATE orders o SET status = u.name FROM users u WHERE u.user_id = o.order_id
        UPDATE orders SET status = close_month(order_id)
        UPDATE orders SET status = close_month(order_id) WHERE user_id = 42
        DELETE FROM orders WHERE user_id = 42
        DELETE FROM orders
        DELETE FROM orders o USING users u WHERE u.user_id = o.user_id AND u.user_id = 42
        DELETE FROM orders WHERE order_id IN (SELECT order_id FROM order_items)
        INSERT INTO products VALUES (1, 'x', 2.5)
        INSERT INTO categories (name) VALUES ('x')
        INSERT INTO categories (category_id, name, changed) VALUES (1, 'x', '2024-01-01 00:00:00+00')
        INSERT INTO categories (category_id, name, changed) VALUES (1, 'x', now())
        INSERT INTO categories (category_id, name, changed) VALUES (1, 'x', 'Now ')
        INSERT INTO categories (category_id, name, changed) VALUES (1, 'x', date 'today')
        UPDATE products SET price = price * 2 WHERE product_id = 5
        UPDATE products SET price = random()
        DELETE FROM products WHERE product_id IN (SELECT product_id FROM order_items)
        MERGE INTO products p USING categories c ON c.category_id = p.product_id WHEN MATCHED THEN DELETE
        MERGE INTO orders o USING users u ON u.user_id = o.user_id AND o.user_id = 42 WHEN MATCHED THEN DELETE
        WITH d AS (DELETE FROM orders WHERE user_id = 42 RETURNING *) SELECT * FROM d
        WITH d AS (DELETE FROM products RETURNING *) SELECT * FROM d
        WITH d AS (DELETE FROM products RETURNING *) INSERT INTO audit SELECT product_id, name FROM d
        WITH d AS (DELETE FROM products RETURNING *) UPDATE settings SET value = 'x'
        WITH d AS (INSERT INTO users (user_id) VALUES (42) RETURNING *) SELECT * FROM d
        INSERT INTO settings VALUES ('a', 'b')
        INSERT INTO tags (tag) VALUES ('x'), ('y')
        INSERT INTO tags (tag) VALUES (5)
        INSERT INTO tags (tag) VALUES (true)
        INSERT INTO tags (tag) VALUES ('x ')
        INSERT INTO tags (tag) SELECT 5
        INSERT INTO tags (tag) SELECT user_id FROM orders WHERE user_id = 42
        INSERT INTO tags (tag) SELECT tag FROM tags WHERE tag = 'x'
        INSERT INTO users (user_id) VALUES (42.0)
        INSERT INTO audit SELECT user_id, name FROM users
        INSERT INTO audit VALUES (1, 'x')
        SELECT * FROM orders WHERE user_id = 42 FOR UPDATE
        SELECT * FROM products WHERE product_id = 1 FOR SHARE
        ",
        expect![[r#"
            INSERT INTO users (user_id, name) VALUES (42, 'Ann')
                single 0 slot 6754 WRITE
            INSERT INTO users VALUES (42, 'a@b', 'Ann')
                single 0 slot 6754 WRITE
            INSERT INTO users (user_id, name) VALUES (42, 'Ann'), (42, 'Bob')
                single 0 slot 6754 WRITE
            INSERT INTO users (user_id, name) VALUES (1, 'Ann'), (2, 'it''s'), (3, lower('C')), (4, DEFAULT) RETURNING user_id
                split [0: INSERT INTO users (user_id, name) VALUES (1, 'Ann'), (4, DEFAULT) RETURNING user_id | 1: INSERT INTO users (user_id, name) VALUES (2, 'it''s'), (3, lower('C')) RETURNING user_id] WRITE
            INSERT INTO users (user_id, name) VALUES (1, 'x'), (2, 'y') ON CONFLICT (user_id) DO UPDATE SET name = EXCLUDED.name
                split [0: INSERT INTO users (user_id, name) VALUES (1, 'x') ON CONFLICT (user_id) DO UPDATE SET name = excluded.name | 1: INSERT INTO users (user_id, name) VALUES (2, 'y') ON CONFLICT (user_id) DO UPDATE SET name = excluded.name] WRITE
            INSERT INTO users (name) VALUES ('Ann')
                refuse 0A000: a row to insert into public.users has no value for the shard key "user_id"
            INSERT INTO users DEFAULT VALUES
                refuse 0A000: a row to insert into public.users has no value for the shard key "user_id"
            INSERT INTO users (user_id) VALUES (DEFAULT)
                refuse 0A000: a row to insert into public.users has no value for the shard key "user_id"
            INSERT INTO users (user_id) VALUES (40 + 2)
                refuse 0A000: a row to insert into public.users has no value for the shard key "user_id"
            INSERT INTO users (user_id) VALUES ('abc')
                single 0 WRITE
            INSERT INTO users (user_id) VALUES (NULL)
                single 0 slot 0 WRITE
            INSERT INTO users (user_id) VALUES (42) ON CONFLICT (user_id) DO NOTHING
                single 0 slot 6754 WRITE
            INSERT INTO users (user_id) VALUES (42) ON CONFLICT (user_id) DO UPDATE SET user_id = 5
                refuse 0A000: the statement may change the shard key of a row, which would then belong to another shard
            INSERT INTO orders (order_id, user_id) SELECT order_id + 1, user_id FROM orders WHERE user_id = 42
                single 0 slot 6754 WRITE leaves(sequence use)
            INSERT INTO orders (order_id, user_id) SELECT order_id + 1, 42 FROM orders WHERE user_id = 42
                single 0 slot 6754 WRITE leaves(sequence use)
            INSERT INTO orders (order_id, user_id) SELECT order_id + 1, 43 FROM orders WHERE user_id = 42
                refuse 0A000: INSERT ... SELECT reads or writes rows of several shards
            INSERT INTO orders SELECT * FROM orders WHERE user_id = 42
                single 0 slot 6754 WRITE leaves(sequence use)
            INSERT INTO orders (order_id, user_id) SELECT 1, o.user_id FROM users u LEFT JOIN orders o ON o.user_id = 42 WHERE u.user_id = 42
                refuse 0A000: INSERT ... SELECT reads or writes rows of several shards
            INSERT INTO orders (order_id, user_id) SELECT order_id, user_id FROM orders
                refuse 0A000: INSERT ... SELECT reads or writes rows of several shards
            WITH x AS (SELECT 1) INSERT INTO users (user_id) VALUES (42)
                single 0 slot 6754 WRITE
            UPDATE orders SET status = 'x' WHERE user_id = 42 AND order_id = 7
                single 0 slot 6754 WRITE
            UPDATE orders SET status = 'x' WHERE order_id = 7
                everywhere [0, 1] Sum WRITE
            UPDATE orders SET status = 'x' WHERE user_id IN (1, 2, 3, 4) RETURNING order_id
                everywhere [0, 1] Sum WRITE
            UPDATE orders SET user_id = 43 WHERE user_id = 42
                refuse 0A000: the statement may change the shard key of a row, which would then belong to another shard
            UPDATE orders SET user_id = 42, status = 'x' WHERE user_id = 42
                single 0 slot 6754 WRITE
            UPDATE orders SET user_id = user_id + 1 WHERE user_id = 42
                refuse 0A000: the statement may change the shard key of a row, which would then belong to another shard
            UPDATE orders o SET status = u.name FROM users u WHERE u.user_id = o.user_id
                everywhere [0, 1] Sum WRITE
            UPDATE orders o SET status = u.name FROM users u WHERE u.user_id = o.order_id
                refuse 0A000: the statement changes a sharded table from rows of others that are not joined on the shard key
            UPDATE orders SET status = close_month(order_id)
                refuse 0A000: the statement calls a function that may read other tables
            UPDATE orders SET status = close_month(order_id) WHERE user_id = 42
                single 0 slot 6754 WRITE leaves(suspect)
            DELETE FROM orders WHERE user_id = 42
                single 0 slot 6754 WRITE
            DELETE FROM orders
                everywhere [0, 1] Sum WRITE
            DELETE FROM orders o USING users u WHERE u.user_id = o.user_id AND u.user_id = 42
                single 0 slot 6754 WRITE
            DELETE FROM orders WHERE order_id IN (SELECT order_id FROM order_items)
                refuse 0A000: the statement changes a sharded table from rows of others that are not joined on the shard key
            INSERT INTO products VALUES (1, 'x', 2.5)
                everywhere [0, 1] First WRITE
            INSERT INTO categories (name) VALUES ('x')
                refuse 0A000: a reference table is written on every shard: the default of column "category_id" would give another value on each
            INSERT INTO categories (category_id, name, changed) VALUES (1, 'x', '2024-01-01 00:00:00+00')
                everywhere [0, 1] First WRITE leaves(sequence use)
            INSERT INTO categories (category_id, name, changed) VALUES (1, 'x', now())
                refuse 0A000: a reference table is written on every shard: a function that is not immutable would give another value on each
            INSERT INTO categories (category_id, name, changed) VALUES (1, 'x', 'Now ')
                refuse 0A000: a reference table is written on every shard: 'now' and the like would be another time on each
            INSERT INTO categories (category_id, name, changed) VALUES (1, 'x', date 'today')
                refuse 0A000: a reference table is written on every shard: 'now' and the like would be another time on each
            UPDATE products SET price = price * 2 WHERE product_id = 5
                everywhere [0, 1] First WRITE
            UPDATE products SET price = random()
                refuse 0A000: a reference table is written on every shard: a function that is not immutable would give another value on each
            DELETE FROM products WHERE product_id IN (SELECT product_id FROM order_items)
                refuse 0A000: a reference table is written on every shard: the rows would come from tables that are not on every shard
            MERGE INTO products p USING categories c ON c.category_id = p.product_id WHEN MATCHED THEN DELETE
                everywhere [0, 1] First WRITE
            MERGE INTO orders o USING users u ON u.user_id = o.user_id AND o.user_id = 42 WHEN MATCHED THEN DELETE
                refuse 0A000: the statement changes a sharded table from rows of others that are not joined on the shard key
            WITH d AS (DELETE FROM orders WHERE user_id = 42 RETURNING *) SELECT * FROM d
                single 0 slot 6754 WRITE
            WITH d AS (DELETE FROM products RETURNING *) SELECT * FROM d
                refuse 0A000: WITH changes a reference table, which has to be changed on every shard
            WITH d AS (DELETE FROM products RETURNING *) INSERT INTO audit SELECT product_id, name FROM d
                refuse 0A000: WITH changes a reference table, which has to be changed on every shard
            WITH d AS (DELETE FROM products RETURNING *) UPDATE settings SET value = 'x'
                refuse 0A000: WITH changes a reference table, which has to be changed on every shard
            WITH d AS (INSERT INTO users (user_id) VALUES (42) RETURNING *) SELECT * FROM d
                refuse 0A000: the statement has a part whose tables and columns cannot be told
            INSERT INTO settings VALUES ('a', 'b')
                single 0 WRITE
            INSERT INTO tags (tag) VALUES ('x'), ('y')
                split [0: INSERT INTO tags (tag) VALUES ('y') | 1: INSERT INTO tags (tag) VALUES ('x')] WRITE
            INSERT INTO tags (tag) VALUES (5)
                refuse 0A000: the shard key of a row to insert is not a plain constant or parameter of the key's type
            INSERT INTO tags (tag) VALUES (true)
                refuse 0A000: the shard key of a row to insert is not a plain constant or parameter of the key's type
            INSERT INTO tags (tag) VALUES ('x ')
                refuse 0A000: the shard key of a row to insert is not a plain constant or parameter of the key's type
            INSERT INTO tags (tag) SELECT 5
                refuse 0A000: INSERT ... SELECT reads or writes rows of several shards
            INSERT INTO tags (tag) SELECT user_id FROM orders WHERE user_id = 42
                refuse 0A000: INSERT ... SELECT reads or writes rows of several shards
            INSERT INTO tags (tag) SELECT tag FROM tags WHERE tag = 'x'
                single 1 slot 8303 WRITE
            INSERT INTO users (user_id) VALUES (42.0)
                refuse 0A000: the shard key of a row to insert is not a plain constant or parameter of the key's type
            INSERT INTO audit SELECT user_id, name FROM users
                refuse 0A000: the statement changes a table from rows of tables that live elsewhere
            INSERT INTO audit VALUES (1, 'x')
                single 1 WRITE
            SELECT * FROM orders WHERE user_id = 42 FOR UPDATE
                single 0 slot 6754 WRITE
            SELECT * FROM products WHERE product_id = 1 FOR SHARE
                utility 0 WRITE
        "#]],
    );
}

#[test]
fn elsewhere() {
    check(
        "
        SELECT 1
        SELECT now()
        VALUES (1), (2)
        SELECT * FROM products
        SELECT count(*) FROM products p JOIN categories c ON c.category_id = p.product_id GROUP BY p.name
        SELECT * FROM settings
        SELECT * FROM audit
        SELECT * FROM settings, audit
        SELECT * FROM unknown_table
        SELECT * FROM pg_class
        SELECT c.relname FROM pg_catalog.pg_class c WHERE pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1
        SELECT * FROM information_schema.tables
        SELECT current_user
        SELECT pg_backend_pid()
        SELECT nextval('s')
        SELECT close_month(1)
        SELECT discount(5)
        SELECT set_config('search_path', '', false)
        SELECT set_config('search_path', '', true)
        SELECT pg_advisory_lock(1)
        SELECT * FROM big_orders
        SELECT * FROM orders_2024
        CALL close_all()
        DO 'begin end'
        SELECT * FROM orders JOIN pg_class ON true
        ",
        expect![[r#"
            SELECT 1
                any
            SELECT now()
                any
            VALUES (1), (2)
                any
            SELECT * FROM products
                any
            SELECT count(*) FROM products p JOIN categories c ON c.category_id = p.product_id GROUP BY p.name
                any
            SELECT * FROM settings
                single 0
            SELECT * FROM audit
                single 1
            SELECT * FROM settings, audit
                refuse 0A000: the statement joins tables that live on different single shards
            SELECT * FROM unknown_table
                single 0
            SELECT * FROM pg_class
                utility 0
            SELECT c.relname FROM pg_catalog.pg_class c WHERE pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1
                utility 0
            SELECT * FROM information_schema.tables
                utility 0
            SELECT current_user
                any
            SELECT pg_backend_pid()
                utility 0
            SELECT nextval('s')
                utility 0 WRITE leaves(sequence use)
            SELECT close_month(1)
                refuse 0A000: the statement calls a function that may read or write sharded tables, and names no shard
            SELECT discount(5)
                any
            SELECT set_config('search_path', '', false)
                utility 0 WRITE leaves(settings)
            SELECT set_config('search_path', '', true)
                utility 0 WRITE
            SELECT pg_advisory_lock(1)
                utility 0 WRITE leaves(advisory lock)
            SELECT * FROM big_orders
                refuse 0A000: public.big_orders is a view that the configuration does not list
            SELECT * FROM orders_2024
                refuse 0A000: public.orders_2024 is a partition that the configuration does not list
            CALL close_all()
                refuse 0A000: CALL may read and write tables of any shard
            DO 'begin end'
                refuse 0A000: DO may read and write tables of any shard
            SELECT * FROM orders JOIN pg_class ON true
                refuse 0A000: catalog tables differ from shard to shard and cannot be joined with sharded tables
        "#]],
    );
}

#[test]
fn utility() {
    check(
        "
        BEGIN
        BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY
        COMMIT AND CHAIN
        ROLLBACK TO SAVEPOINT a
        PREPARE TRANSACTION 'x'
        SET search_path = a, b
        SET LOCAL work_mem = '1MB'
        SET ringway.level = 'bounded(2s)'
        SET ringway.level TO DEFAULT
        RESET ringway.level
        SHOW ringway.level
        SHOW server_version
        SET standard_conforming_strings = off
        SET standard_conforming_strings = on
        SET TRANSACTION READ ONLY
        DISCARD ALL
        LISTEN x
        DECLARE c CURSOR FOR SELECT * FROM orders WHERE user_id = 42
        DECLARE c CURSOR WITH HOLD FOR SELECT * FROM products
        DECLARE c CURSOR FOR SELECT * FROM orders
        FETCH 5 FROM c
        EXPLAIN SELECT * FROM orders WHERE user_id = 42
        EXPLAIN SELECT * FROM orders
        EXPLAIN ANALYZE DELETE FROM orders WHERE user_id = 42
        EXPLAIN (ROUTE) SELECT * FROM orders WHERE user_id = 42
        EXPLAIN (ROUTE, COSTS off) SELECT 1
        EXPLAIN (ROUTE) SELECT DISTINCT status FROM orders
        COPY orders FROM STDIN
        COPY orders (order_id, status, user_id) FROM STDIN WITH (FORMAT csv, HEADER)
        COPY orders (order_id) FROM STDIN
        COPY orders FROM STDIN WITH (FORMAT binary)
        COPY orders FROM '/tmp/x'
        COPY orders TO STDOUT
        COPY products FROM STDIN
        COPY products TO STDOUT
        COPY settings FROM STDIN
        COPY (SELECT * FROM orders WHERE user_id = 42) TO STDOUT
        COPY (SELECT * FROM orders) TO STDOUT
        CREATE TABLE orders (a int)
        CREATE TABLE scratch (a int)
        CREATE TEMP TABLE t (a int)
        CREATE TEMP TABLE orders (a int)
        CREATE INDEX ON orders (total)
        CREATE INDEX CONCURRENTLY ON orders (total)
        CREATE INDEX ON settings (value)
        DROP TABLE orders, settings
        DROP TABLE settings
        TRUNCATE orders, products
        CREATE SCHEMA x
        CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'
        GRANT SELECT ON orders TO bob
        CREATE VIEW v AS SELECT * FROM orders
        CREATE VIEW v AS SELECT * FROM settings
        CREATE TABLE copy_of AS SELECT * FROM settings
        CREATE TABLE copy_of AS SELECT * FROM orders
        SELECT * INTO copy_of FROM settings
        VACUUM orders
        ANALYZE orders
        VACUUM settings
        LOCK TABLE orders
        ;
        SELEC 1
        SELECT 1; SELECT * FROM orders WHERE user_id = 42; COMMIT
        ",
        expect![[r#"
            BEGIN
                local Transaction(Begin(TransactionModes { isolation: None, read_only: None, deferrable: None }))
            BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY
                local Transaction(Begin(TransactionModes { isolation: Some(Serializable), read_only: Some(true), deferrable: None }))
            COMMIT AND CHAIN
                local Transaction(Commit { chain: true })
            ROLLBACK TO SAVEPOINT a
                local Transaction(RollbackTo("a"))
            PREPARE TRANSACTION 'x'
                refuse 0A000: the proxy itself commits in two phases where a transaction wrote on several shards
            SET search_path = a, b
                local Set(Set { local: false, what: Parameter { name: "search_path", values: ["a", "b"] } })
            SET LOCAL work_mem = '1MB'
                local Set(Set { local: true, what: Parameter { name: "work_mem", values: ["1MB"] } })
            SET ringway.level = 'bounded(2s)'
                local SetRingway { name: "level", value: "bounded(2s)", local: false }
            SET ringway.level TO DEFAULT
                local ResetRingway("level")
            RESET ringway.level
                local ResetRingway("level")
            SHOW ringway.level
                local ShowRingway("level")
            SHOW server_version
                utility 0
            SET standard_conforming_strings = off
                refuse 0A000: the proxy reads string literals as standard SQL does
            SET standard_conforming_strings = on
                local Set(Set { local: false, what: Parameter { name: "standard_conforming_strings", values: ["on"] } })
            SET TRANSACTION READ ONLY
                local Set(Set { local: false, what: Transaction(TransactionModes { isolation: None, read_only: Some(true), deferrable: None }) })
            DISCARD ALL
                local Discard { all: true }
            LISTEN x
                utility 0 WRITE leaves(listen)
            DECLARE c CURSOR FOR SELECT * FROM orders WHERE user_id = 42
                single 0 slot 6754
            DECLARE c CURSOR WITH HOLD FOR SELECT * FROM products
                any leaves(held cursor)
            DECLARE c CURSOR FOR SELECT * FROM orders
                refuse 0A000: DECLARE CURSOR of a statement over several shards is not supported
            FETCH 5 FROM c
                local Cursor { name: Some("c") }
            EXPLAIN SELECT * FROM orders WHERE user_id = 42
                single 0 slot 6754
            EXPLAIN SELECT * FROM orders
                refuse 0A000: EXPLAIN of a statement over several shards is not supported
            EXPLAIN ANALYZE DELETE FROM orders WHERE user_id = 42
                single 0 slot 6754 WRITE
            EXPLAIN (ROUTE) SELECT * FROM orders WHERE user_id = 42
                explain route: single 0 slot 6754 cache(shard key=42, 5s)
            EXPLAIN (ROUTE, COSTS off) SELECT 1
                refuse 0A000: it shows the plan of the proxy and asks no server
            EXPLAIN (ROUTE) SELECT DISTINCT status FROM orders
                explain route: refuse 0A000: DISTINCT over several shards is not supported
            COPY orders FROM STDIN
                copy by row, key 1 WRITE
            COPY orders (order_id, status, user_id) FROM STDIN WITH (FORMAT csv, HEADER)
                copy by row, key 2 WRITE
            COPY orders (order_id) FROM STDIN
                refuse 0A000: the rows to copy into public.orders have no shard key "user_id"
            COPY orders FROM STDIN WITH (FORMAT binary)
                refuse 0A000: rows in binary format cannot be cut
            COPY orders FROM '/tmp/x'
                refuse 0A000: COPY of a file or program of the server reaches one shard only
            COPY orders TO STDOUT
                copy gather [0, 1]
            COPY products FROM STDIN
                copy whole [0, 1] WRITE
            COPY products TO STDOUT
                copy whole [0]
            COPY settings FROM STDIN
                copy whole [0] WRITE
            COPY (SELECT * FROM orders WHERE user_id = 42) TO STDOUT
                copy whole [0]
            COPY (SELECT * FROM orders) TO STDOUT
                refuse 0A000: COPY of a statement over several shards is not supported
            CREATE TABLE orders (a int)
                everywhere [0, 1] First WRITE
            CREATE TABLE scratch (a int)
                single 0 WRITE
            CREATE TEMP TABLE t (a int)
                single 0 WRITE leaves(temporary)
            CREATE TEMP TABLE orders (a int)
                refuse 0A000: statements on that name would be routed as for the listed table
            CREATE INDEX ON orders (total)
                everywhere [0, 1] First WRITE
            CREATE INDEX CONCURRENTLY ON orders (total)
                refuse 0A000: the statement cannot run in a transaction, and so not on all shards or none
            CREATE INDEX ON settings (value)
                single 0 WRITE
            DROP TABLE orders, settings
                refuse 0A000: the statement names tables that live on every shard and tables that live on one
            DROP TABLE settings
                single 0 WRITE leaves(releases)
            TRUNCATE orders, products
                everywhere [0, 1] First WRITE
            CREATE SCHEMA x
                everywhere [0, 1] First WRITE
            CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'
                everywhere [0, 1] First WRITE
            GRANT SELECT ON orders TO bob
                everywhere [0, 1] First WRITE
            CREATE VIEW v AS SELECT * FROM orders
                everywhere [0, 1] First WRITE
            CREATE VIEW v AS SELECT * FROM settings
                single 0 WRITE
            CREATE TABLE copy_of AS SELECT * FROM settings
                single 0 WRITE
            CREATE TABLE copy_of AS SELECT * FROM orders
                refuse 0A000: the rows of the new table would come from sharded tables
            SELECT * INTO copy_of FROM settings
                single 0 WRITE
            VACUUM orders
                refuse 0A000: VACUUM cannot run in a transaction, and so not on all shards or none
            ANALYZE orders
                everywhere [0, 1] First WRITE
            VACUUM settings
                single 0 WRITE
            LOCK TABLE orders
                everywhere [0, 1] First WRITE
            ;
                local Empty
            SELEC 1
                utility 0 WRITE leaves(suspect)
            SELECT 1; SELECT * FROM orders WHERE user_id = 42; COMMIT
                any
                single 0 slot 6754
                local Transaction(Commit { chain: false })
        "#]],
    );
}

#[test]
fn cache() {
    check(
        "
        SELECT * FROM users WHERE user_id = 42
        SELECT name FROM users WHERE user_id = 42
        SELECT name FROM users u WHERE 42 = u.user_id
        SELECT * FROM orders WHERE user_id = 42
        SELECT status FROM orders WHERE user_id = 42
        SELECT * FROM orders WHERE order_id = 7
        SELECT * FROM order_items WHERE user_id = 1 AND order_id = 2 AND line = 3
        SELECT * FROM order_items WHERE line = 3 AND user_id = 1 AND order_id = 2
        SELECT quantity FROM order_items WHERE user_id = 1
        SELECT * FROM products WHERE product_id = 5
        SELECT * FROM products WHERE product_id = 5 /* ringway: cache=off */
        SELECT * FROM documents WHERE id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
        SELECT * FROM users WHERE user_id = 42 AND name = 'x'
        SELECT * FROM users WHERE user_id = 42 LIMIT 1
        SELECT now(), name FROM users WHERE user_id = 42
        SELECT name || 'x' FROM users WHERE user_id = 42
        SELECT * FROM users WHERE user_id = 42 FOR UPDATE
        SELECT * FROM secrets WHERE user_id = 42
        SELECT * FROM inventory WHERE product_id = 7
        SELECT * FROM users WHERE user_id IN (42)
        SELECT * FROM users WHERE user_id = NULL
        /* ringway: cache=off */ SELECT * FROM users WHERE user_id = 42
        /* ringway: level=strong */ SELECT * FROM users WHERE user_id = 42
        /* ringway: level=bounded(2s) */ SELECT * FROM users WHERE user_id = 42
        /* ringway: level=bounded(9s) */ SELECT * FROM users WHERE user_id = 42
        /* ringway: speed=fast */ SELECT * FROM users WHERE user_id = 42
        SELECT '/* ringway: cache=off */' FROM users WHERE user_id = 42
        ",
        expect![[r#"
            SELECT * FROM users WHERE user_id = 42
                single 0 slot 6754 cache(pk=42, 5s)
            SELECT name FROM users WHERE user_id = 42
                single 0 slot 6754 cache(pk=42, 5s)
            SELECT name FROM users u WHERE 42 = u.user_id
                single 0 slot 6754 cache(pk=42, 5s)
            SELECT * FROM orders WHERE user_id = 42
                single 0 slot 6754 cache(shard key=42, 5s)
            SELECT status FROM orders WHERE user_id = 42
                single 0 slot 6754
            SELECT * FROM orders WHERE order_id = 7
                scatter Rows { order: [] } offset 0 limit None columns 6 hidden 0 [0 | 1]
            SELECT * FROM order_items WHERE user_id = 1 AND order_id = 2 AND line = 3
                single 0 slot 4024 cache(pk=1,2,3, 5s)
            SELECT * FROM order_items WHERE line = 3 AND user_id = 1 AND order_id = 2
                single 0 slot 4024 cache(pk=1,2,3, 5s)
            SELECT quantity FROM order_items WHERE user_id = 1
                single 0 slot 4024 cache(shard key=1, 5s)
            SELECT * FROM products WHERE product_id = 5
                any cache(pk=5, 5s)
            SELECT * FROM products WHERE product_id = 5 /* ringway: cache=off */
                any
            SELECT * FROM documents WHERE id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
                single 1 slot 9680 cache(pk=a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11, 5s)
            SELECT * FROM users WHERE user_id = 42 AND name = 'x'
                single 0 slot 6754
            SELECT * FROM users WHERE user_id = 42 LIMIT 1
                single 0 slot 6754
            SELECT now(), name FROM users WHERE user_id = 42
                single 0 slot 6754
            SELECT name || 'x' FROM users WHERE user_id = 42
                single 0 slot 6754
            SELECT * FROM users WHERE user_id = 42 FOR UPDATE
                single 0 slot 6754 WRITE
            SELECT * FROM secrets WHERE user_id = 42
                single 0 slot 6754
            SELECT * FROM inventory WHERE product_id = 7
                single 0 slot 1303
            SELECT * FROM users WHERE user_id IN (42)
                single 0 slot 6754
            SELECT * FROM users WHERE user_id = NULL
                single 0
            /* ringway: cache=off */ SELECT * FROM users WHERE user_id = 42
                single 0 slot 6754
            /* ringway: level=strong */ SELECT * FROM users WHERE user_id = 42
                single 0 slot 6754
            /* ringway: level=bounded(2s) */ SELECT * FROM users WHERE user_id = 42
                single 0 slot 6754 cache(pk=42, 2s)
            /* ringway: level=bounded(9s) */ SELECT * FROM users WHERE user_id = 42
                single 0 slot 6754 cache(pk=42, 5s)
            /* ringway: speed=fast */ SELECT * FROM users WHERE user_id = 42
                refuse 22023: a comment that starts with "ringway:" is a hint
            SELECT '/* ringway: cache=off */' FROM users WHERE user_id = 42
                single 0 slot 6754
        "#]],
    );
}

#[test]
fn one_shard_takes_everything() {
    let shop = Shop::new(1);
    for sql in [
        "SELECT DISTINCT status FROM orders",
        "SELECT avg(total) FROM orders GROUP BY status",
        "CALL f()",
        "SELECT * FROM big_orders",
        "UPDATE orders SET user_id = user_id + 1",
        "INSERT INTO users (user_id) VALUES (40 + 2)",
    ] {
        for plan in super::plans(&shop, sql) {
            let line = render(&plan);
            assert!(
                line.starts_with("single 0") || line.starts_with("utility 0"),
                "{sql}: {line}"
            );
        }
    }
}

#[test]
fn deep_nesting_is_refused_and_harmless() {
    let shop = Shop::two_shards();
    for sql in [
        format!("SELECT {}1{}", "(".repeat(200_000), ")".repeat(200_000)),
        format!("SELECT {}1", "- ".repeat(200_000)),
        format!("SELECT {}true", "NOT ".repeat(200_000)),
        format!("SELECT {}true", "NOT ".repeat(5_000)),
        format!("SELECT 1{}", " + 1".repeat(5_000)),
        format!("SELECT 1{}", " + 1".repeat(200_000)),
        format!("SELECT 1 {}", "UNION SELECT 1 ".repeat(50_000)),
        format!("SELECT {}1{}", "(SELECT ".repeat(50_000), ")".repeat(50_000)),
    ] {
        let template = shop.prepare(&sql);
        let line = render(&template.bind(0, &Values::None, &shop.map));
        let answered = line.starts_with("refuse 0A000") || line.starts_with("utility 0") || line == "any";
        assert!(answered, "{line}");
        assert!(!is_query(&template) || line == "any");
    }
}

#[test]
fn statements_are_described_without_values() {
    let shop = Shop::two_shards();
    let on = |text| {
        shop.prepare(text)
            .describe_on(0)
            .map(|shard| shard.map(|shard| shard.0))
            .map_err(|refusal| refusal.sqlstate)
    };
    assert_eq!(
        on("SELECT DISTINCT status FROM orders WHERE user_id = $1"),
        Ok(None)
    );
    assert_eq!(on("INSERT INTO users (user_id) VALUES ($1)"), Ok(None));
    assert_eq!(on("SELECT * FROM audit WHERE id = $1"), Ok(Some(1)));
    assert_eq!(on("SELECT * FROM big_orders"), Err("0A000"));
}

#[test]
fn explain_rows() {
    let shop = Shop::two_shards();
    let rows = |sql: &str| {
        let endpoint = |shard: topology::ShardId| {
            Some(crate::explain::ExplainEndpoint {
                shard: format!("shard-{shard}"),
                region: "us-west".to_owned(),
                role: Some(topology::Role::Standby),
                reason: "the nearest standby that is fresh enough".to_owned(),
            })
        };
        let plans = super::plans(&shop, sql);
        let rows = crate::explain::rows(&plans[0], &endpoint);
        rows.iter()
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect::<String>()
    };
    expect![[r#"
        route: single
        access: read
        slot: 6754
        shard: shard-0
        region: us-west
        role: standby (the nearest standby that is fresh enough)
        cache: public.orders by shard key (user_id = 42)
        cache policy: bound 5s, ttl 60s
    "#]]
    .assert_eq(&rows("EXPLAIN (ROUTE) SELECT * FROM orders WHERE user_id = 42"));
    expect![[r#"
        route: scatter
        access: read
        merge: ordered by column 2 desc nulls first, offset 2, limit 5, 1 hidden
        shard: shard-0
        region: us-west
        role: standby (the nearest standby that is fresh enough)
        sql: SELECT order_id, total FROM orders ORDER BY total DESC LIMIT 5::bigint + COALESCE(2::bigint, 0)
        shard: shard-1
        region: us-west
        role: standby (the nearest standby that is fresh enough)
        sql: SELECT order_id, total FROM orders ORDER BY total DESC LIMIT 5::bigint + COALESCE(2::bigint, 0)
    "#]]
    .assert_eq(&rows(
        "SELECT order_id FROM orders ORDER BY total DESC LIMIT 5 OFFSET 2",
    ));
    expect![[r#"
        route: refuse
        access: read
        sqlstate: 0A000
        message: the statement cannot be answered across shards
        reason: DISTINCT over several shards is not supported
        hint: Compare the shard key of every sharded table with one constant or parameter (key = ...).
    "#]]
    .assert_eq(&rows("SELECT DISTINCT status FROM orders"));
    expect![[r#"
        route: everywhere
        access: write
        answer: counts added, rows one after the other
        shard: shard-0
        region: us-west
        role: standby (the nearest standby that is fresh enough)
        shard: shard-1
        region: us-west
        role: standby (the nearest standby that is fresh enough)
    "#]]
    .assert_eq(&rows("DELETE FROM orders"));
    expect![[r#"
        route: copy
        access: write
        rows: each to the shard of its column 2
    "#]]
    .assert_eq(&rows("COPY orders FROM STDIN"));
}

#[test]
fn notices() {
    let shop = Shop::two_shards();
    let notices = crate::check(&shop.catalog, &shop.tables);
    let has = |wanted: fn(&Notice) -> bool| notices.iter().any(wanted);
    assert!(has(|n| matches!(n, Notice::Missing(t) if t.name == "missing")));
    assert!(has(
        |n| matches!(n, Notice::Sequence(t, c) if t.name == "orders" && c == "order_id")
    ));
    assert!(has(|n| matches!(n, Notice::KeyType(t, _) if t.name == "folded")));
    assert!(has(
        |n| matches!(n, Notice::UniqueWithoutKey(t, _) if t.name == "orders")
    ));
    assert!(!has(
        |n| matches!(n, Notice::UniqueWithoutKey(t, _) if t.name == "users")
    ));
}

/// The queries that psql 15 sends for `\d`, `\d table`, `\dt+` and their like (seen with `psql -E`).
#[test]
fn psql_describes_from_one_shard() {
    let shop = Shop::two_shards();
    let queries: Vec<&str> = include_str!("psql.sql")
        .split("----")
        .map(str::trim)
        .filter(|q| !q.is_empty())
        .collect();
    assert!(queries.len() > 50);
    for sql in queries {
        for plan in super::plans(&shop, sql) {
            let line = render(&plan);
            assert!(line.starts_with("utility 0"), "{line}: {sql}");
        }
        super::same_by_text(&shop, sql, &super::plans(&shop, sql));
        assert!(!shop.prepare(sql).needs_exact_text(), "{sql}");
    }
}
