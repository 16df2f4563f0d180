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
