-- The shop. What a user owns carries user_id first in its key, so that it lives on the user's shard.
-- Statements end with a semicolon at the end of a line.

CREATE TABLE categories (
    category_id integer PRIMARY KEY,
    name        text NOT NULL,
    parent_id   integer REFERENCES categories
);

CREATE TABLE products (
    product_id  bigint PRIMARY KEY,
    category_id integer NOT NULL REFERENCES categories,
    sku         text NOT NULL UNIQUE,
    name        text NOT NULL,
    price       numeric(10,2) NOT NULL CHECK (price > 0),
    weight_kg   double precision,
    attributes  jsonb NOT NULL,
    active      boolean NOT NULL,
    created_at  timestamptz NOT NULL
);

CREATE TABLE users (
    user_id     bigint PRIMARY KEY,
    email       text NOT NULL,
    name        text NOT NULL,
    country     text NOT NULL,
    birth_date  date,
    vip         boolean NOT NULL,
    balance     numeric(12,2) NOT NULL,
    external_id uuid NOT NULL,
    preferences jsonb NOT NULL,
    created_at  timestamptz NOT NULL
);

CREATE TABLE orders (
    user_id   bigint NOT NULL REFERENCES users,
    order_id  bigint NOT NULL,
    status    text NOT NULL CHECK (status IN ('pending', 'paid', 'shipped', 'delivered', 'cancelled', 'returned')),
    total     numeric(12,2) NOT NULL,
    currency  text NOT NULL,
    placed_at timestamptz NOT NULL,
    note      text,
    PRIMARY KEY (user_id, order_id)
);

CREATE TABLE order_items (
    user_id    bigint NOT NULL,
    order_id   bigint NOT NULL,
    line       integer NOT NULL,
    product_id bigint NOT NULL REFERENCES products,
    quantity   integer NOT NULL CHECK (quantity > 0),
    unit_price numeric(10,2) NOT NULL,
    PRIMARY KEY (user_id, order_id, line),
    FOREIGN KEY (user_id, order_id) REFERENCES orders
);

CREATE TABLE inventory (
    product_id bigint PRIMARY KEY REFERENCES products,
    warehouse  text NOT NULL,
    on_hand    integer NOT NULL CHECK (on_hand >= 0),
    reserved   integer NOT NULL CHECK (reserved >= 0),
    updated_at timestamptz NOT NULL
);

CREATE TABLE payments (
    user_id    bigint NOT NULL,
    payment_id bigint NOT NULL,
    order_id   bigint NOT NULL,
    amount     numeric(12,2) NOT NULL,
    method     text NOT NULL,
    state      text NOT NULL CHECK (state IN ('authorized', 'captured', 'refunded')),
    card_last4 text,
    paid_at    timestamptz NOT NULL,
    PRIMARY KEY (user_id, payment_id),
    FOREIGN KEY (user_id, order_id) REFERENCES orders
);

CREATE TABLE shipments (
    user_id      bigint NOT NULL,
    shipment_id  bigint NOT NULL,
    order_id     bigint NOT NULL,
    carrier      text NOT NULL,
    tracking     uuid NOT NULL,
    shipped_at   timestamptz NOT NULL,
    delivered_on date,
    PRIMARY KEY (user_id, shipment_id),
    FOREIGN KEY (user_id, order_id) REFERENCES orders
);

CREATE TABLE reviews (
    user_id    bigint NOT NULL REFERENCES users,
    review_id  bigint NOT NULL,
    product_id bigint NOT NULL REFERENCES products,
    rating     smallint NOT NULL CHECK (rating BETWEEN 1 AND 5),
    title      text NOT NULL,
    body       text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, review_id)
);

CREATE INDEX products_by_category ON products (category_id);

CREATE INDEX orders_by_time ON orders (placed_at);
