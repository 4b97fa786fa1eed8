use std::sync::Arc;
use std::time::Duration;

use activity::Lsn;
use connect::{Identity, SessionAttrs, Target};
use tokio::time::timeout;

use crate::command::{self, Row, identifier, literal};
use crate::frame::STREAM_BYTES_MAX;
use crate::startup::{self, Session};
use crate::timeline::TimelineHistory;
use crate::wire::Wire;
use crate::{Error, Malformed, Progress, Start, Stream};

const BACKEND_PID: &str = "select pg_backend_pid()";
/// As `server_version_num`.
const OLDEST: u32 = 140_000;
/// How often the server looks whether whoever creates a slot is still there.
const CLIENT_CHECK: &str = "1s";

/// A session in replication mode that takes commands.
///
/// No command here is cancel safe: a session whose command was cancelled answers every later one
/// with [`Error::Lost`]. Dropping it closes the connection, which gives its advisory locks back.
pub struct Connection {
    wire: Wire,
    greeted: i32,
    pid: i32,
    version: u32,
    sender_timeout: Option<Duration>,
    server: Option<Identity>,
    /// A command is under way, or was cancelled.
    busy: bool,
}

/// The answer to `IDENTIFY_SYSTEM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemIdentity {
    /// Unique per cluster, and the same on its physical copies.
    pub system_id: String,
    pub timeline: u32,
    /// Up to where the WAL is on disk.
    pub flush_lsn: Lsn,
    pub database: String,
}

impl Connection {
    /// Opens a session at the first address of the target that gives one of the kind asked for. A primary of
    /// a timeline that its cluster has left is passed over ([`connect::Timelines`]).
    ///
    /// # Errors
    /// That of the address whose failure says most, once all were tried. An SQLSTATE of 28 is a wrong
    /// role or password, 57P03 a server that starts or stops, 53300 one without a free slot.
    pub async fn open(target: &Target) -> Result<Self, Error> {
        let mut dial = target.dial();
        let mut failure: Option<Error> = None;
        while let Some(stream) = dial.next().await {
            let connection = match stream {
                Ok(stream) => timeout(target.connect_timeout(), Self::establish(target, stream))
                    .await
                    .unwrap_or_else(|elapsed| Err(Error::Lost(elapsed.into()))),
                Err(error) => Err(error.into()),
            };
            match connection {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = Some(weightier(error, failure)),
            }
        }
        Err(failure.expect("a target has a host, and each host was tried"))
    }

    async fn establish(target: &Target, stream: connect::Stream) -> Result<Self, Error> {
        let found = stream.host().clone();
        let host = found.to_string();
        let Session { wire, pid } = startup::start(target, stream).await?;
        let mut connection = Self {
            wire,
            greeted: pid,
            pid,
            version: 0,
            sender_timeout: None,
            server: None,
            busy: false,
        };
        let wanted = target.session_attrs();
        if wanted != SessionAttrs::Any {
            let answer = connection.show("transaction_read_only").await?;
            if !wanted.accepts(&answer) {
                return Err(connect::Error::WrongSession { host, wanted }.into());
            }
        }
        connection.server = connection.identity().await?;
        if let Some(server) = &connection.server {
            target.timelines().meet(&host, server)?;
        }
        let version = connection.show("server_version_num").await?;
        let missing = Malformed::MissingAnswer("a version");
        connection.version = version.parse().map_err(|_| missing)?;
        if connection.version < OLDEST {
            let why = "Postgres 14 or later is needed for logical messages in the stream";
            return Err(Error::Unsupported(why.to_owned()));
        }
        let rows = connection.query(BACKEND_PID).await?;
        let missing = Malformed::MissingAnswer("a process id");
        connection.pid = value(&rows, 0)
            .and_then(|pid| pid.parse().ok())
            .ok_or(missing)?;
        let patience = connection.show("wal_sender_timeout").await?;
        connection.sender_timeout = duration(&patience)?;
        target.found(&found);
        Ok(connection)
    }

    /// As `server_version_num`: 150018 for 15.18.
    pub fn server_version(&self) -> u32 {
        self.version
    }

    /// The server process that serves this session, as in `pg_stat_activity`. It says so itself: a proxy may
    /// greet by a number of its own.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The process that the greeting named (BackendKeyData).
    pub fn greeted(&self) -> i32 {
        self.greeted
    }

    /// The server's `wal_sender_timeout`; `None` where it is off.
    pub fn sender_timeout(&self) -> Option<Duration> {
        self.sender_timeout
    }

