//! Compares the sidecar's images with the tables that they are of.

use tokio_postgres::Client;

/// Images whose row is another one or gone, and rows without an image, over all tables that have any. Their columns
/// must be of types that JSON writes as the stream does.
pub async fn images_that_differ(client: &Client) -> i64 {
    let tables = "select table_id, format('%I.%I', schema_name, table_name),
          (select string_agg(format('%I::text', part), ', ' order by place)
             from unnest(key) with ordinality as parts (part, place))
        from tidings.image_tables where watched and key <> '{}'";
    let mut differ = 0;
    for table in client.query(tables, &[]).await.expect(tables) {
        let (id, name, key): (i32, String, String) = (table.get(0), table.get(1), table.get(2));
        // The columns that every image holds, and whatever else this one does.
        let query = format!(
            "select count(*) from
               (select i.key::jsonb as key, i.row as held, t.columns
                from tidings.images i join tidings.image_tables t using (table_id)
                where table_id = {id} and i.generation = t.generation and i.row is not null) as image
               full join (select jsonb_build_array({key}) as key, to_jsonb(r) as held from {name} as r) as there
                 using (key)
             where image.held is null or there.held is null
               or not image.held ?& coalesce(image.columns, '{{}}')
               or exists (select from jsonb_each_text(image.held) as own (name, value)
                          where value is distinct from there.held ->> name)"
        );
        let row = client.query_one(&query, &[]).await;
        let row = row.unwrap_or_else(|error| panic!("{error:?} in {query}"));
        differ += row.get::<_, i64>(0);
    }
    differ
}
