//! The worker: plays the story on its own connection, and knows nothing of Tidings.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use tokio_util::sync::CancellationToken;

use super::event::Event;
use super::story::{End, Scene, Story, Value};

/// Plays until `stop`; a transaction that has begun is brought to its end. `awaited` hears of every
/// commit that actions must come of.
pub async fn work(
    mut client: Client,
    mut story: Story,
    awaited: Arc<Notify>,
    events: Sender<Event>,
    stop: CancellationToken,
) -> Result<(), tokio_postgres::Error> {
    while !stop.is_cancelled() {
        let scene = story.next_scene();
        play(&mut client, &scene).await?;
        let at = Instant::now();
        if !scene.expected.is_empty() {
            awaited.notify_one();
        }
        let Scene {
            words, expected, ..
        } = scene;
        let event = match scene.end {
            End::Commit => Event::Committed {
                at,
                words,
                expected,
            },
            End::Rollback => Event::RolledBack { at, words },
        };
        if events.send(event).await.is_err() {
            break;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(story.pause()) => {}
        }
    }
    Ok(())
}

async fn play(client: &mut Client, scene: &Scene) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    for statement in &scene.statements {
        let values: Vec<_> = statement.values.iter().map(parameter).collect();
        transaction.execute(statement.sql, &values).await?;
    }
    match scene.end {
        End::Commit => transaction.commit().await,
        End::Rollback => transaction.rollback().await,
    }
}

fn parameter(value: &Value) -> &(dyn ToSql + Sync) {
    match value {
        Value::Text(text) => text,
        Value::Number(number) => number,
        Value::Json(json) => json,
    }
}
