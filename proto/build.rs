//! Compiles the `.proto` files, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["callboard/session/v1/session.proto"];
    println!("cargo:rerun-if-changed=callboard");
    let descriptors = protox::compile(files, ["."])?;
    prost_build::Config::new()
        .type_attribute(".callboard.session", "#[derive(serde::Serialize, serde::Deserialize)]")
        .type_attribute(".callboard.session", "#[serde(rename_all = \"camelCase\")]")
        .message_attribute(".callboard.session", "#[serde(default)]")
        .field_attribute("Envelope.kind", "#[serde(flatten)]")
        .field_attribute(".callboard.session.v1.Push.content", "#[serde(skip_serializing_if = \"Option::is_none\")]")
        .btree_map(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
