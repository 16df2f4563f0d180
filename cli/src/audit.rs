//! `callboard audit`: who did what, all of it as lines of JSON, and whether any of it was changed. What verifies is
//! `callboard_protocol::access::audit::chain`; this reads exports. Changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write};
use std::path::Path;

use callboard_protocol::access::audit::Claims;
use callboard_protocol::access::audit::chain::{Hash, Head, Record, Seen, Verdict, Verifier};
use callboard_protocol::time::WallMillis;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Setting;
use super::arguments::{AuditCommand, AuditExport, AuditList, AuditVerify, Format};
use super::failure::Failure;
use super::output::{cell, items, print, print_json, remark, tell};
use super::rest::{Rest, Stream};
use super::table::Table;

/// The form of exports that is understood.
const FORM: u32 = 1;

/// Looks at what was written down.
pub(super) async fn run(command: &AuditCommand, setting: &Setting) -> Result<(), Failure> {
    match command {
        AuditCommand::Ls(options) => list(options, setting).await,
        AuditCommand::Export(options) => export(options, setting).await,
        AuditCommand::Verify(options) => verify(options, setting).await,
    }
}

async fn list(options: &AuditList, setting: &Setting) -> Result<(), Failure> {
    let mut query = options.time.query();
    let given = [("user", &options.by), ("what", &options.what)];
    query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    let found = Rest::find(setting).await?.list(&["audit"], &query, "cursor", &options.bound).await?;
    match setting.preferences.output {
        Format::Json => print_json(&found),
        Format::Table => print(&table(&found).to_text()),
    }
}

fn table(found: &Value) -> Table {
    let mut table = Table::new(&["AT", "WHAT", "OUTCOME", "BY", "FROM", "DOOR", "OF", "TIMES", "RECORD"]);
    for event in items(found, "items") {
        let shown = |pointer| cell(event, pointer);
        let outcome = [shown("/outcome"), shown("/code")].join(" ");
        let record = format!("{}:{}", shown("/node"), shown("/seq"));
        table.row([
            shown("/at"),
            shown("/what"),
            outcome.trim_end().to_owned(),
            shown("/user"),
            shown("/address"),
            shown("/door"),
            target(event),
            shown("/count"),
            record,
        ]);
    }
    table
}

/// `public/app/a@7`, or what else there is.
fn target(event: &Value) -> String {
    let shown = |member: &str| cell(event, &format!("/target/{member}"));
    let key = ["namespace", "group", "dataId"].map(&shown).into_iter().filter(|part| !part.is_empty());
    let key = key.collect::<Vec<_>>().join("/");
    let version = Some(shown("version")).filter(|version| !version.is_empty()).map(|version| format!("@{version}"));
    let others = ["user", "role", "grants", "token", "key", "node", "action", "timeline", "records"];
    let others = others.into_iter().map(|member| (member, shown(member))).filter(|(_, value)| !value.is_empty());
    let others = others.map(|(member, value)| format!("{member}={value}"));
    let named = Some(format!("{key}{}", version.unwrap_or_default())).filter(|named| !named.is_empty());
    named.into_iter().chain(others).collect::<Vec<_>>().join(" ")
}

async fn export(options: &AuditExport, setting: &Setting) -> Result<(), Failure> {
    // Before anything is asked for.
    let file = options.file.as_deref().map(create).transpose()?;
    let mut stream = Rest::find(setting).await?.stream(&["audit", "export"], &options.time.query()).await?;
    let mut out: Box<dyn Write> = match &file {
        Some(file) => Box::new(file),
        None => Box::new(std::io::stdout().lock()),
    };
    let mut lines = 0_usize;
    while let Some(piece) = stream.next().await? {
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
        out.write_all(&piece)?;
    }
    out.flush()?;
    drop(out);
    if let (Some(file), Some(path)) = (file, &options.file) {
        file.sync_all()?;
        let (records, name) = (lines.saturating_sub(1), path.display().to_string());
        tell(setting, &format!("{name} holds {records} records"), &json!({ "file": name, "records": records }))?;
    }
    Ok(())
}

fn create(path: &Path) -> Result<File, Failure> {
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    made.map_err(|error| Failure::Usage(format!("cannot make {}: {error}", path.display())))
}

/// The first line of an export.
#[derive(Debug, Deserialize)]
struct First {
    audit: u32,
    heads: BTreeMap<String, Head>,
    spans: BTreeMap<String, (u64, u64)>,
    part: bool,
}

/// Any other line.
#[derive(Debug, Deserialize)]
struct Line {
    node: String,
    seq: u64,
    at: i64,
    hash: Hash,
    body: String,
}

