--- Reads that their key binds to one shard.

SELECT * FROM users WHERE user_id = 42;

SELECT * FROM users WHERE 42 = user_id;

SELECT name, email FROM users WHERE user_id = 7;

SELECT * FROM public.users u WHERE u.user_id = '7';

SELECT user_id, name FROM users WHERE user_id = 5::int;

SELECT user_id, name FROM users WHERE user_id = CAST('5' AS bigint);

SELECT * FROM users WHERE user_id = 100000;

SELECT * FROM users WHERE user_id = -1;

SELECT * FROM users WHERE user_id = NULL;

SELECT * FROM users WHERE user_id IS NULL;

SELECT * FROM orders WHERE user_id = 39 ORDER BY order_id;

SELECT * FROM orders WHERE user_id = 39 AND status = 'delivered' ORDER BY placed_at DESC;

SELECT * FROM orders WHERE status = 'delivered' AND (total > 5 AND user_id = 39) ORDER BY order_id;

SELECT order_id FROM orders WHERE user_id = 39 OR user_id = 39 ORDER BY 1;

SELECT order_id FROM orders WHERE (user_id = 39 AND status = 'paid') OR (user_id = 39 AND status = 'delivered') ORDER BY 1;

SELECT order_id FROM orders WHERE user_id IN (3) ORDER BY 1;

SELECT order_id FROM orders WHERE user_id = ANY (ARRAY[3, 3]) ORDER BY order_id;

SELECT order_id FROM orders WHERE user_id = ANY ('{3}') ORDER BY order_id;

SELECT order_id, status FROM orders WHERE (user_id, order_id) = (39, 14);

SELECT count(*) FROM orders WHERE user_id = 39 AND order_id > 100;

SELECT * FROM users WHERE user_id = 42 AND user_id = 43;

SELECT * FROM users WHERE user_id = 99999999999999999999;

SELECT * FROM users WHERE user_id = 'abc';

SELECT * FROM users WHERE user_id = 9223372036854775807;

SELECT * FROM inventory WHERE product_id = 17;

SELECT warehouse, on_hand - reserved AS free FROM inventory WHERE product_id = 17;

SELECT * FROM order_items WHERE user_id = 39 ORDER BY order_id, line;

SELECT * FROM payments WHERE user_id = 9 ORDER BY payment_id;

SELECT * FROM shipments WHERE user_id = 9 ORDER BY shipment_id;

SELECT * FROM reviews WHERE user_id = 9 ORDER BY review_id;

--- Grouping, windows and the like on one shard are PostgreSQL's own.
SELECT status, count(*), sum(total), avg(total) FROM orders WHERE user_id = 39 GROUP BY status ORDER BY status;

SELECT status, count(*) FROM orders WHERE user_id = 39 GROUP BY status HAVING count(*) > 1 ORDER BY 1;

SELECT DISTINCT status FROM orders WHERE user_id = 39 ORDER BY status;

SELECT order_id, row_number() OVER (ORDER BY total DESC, order_id) FROM orders WHERE user_id = 39 ORDER BY 2;

SELECT order_id, sum(total) OVER (PARTITION BY status ORDER BY order_id) FROM orders WHERE user_id = 39 ORDER BY 1;

SELECT avg(total), stddev(total) FROM orders WHERE user_id = 39;

SELECT array_agg(order_id ORDER BY order_id) FROM orders WHERE user_id = 39;

SELECT string_agg(status, ',' ORDER BY order_id) FROM orders WHERE user_id = 39;

SELECT json_agg(o ORDER BY order_id) FROM orders o WHERE user_id = 39 AND order_id < 200;

SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total) FROM orders WHERE user_id = 39;

SELECT status, count(*) FROM orders WHERE user_id = 39 GROUP BY ROLLUP (status) ORDER BY status NULLS LAST;

SELECT order_id FROM orders WHERE user_id = 39 UNION ALL SELECT order_id FROM orders WHERE user_id = 39 ORDER BY 1;

SELECT order_id FROM orders WHERE user_id = 39 EXCEPT SELECT order_id FROM orders WHERE user_id = 39 AND total > 50 ORDER BY 1;

SELECT order_id FROM orders WHERE user_id = 39 ORDER BY total DESC, order_id LIMIT 3;

SELECT order_id FROM orders WHERE user_id = 39 ORDER BY order_id OFFSET 2 LIMIT 3;

SELECT order_id FROM orders WHERE user_id = 39 ORDER BY order_id FETCH FIRST 2 ROWS ONLY;

SELECT order_id FROM orders WHERE user_id = 39 ORDER BY lower(status), order_id;

SELECT DISTINCT ON (status) status, order_id FROM orders WHERE user_id = 39 ORDER BY status, order_id;

SELECT CASE WHEN total > 100 THEN 'much' ELSE 'little' END, order_id FROM orders WHERE user_id = 39 ORDER BY 2;

SELECT user_id FROM users WHERE user_id = 39 FOR UPDATE;

SELECT user_id FROM users WHERE user_id = 39 FOR SHARE SKIP LOCKED;

SELECT * FROM users WHERE user_id = 39 LIMIT 0;

SELECT * FROM users WHERE user_id = 39 AND false;

SELECT user_id AS id, name AS "the name", 1 AS "?column?" FROM users WHERE user_id = 39;

SELECT FROM users WHERE user_id = 39;

SELECT users FROM users WHERE user_id = 39;

SELECT u.* FROM users AS u WHERE u.user_id = 39;

SELECT ctid IS NOT NULL FROM users WHERE user_id = 39;

TABLE categories ORDER BY category_id;

/* ringway: level=strong */ SELECT name FROM users WHERE user_id = 11;

/* ringway: cache=off */ SELECT name FROM users WHERE user_id = 11;

SELECT /* a comment with 'quotes' */ name -- and another
FROM users WHERE user_id = 11;

--- Keys of other types.
SELECT * FROM tags WHERE tag = 'it''s';

SELECT * FROM tags WHERE tag = $$red$$;

SELECT * FROM tags WHERE tag = E'gr\u00fcn';

SELECT * FROM tags WHERE tag = '';

SELECT tag, n FROM tags WHERE tag IN ('red', 'blue', 'nothing') ORDER BY tag;

SELECT id, body FROM documents WHERE id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';

SELECT id, body FROM documents WHERE id = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11';

SELECT id, body FROM documents WHERE id = '{a0eebc999c0b4ef8bb6d6bb9bd380a11}'::uuid;

SELECT * FROM documents WHERE id = 'not a uuid';
