//! Measures how fast a database takes publishes and answers fills.
//!
//! `cargo run --release -p callboard-actors --example commit_rate -- <database url> [seconds]`
//!
//! Migrates the database when it has to, and leaves what it published there: give it a database of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use callboard_actors::store::{CommitRequest, NoSeals, OnRefusal, OpenOptions, ReadPool, Writer, open};
use callboard_protocol::commit::{Decision, Standing};
use callboard_protocol::config::MetadataEdit;
use callboard_protocol::content::{Content, Md5};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::Timeline;
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::{
    Change, Condition, Fingerprint, KeyWrite, Origin, RequestId, Source, WriteRequest,
};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const KEYS: usize = 1_000;
const CONTENT_BYTES: usize = 1_024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: commit_rate <database url> [seconds]")?;
    let seconds = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let patience = Duration::from_secs(10);
    callboard_migration::run(&url, patience).await?;
    let options = OpenOptions {
        url,
        read_connections: 4,
        search_connections: 1,
        connect_timeout: patience,
        statement_timeout: patience,
        on_refusal: OnRefusal::default(),
        seals: std::sync::Arc::new(NoSeals),
    };
    let (writer, reader) = open(options).await?;
    let mut turn = 0;
    for units in [1, 16, 64] {
        measure_commits(&writer, units, Duration::from_secs(seconds), &mut turn).await?;
    }
    for keys in [1, 64] {
        measure_fills(&reader, keys, Duration::from_secs(seconds)).await?;
    }
    Ok(())
}

async fn measure_commits(writer: &Writer, units: usize, span: Duration, turn: &mut usize) -> Outcome<()> {
    let begun = Instant::now();
    let mut latencies = Vec::new();
    while begun.elapsed() < span {
        let batch = (0..units).map(|index| unit(*turn * units + index)).collect::<Outcome<Vec<_>>>()?;
        *turn += 1;
        let request = CommitRequest {
            units: batch,
            timeline: Timeline(1),
            standing: Standing::Direct,
            acks: Vec::new(),
            at: WallMillis(1_800_000_000_000),
        };
        let sent = Instant::now();
        if !matches!(writer.commit(request).await?, Decision::Write(_)) {
            return Err("the database has members; give an empty one".into());
        }
        latencies.push(sent.elapsed());
    }
    report(&format!("commit, {units:>2} units"), units, &mut latencies, begun.elapsed());
    Ok(())
}

async fn measure_fills(reader: &ReadPool, keys: usize, span: Duration) -> Outcome<()> {
    let begun = Instant::now();
    let mut latencies = Vec::new();
    while begun.elapsed() < span {
        let first = latencies.len() * keys;
        let asked = (0..keys).map(|index| key(first + index)).collect::<Outcome<Vec<_>>>()?;
        let sent = Instant::now();
        reader.fill(&asked).await?;
        latencies.push(sent.elapsed());
    }
    report(&format!("fill,   {keys:>2} keys "), keys, &mut latencies, begun.elapsed());
    Ok(())
}

fn key(number: usize) -> Outcome<ConfigKey> {
    Ok(ConfigKey::new("public", "rate", &format!("config-{}", number % KEYS))?)
}

fn unit(number: usize) -> Outcome<Arc<WriteRequest>> {
    let text = format!("{number:>CONTENT_BYTES$}");
    let content = Content::new(Bytes::from(text))?;
    let fingerprint = Fingerprint(Md5::of(&number.to_le_bytes()));
    let change = Change::Put { content, edit: Box::new(MetadataEdit::default()) };
    let items = vec![KeyWrite { key: key(number)?, condition: Condition::None, change }];
    let origin = Origin { channel: Source::System, operator: None, source_address: None, client_id: None, note: None };
    let request_id = RequestId::generated(uuid::Uuid::new_v4());
    Ok(Arc::new(WriteRequest { request_id, repeatable: false, fingerprint, items, origin }))
}

fn report(what: &str, each: usize, latencies: &mut [Duration], elapsed: Duration) {
    latencies.sort_unstable();
    let at = |share: usize| latencies.get(latencies.len() * share / 100).copied().unwrap_or_default();
    let rate = latencies.len() as f64 / elapsed.as_secs_f64();
    println!("{what}: {rate:>8.0}/s, {:>8.0} keys/s, p50 {:?}, p99 {:?}", rate * each as f64, at(50), at(99));
}
