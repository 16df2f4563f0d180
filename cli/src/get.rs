//! `callboard get`.

use serde_json::json;

use super::arguments::{Format, GetOptions};
use super::failure::Failure;
use super::output::{document, print, print_json};
use super::{Setting, session};

/// Prints the content of a configuration.
pub(super) async fn run(options: &GetOptions, setting: &Setting) -> Result<(), Failure> {
    let key = setting.key(&options.named);
    let (client, _) = session::connect(setting).await?;
    let config = client.get(&key).await.map_err(|error| Failure::of_read(error, &setting.preferences.nodes))?;
    session::close(client).await;
    let Some(content) = config.content.as_deref() else {
        return Err(Failure::NotFound(format!("{key} does not exist")));
    };
    match setting.preferences.output {
        Format::Table => print(content),
        Format::Json => {
            let more = json!({
                "version": config.version,
                "md5": config.md5,
                "type": config.kind,
                "content": content,
            });
            print_json(&document(&key, more))
        }
    }
}
