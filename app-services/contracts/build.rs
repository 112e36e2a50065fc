//! Compiles the gRPC services, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILES: [&str; 8] = [
        "common.proto",
        "fraud.proto",
        "inventory.proto",
        "notification.proto",
        "payment.proto",
        "product.proto",
        "shipping.proto",
        "user.proto",
    ];
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
