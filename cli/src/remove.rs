//! `callboard rm`.

use callboard_client::{Condition, Delete};

use super::arguments::RemoveOptions;
use super::failure::Failure;
use super::put::{request_id, show};
use super::{Setting, session};

/// Removes a configuration.
pub(super) async fn run(options: RemoveOptions, setting: &Setting) -> Result<(), Failure> {
    let RemoveOptions { named, if_version, record, .. } = options;
    let key = setting.key(&named);
    let request_id = request_id(&record);
    let mut delete = Delete::new(&key).idempotency_key(&request_id);
    if let Some(version) = if_version {
        delete = delete.condition(Condition::IfVersion(version));
    }
    if let Some(note) = record.note {
        delete = delete.note(note);
    }
    let (client, _) = session::connect(setting).await?;
    let removed = client.delete(delete).await;
    session::close(client).await;
    let nodes = &setting.preferences.nodes;
    let removed = removed.map_err(|error| Failure::of_change(error, &key, &request_id, nodes))?;
    show(&removed, setting.preferences.output)
}
