//! Over TLS to a real server: every session is encrypted, bound to the server's certificate and checked.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use scratch::{Auth, Server};
use serde_json::Value;
use tests::{Sidecar, Stage, eventually};

/// Sessions of the sidecar's role, those that are encrypted, and the streams among these.
const SESSIONS: &str = "select array[count(*), count(*) filter (where ssl), count(*) filter (where ssl and \
                        backend_type = 'walsender')] from pg_stat_activity join pg_stat_ssl using (pid) where \
                        usename = 'tidings'";
const END_ALL: &str =
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'tidings'";
const RELOAD: &str = "select pg_reload_conf()";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut parameters = CertificateParams::new([]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name` and its key, as PEM.
fn signed(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn url(stage: &Stage, root: &Path) -> String {
    format!(
        "{}?sslmode=verify-full&sslrootcert={}&channel_binding=require",
        stage.server.tcp_url("tidings:secret", "app"),
        root.display()
    )
}

/// Gives the server another certificate, for new sessions.
async fn present(stage: &Stage, (certificate, key): &(String, String)) {
    let data = stage.server.data_dir();
    std::fs::write(data.join("server.crt"), certificate).unwrap();
    std::fs::write(data.join("server.key"), key).unwrap();
    stage.execute(RELOAD).await;
}

async fn reason(sidecar: &Sidecar) -> Option<(u16, String)> {
    let (code, body) = sidecar.get("/readyz").await?;
    let body: Value = serde_json::from_str(&body).ok()?;
    let reason = body["capture"]["reason"].as_str().unwrap_or_default();
    Some((code, reason.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_is_encrypted_and_a_certificate_that_does_not_hold_stops_capture_by_name() {
    let ours = authority("ours");
    let good = signed(&ours, "127.0.0.1");
    let server = Server::builder().fast().auth(Auth::ScramSha256);
    let mut stage = Stage::on(server.tls(&good.0, &good.1)).await;
    stage.execute("alter role tidings password 'secret'").await;
    let root = stage.file("root.crt", &ours.pem());
    let strangers = stage.file("strangers.crt", &authority("strangers").pem());

    stage.settings.set("database.url", url(&stage, &strangers));
    let refused = stage.tidings(["run"]).await;
    assert_eq!(refused.code(), 1);
    for said in ["certificate", "sslrootcert"] {
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }

    stage.settings.set("database.url", url(&stage, &root));
    let sidecar = stage.run().await;
    stage
        .execute("insert into projects (project_id, name, status) values ('p1', 'x', 'active')")
        .await;
    stage.until_actions(1).await;
    let sessions: Vec<i64> = stage.value(SESSIONS).await;
    assert!(
        sessions[0] >= 4 && sessions[0] == sessions[1] && sessions[2] == 1,
        "{sessions:?}"
    );
    let doctor = stage.tidings(["doctor", "--probe"]).await.success();
    assert!(
        doctor.stdout.contains("encrypted (TLSv1.3)"),
        "{}",
        doctor.stdout
    );

    present(&stage, &signed(&ours, "db.example")).await;
    stage.execute(END_ALL).await;
    eventually("the certificate is named", async || {
        reason(&sidecar).await.is_some_and(|(code, reason)| {
            code == 503 && reason.contains("db.example") && reason.contains("sslrootcert")
        })
    })
    .await;
    let status = stage.tidings(["status"]).await;
    assert_eq!(status.code(), 1);
    assert!(status.stderr.contains("db.example"), "{}", status.stderr);

    present(&stage, &good).await;
    stage
        .execute("insert into projects (project_id, name, status) values ('p2', 'x', 'active')")
        .await;
    stage.until_actions(2).await;
}