    /// Which server this is; `None` where it does not tell.
    pub fn server(&self) -> Option<&Identity> {
        self.server.as_ref()
    }

    pub async fn identify_system(&mut self) -> Result<SystemIdentity, Error> {
        let rows = self.query("IDENTIFY_SYSTEM").await?;
        identity(rows).ok_or_else(|| Malformed::MissingAnswer("a system identity").into())
    }

    /// Runs SQL in the session and returns all rows as text.
    ///
    /// # Errors
    /// After [`Error::Server`] the session takes further commands.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        if self.busy {
            let cause = std::io::Error::other("an earlier command was given up");
            return Err(Error::Lost(cause));
        }
        self.busy = true;
        let answer = command::query(&mut self.wire, sql).await;
        self.busy = !matches!(answer, Ok(_) | Err(Error::Server(_)));
        answer
    }

    /// Creates a logical slot for pgoutput without exporting a snapshot, and returns where it begins.
    ///
    /// Waits, and says nothing meanwhile, for every transaction that is open or prepared, and holds a snapshot
    /// all the time: a `create index concurrently` of that database waits for it. With `failover` (Postgres 17
    /// and later) standbys keep a copy of the slot.
    pub async fn create_slot(&mut self, name: &str, failover: bool) -> Result<Lsn, Error> {
        if failover && self.version < 170_000 {
            return Err(Error::Unsupported(
                "failover slots need Postgres 17 or later".to_owned(),
            ));
        }
        // By SQL, since the server looks only then whether the client is still there: the replication
        // command of one that is gone would go on, and hold the slot's name and this session's locks.
        let looks = format!("set client_connection_check_interval = '{CLIENT_CHECK}'");
        match self.query(&looks).await {
            // There are systems on which it can not look.
            Ok(_) | Err(Error::Server(_)) => {}
            Err(error) => return Err(error),
        }
        let (name, failover) = (
            literal(name),
            if failover { ", failover => true" } else { "" },
        );
        let rows = self
            .query(&format!(
                "select lsn from pg_create_logical_replication_slot({name}, 'pgoutput'{failover})"
            ))
            .await?;
        begin(&rows, 0)
    }

    /// The same for at most so long. `None`: then it was given up, and there is no slot. The session goes on.
    pub async fn create_slot_within(
        &mut self,
        limit: Duration,
        name: &str,
        failover: bool,
    ) -> Result<Option<Lsn>, Error> {
        self.query(&format!("set statement_timeout = {}", limit.as_millis()))
            .await?;
        let created = self.create_slot(name, failover).await;
        if let Ok(_) | Err(Error::Server(_)) = &created {
            self.query("reset statement_timeout").await?;
        }
        match created {
            Ok(begins) => Ok(Some(begins)),
            Err(error) if error.code() == Some("57014") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same for a slot that lasts as long as this connection, however that ends.
    pub async fn create_temporary_slot(&mut self, name: &str) -> Result<Lsn, Error> {
        let (name, options) = (identifier(name), self.no_snapshot());
        self.create(&format!("{name} TEMPORARY LOGICAL pgoutput {options}"))
            .await
    }

    /// Makes such a slot that begins where another one stands, in use or not. That one stays as it is.
    pub async fn copy_slot(&mut self, from: &str, to: &str) -> Result<(), Error> {
        let (from, to) = (literal(from), literal(to));
        let sql = format!("select pg_copy_logical_replication_slot({from}, {to}, true)");
        self.query(&sql).await.map(|_| ())
    }

    /// Drops a slot that nobody uses.
    ///
    /// # Errors
    /// 42704 there is no such slot, 55006 it is in use.
    pub async fn drop_slot(&mut self, name: &str) -> Result<(), Error> {
        let sql = format!("select pg_drop_replication_slot({})", literal(name));
        self.query(&sql).await.map(|_| ())
    }

    /// The timelines that lead to this one. The first timeline has no history.
    ///
    /// # Errors
    /// 58P01 the server has not the file of it.
    pub async fn timeline_history(&mut self, timeline: u32) -> Result<TimelineHistory, Error> {
        let rows = self.query(&format!("TIMELINE_HISTORY {timeline}")).await?;
        let text = value(&rows, 1).ok_or(Malformed::MissingAnswer("a timeline's history"))?;
        Ok(TimelineHistory::parse(text)?)
    }

    async fn identity(&mut self) -> Result<Option<Identity>, Error> {
        match self.query(Identity::QUERY).await {
            Ok(rows) => Ok(Identity::read(|column| value(&rows, column))),
            Err(Error::Server(error)) if Identity::is_withheld(&error.code) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn no_snapshot(&self) -> &'static str {
        match self.version {
            ..150_000 => "NOEXPORT_SNAPSHOT",
            _ => "(SNAPSHOT 'nothing')",
        }
    }

    async fn create(&mut self, slot: &str) -> Result<Lsn, Error> {
        let rows = self
            .query(&format!("CREATE_REPLICATION_SLOT {slot}"))
            .await?;
        begin(&rows, 1)
    }

    /// Begins to stream. The session is used up: it takes no more commands.
    ///
    /// # Errors
    /// 42704 there is no such slot, 55006 it is in use, 55000 it was invalidated.
    pub async fn stream(mut self, start: &Start) -> Result<Stream, Error> {
        // A list of identifiers inside a literal.
        let publication = literal(&identifier(&start.publication));
        let command = format!(
            "START_REPLICATION SLOT {} LOGICAL {} (proto_version '1', publication_names \
             {publication}, messages 'true')",
            identifier(&start.slot),
            start.from,
        );
        command::start_replication(&mut self.wire, &command).await?;
        self.wire.accept(STREAM_BYTES_MAX);
        let progress = Arc::new(Progress::default());
        Ok(Stream::new(self.wire, self.sender_timeout, start, progress))
    }

    async fn show(&mut self, setting: &'static str) -> Result<String, Error> {
        let rows = self.query(&format!("SHOW {setting}")).await?;
        let value = value(&rows, 0).map(str::to_owned);
        Ok(value.ok_or(Malformed::MissingAnswer(setting))?)
    }
}

/// Of two failures the one that comes from a server, which says more than one that reached none.
fn weightier(error: Error, earlier: Option<Error>) -> Error {
    match (error, earlier) {
        (Error::Connect(error), Some(Error::Connect(earlier))) => {
            Error::Connect(error.or_weightier(Some(earlier)))
        }
        (Error::Connect(_) | Error::Lost(_), Some(earlier)) => earlier,
        (error, _) => error,
    }
}

/// Where a new slot begins.
fn begin(rows: &[Row], column: usize) -> Result<Lsn, Error> {
    let begin = value(rows, column).and_then(|text| text.parse().ok());
    begin.ok_or_else(|| Malformed::MissingAnswer("the slot's begin").into())
}

fn value(rows: &[Row], column: usize) -> Option<&str> {
    rows.first()?.get(column)?.as_deref()
}

fn identity(rows: Vec<Row>) -> Option<SystemIdentity> {
    let mut row = rows.into_iter().next()?.into_iter();
    Some(SystemIdentity {
        system_id: row.next()??,
        timeline: row.next()??.parse().ok()?,
        flush_lsn: row.next()??.parse().ok()?,
        database: row.next()??,
    })
}

/// Reads a duration as `SHOW` prints it: `1min`, `2500ms`, and `0` for none.
fn duration(text: &str) -> Result<Option<Duration>, Malformed> {
    let unreadable = Malformed::MissingAnswer("a duration");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| unreadable.clone())?;
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(unreadable),
    };
    let duration = Duration::from_millis(number.saturating_mul(unit));
    Ok((!duration.is_zero()).then_some(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_show_prints_them() {
        let seconds = |n| Ok(Some(Duration::from_secs(n)));
        assert_eq!(duration("1min"), seconds(60));
        assert_eq!(duration("5s"), seconds(5));
        assert_eq!(duration("2500ms"), Ok(Some(Duration::from_millis(2500))));
        assert_eq!(duration("1h"), seconds(3600));
        assert_eq!(duration("1d"), seconds(86_400));
        assert_eq!(duration("0"), Ok(None));
        assert!(duration("").is_err() && duration("min").is_err() && duration("1y").is_err());
    }

    #[test]
    fn an_identity_with_a_null_is_refused() {
        let row = |database| {
            let text = ["7300000000000000000", "1", "16/B374D848"].map(|t| Some(t.to_owned()));
            vec![text.into_iter().chain([database]).collect()]
        };
        assert_eq!(identity(row(None)), None);
        let identity = identity(row(Some("app".to_owned()))).unwrap();
        assert_eq!(identity.flush_lsn, Lsn::new(0x16_B374_D848));
    }
}
