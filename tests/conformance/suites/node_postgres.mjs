// What programs with node-postgres do; prints what came out of each thing, a line each.
import pg from 'pg';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import copy from 'pg-copy-streams';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';

const pool = new pg.Pool({ max: 4 });

async function show(name, doing) {
    let text;
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error('no answer')), 30000);
    });
    try {
        text = JSON.stringify(await Promise.race([doing(), late]));
    } catch (error) {
        text = `${error.code} ${error.message} ${error.position ?? ''} ${error.detail ?? ''}`;
    } finally {
        clearTimeout(timer);
    }
    console.log(`${name}: ${String(text).replace(/[:\n]/g, ' ')}`);
}

async function withClient(doing, options = {}) {
    const client = new pg.Client(options);
    await client.connect();
    try {
        return await doing(client);
    } finally {
        await client.end();
    }
}

await pool.query('CREATE TABLE items (id serial PRIMARY KEY, name text UNIQUE, data jsonb, at timestamptz)');

await show('insert', async () => {
    const ids = [];
    for (let n = 0; n < 5; n++) {
        const { rows } = await pool.query('INSERT INTO items (name, data) VALUES ($1, $2) RETURNING id', [`item ${n}`, { n }]);
        ids.push(rows[0].id);
    }
    return ids;
});
await show('types', async () => {
    const sql = "SELECT $1::int a, $2::text b, $3::bool c, $4::bytea d, $5::int[] e, $6::jsonb f, NULL g, '2020-01-02'::date::text h";
    return (await pool.query(sql, [1, 'grüße', true, Buffer.from([0, 255]), [1, 2], { a: [1] }])).rows;
});
await show('fields', async () => {
    const { fields, command, rowCount } = await pool.query('SELECT id, name, data FROM items ORDER BY id LIMIT 2');
    return [fields.map((f) => [f.name, f.dataTypeID, f.columnID, f.format]), command, rowCount];
});
await show('several statements', async () => (await pool.query('SELECT 1 AS a; SELECT 2 AS b; INSERT INTO items (name) VALUES (\'x\')')).map((r) => [r.command, r.rowCount, r.rows]));
await show('empty', async () => (await pool.query('')).command);
await show('only a comment', async () => (await pool.query('-- nothing')).command);
await show('unique violation', () => pool.query('INSERT INTO items (name) VALUES ($1)', ['item 1']));
await show('syntax error', () => pool.query('SELEC 1'));
await show('unknown column', () => pool.query('SELECT nothing FROM items'));
await show('wrong parameter', () => pool.query('SELECT $1::int', ['x']));
await show('too few parameters', () => pool.query('SELECT $1::int + $2::int', [1]));
await show('named statements', () => withClient(async (client) => {
    const sums = [];
    for (let n = 0; n < 10; n++) {
        const { rows } = await client.query({ name: `add-${n % 3}`, text: `SELECT $1::int + ${n % 3} AS sum`, values: [n] });
        sums.push(rows[0].sum);
    }
    return sums;
}));
await show('same name on two clients', async () => {
    const ask = (text) => withClient(async (client) => {
        await client.query({ name: 'same', text, values: [] });
        return (await client.query({ name: 'same', text, values: [] })).rows;
    });
    return Promise.all([ask('SELECT 1 AS a'), ask("SELECT 'x' AS b")]);
});
await show('named statement after an error', () => withClient(async (client) => {
    const ask = (value) => client.query({ name: 'divide', text: 'SELECT 10 / $1::int AS q', values: [value] });
    const first = (await ask(5)).rows;
    const code = await ask(0).catch((error) => error.code);
    return [first, code, (await ask(2)).rows];
}));
await show('transaction', async () => {
    const client = await pool.connect();
    try {
        await client.query('BEGIN');
        await client.query('INSERT INTO items (name) VALUES ($1)', ['in a transaction']);
        await client.query('SAVEPOINT s');
        const code = await client.query('SELECT 1/0').catch((error) => error.code);
        await client.query('ROLLBACK TO s');
        const { rows } = await client.query("SELECT count(*)::int FROM items WHERE name LIKE 'in a%'");
        await client.query('ROLLBACK');
        return [code, rows, (await pool.query("SELECT count(*)::int FROM items WHERE name LIKE 'in a%'")).rows];
    } finally {
        client.release();
    }
});
await show('failed transaction', () => withClient(async (client) => {
    await client.query('BEGIN');
    await client.query('SELECT 1/0').catch(() => {});
    const code = await client.query('SELECT 1').catch((error) => error.code);
    return [code, (await client.query('COMMIT')).command];
}));
await show('queued without waiting', () => withClient(async (client) => {
    const asked = [];
    for (let n = 0; n < 50; n++) {
        asked.push(client.query('SELECT $1::int AS n', [n]).then((r) => r.rows[0].n));
    }
    return (await Promise.all(asked)).reduce((a, b) => a + b);
}));
await show('pool of four, forty at once', async () => {
    const asked = Array.from({ length: 40 }, (_, n) => pool.query('SELECT $1::int AS n, pg_sleep(0.01)', [n]));
    return (await Promise.all(asked)).map((r) => r.rows[0].n).reduce((a, b) => a + b);
});
await show('cursor', () => withClient(async (client) => {
    const cursor = client.query(new Cursor('SELECT n FROM generate_series(1, 25) n WHERE n > $1', [5]));
    const sizes = [];
    for (let rows = await cursor.read(8); rows.length > 0; rows = await cursor.read(8)) {
        sizes.push(rows.length);
    }
    await cursor.close();
    return [sizes, (await client.query('SELECT 1 AS after')).rows];
}));
await show('cursor closed early', () => withClient(async (client) => {
    const cursor = client.query(new Cursor('SELECT n FROM generate_series(1, 1000) n'));
    const rows = await cursor.read(3);
    await cursor.close();
    return [rows, (await client.query('SELECT 2 AS after')).rows];
}));
await show('stream', () => withClient(async (client) => {
    let sum = 0;
    for await (const row of client.query(new QueryStream('SELECT n FROM generate_series(1, 1000) n', [], { batchSize: 50 }))) {
        sum += row.n;
    }
    return sum;
}));
await show('stream left early', () => withClient(async (client) => {
    for await (const row of client.query(new QueryStream('SELECT n FROM generate_series(1, 1000) n', [], { batchSize: 50 }))) {
        if (row.n === 60) break;
    }
    return (await client.query('SELECT 3 AS after')).rows;
}));
await show('copy', () => withClient(async (client) => {
    await client.query('CREATE TEMP TABLE copied (a int, b text)');
    await pipeline(Readable.from(['1\tone\n', '2\tt', 'wo\n']), client.query(copy.from('COPY copied FROM STDIN')));
    let out = '';
    for await (const piece of client.query(copy.to('COPY copied TO STDOUT'))) out += piece;
    const failed = await pipeline(Readable.from(['x\ty\n']), client.query(copy.from('COPY copied FROM STDIN'))).catch((error) => error.code);
    return [out, failed, (await client.query('SELECT count(*)::int FROM copied')).rows];
}));
await show('listen', () => withClient(async (client) => {
    const heard = [];
    const three = new Promise((resolve) => client.on('notification', (n) => {
        heard.push([n.channel, n.payload]);
        if (heard.length === 3) resolve();
    }));
    await client.query('LISTEN node_channel');
    for (let n = 0; n < 3; n++) await pool.query("SELECT pg_notify('node_channel', $1)", [`n${n}`]);
    await three;
    await client.query('UNLISTEN node_channel');
    return heard;
}));
await show('notices', () => withClient(async (client) => {
    const heard = [];
    client.on('notice', (notice) => heard.push([notice.severity, notice.message]));
    await client.query("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$");
    await client.query('DROP TABLE IF EXISTS nothing_there');
    return heard;
}));
await show('settings', () => withClient(async (client) => {
    await client.query("SET statement_timeout = '7s'");
    await client.query("SELECT set_config('work_mem', '9MB', false)");
    await client.query("SET TIME ZONE 'America/New_York'");
    const { rows } = await client.query("SELECT current_setting('statement_timeout') s, current_setting('work_mem') w, current_setting('timezone') t");
    return rows;
}));
await show('settings at login', () => withClient(async (client) => (await client.query("SELECT current_setting('application_name') a, current_setting('statement_timeout') s, current_setting('search_path') p, current_setting('idle_in_transaction_session_timeout') i, current_setting('lock_timeout') l")).rows, {
    application_name: 'node test', statement_timeout: 8000, options: '-c search_path=pg_catalog', idle_in_transaction_session_timeout: 9000, lock_timeout: 1000,
}));
await show('parameter status', () => withClient(async (client) => {
    const seen = {};
    client.connection.on('parameterStatus', ({ parameterName, parameterValue }) => { seen[parameterName] = parameterValue; });
    await client.query("SET TIME ZONE 'Asia/Tokyo'");
    await client.query("SET application_name = 'renamed'");
    await client.query("SET standard_conforming_strings = off");
    return seen;
}));
await show('temporary table', () => withClient(async (client) => {
    await client.query('CREATE TEMP TABLE mine (a int)');
    await client.query('INSERT INTO mine VALUES ($1), ($2)', [1, 2]);
    return (await client.query('SELECT sum(a)::int FROM mine')).rows;
}));
await show('advisory lock', () => withClient((one) => withClient(async (two) => {
    await one.query('SELECT pg_advisory_lock(5)');
    const held = (await two.query('SELECT pg_try_advisory_lock(5) AS got')).rows;
    await one.query('SELECT pg_advisory_unlock(5)');
    return [held, (await two.query('SELECT pg_try_advisory_lock(5) AS got')).rows];
})));
await show('row mode array', async () => (await pool.query({ text: 'SELECT 1, 2, 3', rowMode: 'array' })).rows);
await show('binary', async () => (await pool.query({ text: 'SELECT $1::int8 AS a, $2::float8 AS b', values: [5, 1.5], binary: true })).rows);
await show('a megabyte', async () => (await pool.query('SELECT length($1) AS n, md5($1) AS sum', ['x'.repeat(1 << 20)])).rows);
await show('many rows', async () => (await pool.query('SELECT n, repeat(\'y\', 100) FROM generate_series(1, 20000) n')).rows.length);
await show('statement timeout', () => withClient(async (client) => {
    await client.query("SET statement_timeout = '100ms'");
    return client.query('SELECT pg_sleep(20)');
}));
await show('wrong database', () => withClient(async () => 'connected', { database: 'no_such_database' }));
await show('terminated', () => withClient(async (client) => {
    client.on('error', () => {});
    const { rows } = await client.query('SELECT pg_backend_pid() AS pid');
    const failed = client.query('SELECT pg_sleep(20)').catch((error) => [error.code, error.message]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await pool.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(20)' AND pid <> pg_backend_pid()");
    return [rows.length, await failed];
}));
await pool.end();
