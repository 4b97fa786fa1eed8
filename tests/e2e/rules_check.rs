//! `tidings rules check --live`: whether a pack fits the database it will run on.

use tests::Stage;

const PACK: &str = "[pack]\nname = \"orders\"\n[tables.orders]\n[[rules]]\nname = \"ordered\"\ntable = \"orders\"\n\
                    on = [\"insert\", \"update\"]\nwhen = \"changed('state') and new.total > 5\"\n\
                    action_details = \"Order {{ new.id }} of {{ new.note }}\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_is_held_against_the_tables_and_shown_like_a_compiler_does() {
    let mut stage = Stage::bare(scratch::Server::builder()).await;
    let path = stage.file("orders.toml", PACK).display().to_string();
    let check = ["rules", "check", "--live", &path];
    let refused = stage.tidings(check).await;
    assert_eq!(refused.code(), 2, "{}", refused.stdout);
    assert!(
        refused
            .stderr
            .contains("table public.orders does not exist"),
        "{}",
        refused.stderr
    );

    stage
        .execute(
            "set role worker; create table orders (id int primary key, state text, totals int, note jsonb, total text)",
        )
        .await;
    let refused = stage.tidings(check).await;
    assert_eq!(refused.code(), 2);
    for line in [
        "error: rule orders/ordered: when: column total of public.orders is text (text)",
        "8 | when = \"changed('state') and new.total > 5\"",
        "  |                                  ^^^^^",
    ] {
        assert!(
            refused.stderr.contains(line),
            "{line} is not in {}",
            refused.stderr
        );
    }
    let told = stage
        .tidings(["rules", "check", "--live", "--json", &path])
        .await;
    assert_eq!(told.code(), 2);
    assert_eq!(told.json()["ok"], false);
    assert_eq!(told.json()["problems"][0]["line"], 8);

    stage
        .execute("alter table orders alter total type int using total::int")
        .await;
    let fits = stage.tidings(check).await.success();
    assert!(fits.stdout.contains("not published yet"), "{}", fits.stdout);
    assert!(
        fits.stderr.contains("large values of note"),
        "{}",
        fits.stderr
    );

    stage.settings.set("capture.rules", vec!["orders.toml"]);
    stage.tidings(["setup"]).await.success();
    // Without a name those of the settings.
    let fits = stage.tidings(["rules", "check", "--live"]).await.success();
    assert!(
        fits.stdout.contains("public.orders: whole rows"),
        "{}",
        fits.stdout
    );
    assert!(
        fits.stdout.contains("key (id); published\n"),
        "{}",
        fits.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_mistakes_are_shown_in_their_lines() {
    let stage = Stage::bare(scratch::Server::builder()).await;
    let pack = PACK.replace("changed", "chagned");
    let path = stage.file("orders.toml", &pack).display().to_string();
    let refused = stage.tidings(["rules", "check", &path]).await;
    assert_eq!(refused.code(), 2);
    for text in [
        "rule ordered: when: there is no function chagned",
        "orders.toml:8:9",
        "^^^^^^^",
        "did you mean changed?",
    ] {
        assert!(
            refused.stderr.contains(text),
            "{text} is not in {}",
            refused.stderr
        );
    }
    let told = stage.tidings(["rules", "check", "--json", &path]).await;
    assert_eq!(told.json()["problems"][0]["key"], "when");
}
