-- A shop whose orders drift in every odd hour (UTC): prices are 1.6 times as high, and a country that was rare is frequent.
CREATE TABLE orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  created_at timestamptz NOT NULL,
  amount numeric(10, 2),
  country text,
  channel text
);
CREATE INDEX orders_created_at ON orders (created_at);

-- One order of a quiet time. The sum of three uniform numbers is close enough to a normal one.
CREATE FUNCTION quiet_order(OUT amount numeric, OUT country text, OUT channel text) LANGUAGE sql VOLATILE AS $$
  SELECT CASE WHEN random() < 0.02 THEN NULL ELSE round(exp(3 + 1.2 * (random() + random() + random() - 1.5))::numeric, 2) END,
         (ARRAY['DE', 'DE', 'DE', 'DE', 'FR', 'FR', 'ES', 'ES', 'IT', 'PT'])[1 + floor(10 * random())::int],
         (ARRAY['web', 'web', 'app'])[1 + floor(3 * random())::int];
$$;

-- What orders are compared with: never drifted.
CREATE TABLE orders_reference AS
  SELECT (made).* FROM (SELECT quiet_order() AS made FROM generate_series(1, 20000) OFFSET 0) AS orders;

-- An order every three seconds, from the last one until now; at first those of a day.
CREATE PROCEDURE append_orders() LANGUAGE sql AS $$
  INSERT INTO orders (created_at, amount, country, channel)
  SELECT at,
         CASE WHEN drifts THEN 1.6 ELSE 1 END * (made).amount,
         CASE WHEN drifts AND random() < 0.25 THEN 'PT' ELSE (made).country END,
         (made).channel
    FROM (SELECT at, extract(hour FROM at AT TIME ZONE 'UTC')::int % 2 = 1 AS drifts, quiet_order() AS made
            FROM generate_series(
                   coalesce((SELECT max(created_at) FROM orders), now() - interval '1 day') + interval '3 seconds',
                   now(), interval '3 seconds') AS at OFFSET 0) AS fresh; -- OFFSET 0: each order is made once
$$;
CALL append_orders();

GRANT USAGE ON SCHEMA public TO drift_reader;
GRANT SELECT ON orders, orders_reference TO drift_reader;
