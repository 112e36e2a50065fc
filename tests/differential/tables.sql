CREATE TABLE tags (
    tag    text PRIMARY KEY,
    n      integer DEFAULT 7,
    weight real,
    raw    bytea,
    small  smallint,
    ratio  double precision,
    code   char(5),
    label  varchar(20),
    UNIQUE (tag, n)
);
CREATE TABLE documents (
    id      uuid PRIMARY KEY,
    body    text,
    parts   text[],
    took    interval,
    at      time,
    plain   timestamp,
    address inet,
    size    int4range,
    words   tsvector,
    doc     json
);
CREATE TABLE ledger (
    id     bigserial PRIMARY KEY,
    what   text NOT NULL,
    amount numeric
);
CREATE TABLE settings (
    name  text PRIMARY KEY,
    value text
);
CREATE TABLE codes (
    code varchar(3) PRIMARY KEY,
    n    integer
);
CREATE TABLE pledges (
    id   integer PRIMARY KEY,
    what text UNIQUE DEFERRABLE INITIALLY DEFERRED
);
