//! Lets librdkafka and libpg_query be linked into one program.
//!
//! Both bring their own copy of xxHash under the same names. librdkafka calls `XXH32` and its stream (for LZ4 frames), libpg_query
//! `XXH3_64bits` and its stream, which only its own, newer copy has. The functions that both copies define have
//! had the same results and the same layout of their state since xxHash 0.6, so either definition serves both.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg=-Wl,--allow-multiple-definition");
}
