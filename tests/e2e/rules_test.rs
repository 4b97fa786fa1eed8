//! `tidings rules test`: golden cases from the command line, without any database.

use tests::Stage;

const PACK: &str = "[pack]\nname = \"notes\"\n[tables.notes]\n[[rules]]\nname = \"noted\"\ntable = \"notes\"\n\
                    on = [\"insert\"]\naction_details = \"Noted {{ new.text }}\"\n\
                    [[rules]]\nname = \"gone\"\ntable = \"notes\"\non = [\"delete\"]\n";

const CASES: &str = "pack = \"notes.toml\"\n[[cases]]\nname = \"a note is told\"\n[[cases.transactions]]\n\
                     insert.notes = [{ id = \"1\", text = \"x\" }]\n[[cases.actions]]\naction_details = \"Noted x\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn cases_that_hold_exit_0_and_others_show_what_differs_and_exit_1() {
    let stage = Stage::bare(scratch::Server::builder()).await;
    let pack = stage.file("notes.toml", PACK).display().to_string();
    let file = stage.file("notes.cases.toml", CASES).display().to_string();
    // By the pack or by the cases, and whatever the settings say.
    for named in [&pack, &file] {
        let held = stage.tidings(["rules", "test", named]).await.success();
        assert!(
            held.stdout.contains("ok    a note is told"),
            "{}",
            held.stdout
        );
        assert!(held.stdout.contains("notes/gone"), "{}", held.stdout);
        assert!(
            held.stdout.contains("1 passed, 0 failed"),
            "{}",
            held.stdout
        );
    }
    stage.file("notes.cases.toml", &CASES.replace("Noted x", "Noted y"));
    let failed = stage.tidings(["rules", "test", &file]).await;
    assert_eq!(failed.code(), 1);
    for text in [
        "FAIL  a note is told (line 3)",
        "- \"Noted y\"",
        "+ \"Noted x\"",
    ] {
        assert!(
            failed.stdout.contains(text),
            "{text} is not in {}",
            failed.stdout
        );
    }
    let told = stage.tidings(["rules", "test", "--json", &file]).await;
    assert_eq!(told.code(), 1);
    assert_eq!(
        told.json()["files"][0]["cases"][0]["differences"][0]["got"],
        "Noted x"
    );

    stage.file(
        "notes.cases.toml",
        &CASES.replace("insert.notes", "isnert.notes"),
    );
    let refused = stage.tidings(["rules", "test", &file]).await;
    assert_eq!(refused.code(), 2);
    assert!(
        refused.stderr.contains("notes.cases.toml:5"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("did you mean insert?"),
        "{}",
        refused.stderr
    );
}
