//! What is a secret is nowhere in the database as it is, and everywhere in what the store gives.

use std::sync::Arc;

use callboard_protocol::config::{MetadataEdit, Version};
use callboard_protocol::content::Md5;
use callboard_protocol::write_request::{Refusal, WriteOutcome, WriteRequest};
use sea_orm::{ConnectionTrait as _, Statement};

use super::on_every_database;
use super::testbed::{NOON, Testbed, content, done, key, options, put, put_edited, request, unit, unit_as, written};
use crate::store::{ListFilter, ReadPool, SEAL, Seals, Writer, open};

on_every_database!(
    a_secret_is_sealed_wherever_it_is_kept,
    a_secret_is_given_by_every_read,
    what_is_sealed_can_be_compared_and_repeated,
    without_the_key_a_secret_is_neither_written_nor_read,
);

const SECRET: &str = "correct horse battery staple";

/// Turns every bit, behind a mark of the purpose: enough to tell what was sealed from what was not, and for what.
#[derive(Debug)]
struct Turned;

impl Seals for Turned {
    fn can_seal(&self) -> bool {
        true
    }

    fn seal(&self, purpose: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = vec![0; SEAL - 16];
        sealed.extend_from_slice(&Md5::of(purpose).0);
        sealed.extend(plain.iter().map(|byte| !byte));
        Some(sealed)
    }

    fn open(&self, purpose: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (mark, sealed) = sealed.split_at_checked(SEAL)?;
        (mark[SEAL - 16..] == Md5::of(purpose).0).then(|| sealed.iter().map(|byte| !byte).collect())
    }
}

struct Sealing {
    writer: Writer,
    reader: ReadPool,
}

impl Sealing {
    /// The same database by a store that can seal.
    async fn of(testbed: &Testbed) -> Self {
        let (writer, reader) =
            open(crate::store::OpenOptions { seals: Arc::new(Turned), ..options(&testbed.url) }).await.unwrap();
        Self { writer, reader }
    }

    async fn publish(&self, units: Vec<Arc<WriteRequest>>) -> Vec<WriteOutcome> {
        written(self.writer.commit(request(units)).await.unwrap()).outcomes
    }

