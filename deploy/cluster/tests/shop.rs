//! The shop's data fit its schema on a real PostgreSQL.

use cluster::{Postgres, PostgresSpec, shop};

#[tokio::test]
async fn the_small_shop_loads_and_its_tables_agree() {
    let spec = PostgresSpec::new("shop")
        .role("shop", "shop", "")
        .database("shop", "shop");
    let server = Postgres::start(spec).await.unwrap();
    let client = server.connect("shop", "shop").await.unwrap();
    shop::load(&client, shop::SEED, shop::Scale::SMALL).await.unwrap();
    let disagreements = "
        SELECT count(*) FROM orders o
        WHERE total <> (SELECT sum(quantity * unit_price) FROM order_items i
                        WHERE i.user_id = o.user_id AND i.order_id = o.order_id)
           OR (status IN ('pending', 'cancelled')) = EXISTS
              (SELECT FROM payments p WHERE p.user_id = o.user_id AND p.order_id = o.order_id AND p.amount = o.total)";
    let wrong: i64 = client.query_one(disagreements, &[]).await.unwrap().get(0);
    assert_eq!(wrong, 0);
    let born = "SELECT min(birth_date) >= '1950-01-01' AND max(birth_date) < '2005-01-01' FROM users";
    assert!(client.query_one(born, &[]).await.unwrap().get::<_, bool>(0));
    for table in ["shipments", "reviews", "categories"] {
        let count: i64 = client
            .query_one(&format!("SELECT count(*) FROM {table}"), &[])
            .await
            .unwrap()
            .get(0);
        assert!(count > 10, "{table} has {count} rows");
    }
}