/// An export that is being read.
#[derive(Debug, Default)]
struct Reading {
    first: Option<First>,
    verifier: Verifier,
    hashes: HashMap<String, BTreeMap<u64, Hash>>,
    lines: u64,
}

impl Reading {
    fn take(&mut self, line: &str) -> Result<(), Failure> {
        self.lines += 1;
        let unreadable = |error: serde_json::Error| {
            Failure::Server(format!("line {} of the export can't be read: {error}", self.lines))
        };
        let Some(_) = &self.first else {
            self.first = Some(first(line).map_err(unreadable)?);
            return Ok(());
        };
        let Line { node, seq, at, hash, body } = serde_json::from_str(line).map_err(unreadable)?;
        // One that can't be read claims nothing; that it was changed shows by its hash.
        let claims: Option<Claims> = serde_json::from_str(&body).ok();
        self.hashes.entry(node.clone()).or_default().insert(seq, hash);
        self.verifier.take(&Record { node, seq, at: WallMillis(at), hash, body }, claims);
        Ok(())
    }

    fn end(mut self) -> Result<(Vec<Verdict>, bool), Failure> {
        let First { heads, spans, part, .. } =
            self.first.ok_or_else(|| Failure::Server("the export is empty".to_owned()))?;
        for (node, head) in heads.into_iter().filter(|(node, _)| spans.contains_key(node)) {
            self.verifier.expect(Seen { by: "the first line of the export".to_owned(), node, head });
        }
        let hashes = self.hashes;
        for (node, (after, through)) in spans {
            let last = hashes.get(&node).and_then(|hashes| hashes.keys().next_back());
            if through > after && last.is_none_or(|last| *last < through) {
                let last = last.map_or_else(|| "its beginning".to_owned(), |last| format!("record {last}"));
                return Err(broken(&node, &format!("the export ends after {last} and should go to record {through}")));
            }
        }
        let found = |node: &str, seq: u64| hashes.get(node).and_then(|hashes| hashes.get(&seq)).copied();
        Ok((self.verifier.end(found, part), part))
    }
}

fn first(line: &str) -> Result<First, serde_json::Error> {
    let first: First = serde_json::from_str(line)?;
    if first.audit == FORM { Ok(first) } else { Err(serde::de::Error::custom("another version of Callboard made it")) }
}

async fn verify(options: &AuditVerify, setting: &Setting) -> Result<(), Failure> {
    let mut reading = Reading::default();
    if let Some(since) = &options.since {
        let mut line = String::new();
        open(since)?.read_line(&mut line)?;
        let older =
            first(&line).map_err(|error| Failure::Usage(format!("{} is no export: {error}", since.display())))?;
        for (node, head) in older.heads {
            reading.verifier.expect(Seen { by: "the older export".to_owned(), node, head });
        }
    }
    match &options.file {
        Some(file) => open(file)?.lines().try_for_each(|line| reading.take(&line?))?,
        None => {
            let stream = Rest::find(setting).await?.stream(&["audit", "export"], &[]).await?;
            take_all(&mut reading, stream).await?;
        }
    }
    let (verdicts, is_part) = reading.end()?;
    if let Some((verdict, flaw)) = verdicts.iter().find_map(|verdict| Some((verdict, verdict.flaw.as_ref()?))) {
        return Err(broken(&verdict.node, &format!("{flaw}; all is right up to record {}", verdict.last)));
    }
    if is_part {
        remark("the export is a part: what was left out, and what comes before and after it, is not verified");
    }
    shown(&verdicts, setting)
}

fn shown(verdicts: &[Verdict], setting: &Setting) -> Result<(), Failure> {
    let mut table = Table::new(&["NODE", "FIRST", "LAST", "RECORDS", "VERDICT"]);
    let mut items = Vec::new();
    for Verdict { node, first, last, records, .. } in verdicts {
        table.row([node.clone(), first.to_string(), last.to_string(), records.to_string(), "whole".to_owned()]);
        items.push(json!({ "node": node, "first": first, "last": last, "records": records }));
    }
    match setting.preferences.output {
        Format::Table => print(&table.to_text()),
        Format::Json => print_json(&json!({ "items": items })),
    }
}

fn open(path: &Path) -> Result<BufReader<File>, Failure> {
    let file = File::open(path).map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
    Ok(BufReader::new(file))
}

async fn take_all(reading: &mut Reading, mut stream: Stream) -> Result<(), Failure> {
    let mut rest: Vec<u8> = Vec::new();
    while let Some(piece) = stream.next().await? {
        rest.extend(piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            reading.take(&String::from_utf8_lossy(&line))?;
        }
    }
    Ok(())
}

fn broken(node: &str, what: &str) -> Failure {
    Failure::Server(format!("the records of node {node} do not hold: {what}"))
}

#[cfg(test)]
mod tests;
