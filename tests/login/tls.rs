//! TLS by libpq and by rustls: verified both ways, bound to SCRAM, begun without being asked for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use wire::backend::ErrorFields;
use wire::frame;
use wire::startup::{ProtocolVersion, encode_ssl_request, encode_startup};

use crate::stage::{Stage, stage};

fn startup(user: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    let parameters: [(&[u8], &[u8]); 2] = [(b"user", user.as_bytes()), (b"database", b"one")];
    encode_startup(&mut packet, ProtocolVersion::V3_0, parameters);
    packet
}

#[test]
fn libpq_verifies_the_server_and_binds_the_channel() -> Result<()> {
    let stage = stage()?;
    let root = format!("sslrootcert={}", stage.file("ca.crt").display());
    for more in [
        "sslmode=require".to_owned(),
        "sslmode=require channel_binding=require".to_owned(),
        format!("sslmode=verify-ca {root}"),
        format!("sslmode=verify-full {root} channel_binding=require"),
    ] {
        let ran = stage.psql("scram", "scrampw", "one", &more, "\\conninfo")?;
        assert!(ran.out.contains("SSL connection"), "{more}: {ran:?}");
    }
    // libpq holds us to it: without TLS there is nothing to bind to.
    let ran = stage.psql(
        "scram",
        "scrampw",
        "one",
        "sslmode=disable channel_binding=require",
        "SELECT 1",
    )?;
    assert!(
        ran.out.is_empty() && ran.err.contains("channel binding"),
        "{ran:?}"
    );
    let ran = stage.psql(
        "bound",
        "boundpw",
        "one",
        "sslmode=require channel_binding=require",
        "SELECT 1",
    )?;
    assert_eq!(ran.out, "1", "{ran:?}");
    Ok(())
}

#[test]
fn certificates_of_clients() -> Result<()> {
    let stage = stage()?;
    let with = |user: &str, file: &str| {
        let (cert, key) = (
            stage.file(&format!("{file}.crt")),
            stage.file(&format!("{file}.key")),
        );
        let more = format!(
            "sslmode=require sslcert={} sslkey={}",
            cert.display(),
            key.display()
        );
        stage.psql(user, "", "one", &more, "SELECT current_user")
    };
    assert_eq!(with("certified", "client")?.out, "certified");
    let other = with("certified", "other")?;
    assert!(
        other
            .err
            .contains("FATAL:  certificate authentication failed for user \"certified\""),
        "{other:?}"
    );
    let stranger = with("certified", "stranger")?;
    assert!(
        stranger.out.is_empty() && stranger.err.contains("SSL"),
        "{stranger:?}"
    );
    let none = stage.psql(
        "certified",
        "",
        "one",
        "sslmode=require sslcert=/nowhere",
        "SELECT 1",
    )?;
    assert!(
        none.err
            .contains("FATAL:  connection requires a valid client certificate"),
        "{none:?}"
    );
    // Whom no rule asks for one may show it all the same.
    assert_eq!(with("trusted", "client")?.out, "trusted");
    Ok(())
}

/// A TLS connection that begins with its first byte.
fn direct(stage: &Stage, alpn: &[&[u8]]) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(stage.file("ca.crt"))?)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost")?;
    let connection = ClientConnection::new(Arc::new(config), name)?;
    Ok(StreamOwned::new(connection, stage.raw()?))
}

#[test]
fn tls_may_begin_with_the_first_byte() -> Result<()> {
    let stage = stage()?;
    let mut stream = direct(&stage, &[b"postgresql"])?;
    stream.write_all(&startup("trusted"))?;
    let mut answer = [0; 9];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer, *b"R\0\0\0\x08\0\0\0\0");
    // TLS inside of TLS is refused as by PostgreSQL.
    let mut twice = direct(&stage, &[b"postgresql"])?;
    let mut request = Vec::new();
    encode_ssl_request(&mut request);
    twice.write_all(&request)?;
    let mut words = Vec::new();
    // The close may come without close_notify.
    let _ = twice.read_to_end(&mut words);
    assert!(
        String::from_utf8_lossy(&words).contains("unsupported frontend protocol 1234.5679"),
        "{words:?}"
    );
    Ok(())
}

#[test]
fn direct_tls_without_the_right_alpn_is_closed() -> Result<()> {
    let stage = stage()?;
    for alpn in [&[][..], &[&b"http/1.1"[..]]] {
        let mut stream = direct(&stage, alpn)?;
        // Either of the two may be the first to notice.
        let sent = stream.write_all(&startup("trusted"));
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        ensure!(answer.is_empty(), "{alpn:?}: {sent:?} {read:?} {answer:?}");
    }
    Ok(())
}

#[test]
fn bytes_from_before_the_handshake_are_not_taken_for_later_ones() -> Result<()> {
    let stage = stage()?;
    let mut request = Vec::new();
    encode_ssl_request(&mut request);
    for (what, mut packet) in [
        ("SSL", request),
        ("GSSAPI encryption", vec![0, 0, 0, 8, 4, 210, 22, 48]),
    ] {
        packet.extend_from_slice(&startup("trusted"));
        let mut stream = stage.raw()?;
        stream.write_all(&packet)?;
        let mut words = Vec::new();
        stream.read_to_end(&mut words).context("not closed")?;
        let fields = ErrorFields::decode(frame::body(&words))?;
        assert_eq!(fields.get(b'C'), Some(&b"08P01"[..]));
        let message = format!("received unencrypted data after {what} request");
        assert_eq!(fields.message(), message.as_bytes());
    }
    Ok(())
}