    async fn close(self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

fn secret(data_id: &str, text: &str) -> callboard_protocol::write_request::KeyWrite {
    put_edited(&key(data_id), text, MetadataEdit { is_secret: Some(true), ..MetadataEdit::default() })
}

/// Whether any row of any table holds these bytes, as they are or as digits.
async fn holds(testbed: &Testbed, bytes: &[u8]) -> bool {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let backend = testbed.writer.backend().sea();
    let mut all = String::new();
    for question in [
        "SELECT content, md5, description, sealed FROM cc_config",
        "SELECT content, md5, description, sealed FROM cc_change",
        "SELECT result FROM cc_request",
    ] {
        let rows = testbed.writer.connection().query_all_raw(Statement::from_string(backend, question)).await.unwrap();
        for row in rows {
            for column in row.column_names() {
                let bytes = match row.try_get::<Option<Vec<u8>>>("", &column) {
                    Ok(bytes) => bytes.unwrap_or_default(),
                    Err(_text) => row.try_get::<Option<String>>("", &column).unwrap().unwrap_or_default().into_bytes(),
                };
                let text = String::from_utf8_lossy(&bytes);
                all.extend(bytes.iter().map(|byte| format!("{byte:02x}")).chain([" ".to_owned(), text.into_owned()]));
                all.push(' ');
            }
        }
    }
    all.contains(&digits)
}

async fn a_secret_is_sealed_wherever_it_is_kept(testbed: Arc<Testbed>) {
    let sealing = Sealing::of(&testbed).await;
    let open = put(&key("open"), "anybody may know this");
    sealing.publish(vec![unit(vec![secret("a", "first secret")]), unit(vec![open])]).await;
    sealing.publish(vec![unit(vec![put(&key("a"), SECRET)])]).await;
    for kept in [SECRET.as_bytes(), b"first secret", &Md5::of(SECRET.as_bytes()).0, &Md5::of(b"first secret").0] {
        assert!(!holds(&testbed, kept).await, "{}", kept.escape_ascii());
    }
    assert!(holds(&testbed, b"anybody may know this").await);
    assert!(holds(&testbed, &Md5::of(b"anybody may know this").0).await);
    sealing.close().await;
}

async fn a_secret_is_given_by_every_read(testbed: Arc<Testbed>) {
    let sealing = Sealing::of(&testbed).await;
    sealing.publish(vec![unit(vec![secret("a", "old")])]).await;
    sealing.publish(vec![unit(vec![put(&key("a"), SECRET)])]).await;
    let (reader, a, size) = (&sealing.reader, key("a"), SECRET.len() as u64);
    let state = Arc::clone(&reader.fill(std::slice::from_ref(&a)).await.unwrap().states[0]);
    assert_eq!((&state.formal, state.metadata.is_secret), (&Some(content(SECRET)), true));
    let digest = Some(Md5::of(SECRET.as_bytes()));
    assert_eq!(reader.versions(std::slice::from_ref(&a)).await.unwrap(), [(a.clone(), Version(2), digest)]);
    let changes = reader.feed(Version(0), None, 10).await.unwrap().changes;
    let texts: Vec<_> = changes.iter().map(|change| change.state.formal.clone().unwrap()).collect();
    assert_eq!(texts, [content("old"), content(SECRET)]);
    let history = reader.history(&a, None, 10).await.unwrap();
    let shown: Vec<_> = history.iter().map(|entry| (entry.md5, entry.size, entry.metadata.is_secret)).collect();
    assert_eq!(shown, [(digest, size, true), (Some(Md5::of(b"old")), 3, true)]);
    let entry = reader.history_entry(&a, Version(1)).await.unwrap().unwrap();
    assert_eq!(entry.content, Some(content("old")));
    let filter = ListFilter { namespace: "public".to_owned(), ..ListFilter::default() };
    let listed = reader.list(&filter, None, 10).await.unwrap().remove(0);
    assert_eq!((listed.md5, listed.size, listed.is_secret), (None, size, true));
    sealing.close().await;
}

async fn what_is_sealed_can_be_compared_and_repeated(testbed: Arc<Testbed>) {
    let sealing = Sealing::of(&testbed).await;
    let asked = unit_as("once", vec![secret("a", SECRET)]);
    let first = sealing.publish(vec![Arc::clone(&asked)]).await;
    let again = sealing.publish(vec![asked]).await;
    assert_eq!(done(&first[0]), done(&again[0]));
    assert!(matches!(&again[0], WriteOutcome::Done { replayed: true, .. }));
    let same = sealing.publish(vec![unit(vec![put(&key("a"), SECRET)])]).await;
    assert_eq!(done(&same[0])[0].version, Version(1), "the same content is no change");
    sealing
        .publish(vec![unit(vec![put_edited(
            &key("a"),
            SECRET,
            MetadataEdit { is_secret: Some(false), ..MetadataEdit::default() },
        )])])
        .await;
    assert!(holds(&testbed, SECRET.as_bytes()).await, "it is no secret any longer");
    sealing.close().await;
}

async fn without_the_key_a_secret_is_neither_written_nor_read(testbed: Arc<Testbed>) {
    let refused = testbed.writer.commit(request(vec![unit(vec![secret("a", SECRET)])])).await.unwrap();
    let no_key = WriteOutcome::Refused(Refusal::NoKey { key: key("a") });
    assert_eq!(written(refused).outcomes, [no_key]);
    let sealing = Sealing::of(&testbed).await;
    sealing.publish(vec![unit(vec![secret("a", SECRET), put(&key("b"), "open")])]).await;
    sealing.close().await;
    let failed = testbed.reader.fill(&[key("a")]).await.unwrap_err();
    assert!(failed.to_string().contains("secrets.key_file"), "{failed}");
    assert_eq!(testbed.state(&key("b")).await.formal, Some(content("open")));
    let filter = ListFilter { namespace: "public".to_owned(), ..ListFilter::default() };
    assert_eq!(testbed.reader.list(&filter, None, 9).await.unwrap().len(), 2, "a list needs no key");
    assert_eq!(testbed.state(&key("b")).await.modified_at, NOON);
}
