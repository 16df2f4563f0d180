//! Follows a configuration, through whatever happens to the nodes: prints each version as it comes.
//!
//! `cargo run -p callboard-client --example follow -- 10.0.0.1:8850,10.0.0.2:8850 shop prices.yaml`

use callboard_client::{Client, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [nodes, group, data_id] = &*arguments else { return Err("usage: follow NODE[,NODE…] GROUP DATA_ID".into()) };
    let client = Client::connect(Options::new(nodes.split(',')))?;
    let mut watch = client.watch(client.key(group, data_id));
    while let Some(change) = watch.next().await {
        let node = client.node().map_or_else(|| "no node".to_owned(), |node| node.address);
        match &change.config.content {
            Some(content) => println!("{} from {node}: {content}", change.config.version),
            None => println!("{} from {node}: does not exist", change.config.version),
        }
    }
    Err(watch.error().map_or_else(|| "the watch ended".into(), Into::into))
}
