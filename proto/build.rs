//! Compiles the `.proto` files, without protoc.

/// Every list and map, and the constant of `lib.rs` that says how long it may be. In a frame it is held by
/// `frame::most_fields`.
const BOUNDED: [(&str, &str, &str); 10] = [
    ("Hello.labels", "table", "MAX_LABELS"),
    ("Hello.held", "list", "MAX_HELD_AT_HELLO"),
    ("Hold.held", "list", "MAX_KEYS"),
    ("Watch.keys", "list", "MAX_KEYS"),
    ("Watch.prefixes", "list", "MAX_KEYS"),
    ("Unwatch.keys", "list", "MAX_KEYS"),
    ("Unwatch.prefixes", "list", "MAX_KEYS"),
    ("Page.items", "list", "MAX_ITEMS"),
    ("Welcome.nodes", "list", "MAX_NODES"),
    ("GoAway.nodes", "list", "MAX_NODES"),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["callboard/session/v1/session.proto"];
    println!("cargo:rerun-if-changed=callboard");
    let descriptors = protox::compile(files, ["."])?;
    let mut config = prost_build::Config::new();
    for (field, list, most) in BOUNDED {
        let read = format!("#[serde(deserialize_with = \"crate::bounded::{list}::<_, _, {{ crate::{most} }}>\")]");
        config.field_attribute(format!(".callboard.session.v1.{field}"), read);
    }
    config
        .type_attribute(".callboard.session", "#[derive(serde::Serialize, serde::Deserialize)]")
        .type_attribute(".callboard.session", "#[serde(rename_all = \"camelCase\")]")
        .message_attribute(".callboard.session", "#[serde(default)]")
        .field_attribute("Envelope.kind", "#[serde(flatten)]")
        .field_attribute(".callboard.session.v1.Push.content", "#[serde(skip_serializing_if = \"Option::is_none\")]")
        .btree_map(["."])
        .compile_fds(descriptors)?;
    #[cfg(feature = "nacos")]
    compile_nacos()?;
    Ok(())
}

/// The service of Nacos's clients.
#[cfg(feature = "nacos")]
fn compile_nacos() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=nacos");
    let descriptors = protox::compile(["nacos/nacos_grpc_service.proto"], ["nacos"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .codec_path("crate::nacos_codec::SmallCodec")
        .compile_fds(descriptors)?;
    Ok(())
}
