//! Columns that the server makes of others. The stream has them from Postgres 18 on, where they are stored and
//! listed.

use tests::Stage;

const TABLE: &str = "create table things (id int primary key, name text,
                       loud text generated always as (upper(name)) stored);
                     insert into things values (1, 'before')";
const PACK: &str = r#"
[pack]
name = "mine"
[tables.things]
[[rules]]
name = "renamed"
table = "things"
on = ["update"]
action_details = "{{ old.loud }} is {{ new.loud }}"
"#;

async fn stage() -> Stage {
    let mut stage = Stage::start().await;
    stage.execute(TABLE).await;
    let pack = stage.file("mine.toml", PACK).display().to_string();
    stage.settings.set("capture.rules", vec![pack]);
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_names_one_is_refused_unless_the_stream_has_it() {
    let mut stage = stage().await;
    let major = stage.server.version().major;
    let mends = match major {
        ..18 => "no stream has such a column before Postgres 18",
        18.. => "set capture.columns = \"listed\" for table public.things",
    };
    let refused = stage.tidings(["setup"]).await;
    assert_eq!(refused.code(), 3);
    assert!(refused.stderr.contains(mends), "{}", refused.stderr);
    let checked = stage.tidings(["rules", "check", "--live"]).await;
    assert_eq!(checked.code(), 2);
    assert!(checked.stderr.contains(mends), "{}", checked.stderr);
    stage.settings.set("capture.columns", "listed");
    if major < 18 {
        let refused = stage.tidings(["setup"]).await;
        assert_eq!(refused.code(), 3, "{}", refused.stderr);
        return;
    }
    stage.tidings(["rules", "check", "--live"]).await.success();
    let _sidecar = stage.run().await;
    stage.until_compared().await;
    stage.execute("update things set name = 'after'").await;
    stage.execute("update things set name = 'at last'").await;
    stage.until_actions(2).await;
    let said = ["BEFORE is AFTER", "AFTER is AT LAST"];
    assert_eq!(stage.sentences().await, said);
}

/// From 18 on the server refuses updates where the whole row is the identity and holds one.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_row_as_identity_that_holds_one_is_kept_out_of_the_publication_from_18_on() {
    let stage = stage().await;
    let pack = PACK.replace("loud", "name");
    stage.file("mine.toml", &pack);
    let since_18 = stage.server.version().major >= 18;
    let identity = async |kind: &str| {
        let alter = format!("alter table things replica identity {kind}");
        stage.execute(&alter).await;
    };
    identity("full").await;
    let setup = stage.tidings(["setup"]).await;
    assert_eq!(setup.code() == 3, since_18, "{}", setup.stderr);
    if since_18 {
        let says = "reaches generated column loud, which is not published";
        assert!(setup.stderr.contains(says), "{}", setup.stderr);
        identity("default").await;
    }
    let _sidecar = stage.run().await;
    stage.until_compared().await;
    identity("full").await;
    if since_18 {
        // The guard sees it.
        stage
            .until("(select count(*) = 0 from pg_publication_rel)")
            .await;
    }
    stage.execute("update things set name = 'after'").await;
    if since_18 {
        identity("default").await;
        stage.tidings(["setup"]).await.success();
    }
    stage.until_actions(1).await;
    assert_eq!(stage.sentences().await, ["before is after"]);
}
