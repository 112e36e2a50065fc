//! What has to be read in a certificate: which hash ties SCRAM to it, and to whom it is made out.

use aws_lc_rs::digest::{self, Algorithm, SHA256, SHA384, SHA512};

/// Tags of DER (X.690).
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;

/// `id-at-commonName` (2.5.4.3), as DER has it.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 1.2.840.113549.1.1: the signatures of PKCS #1.
const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4.3: ECDSA with SHA-2.
const ECDSA_SHA2: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
/// 1.2.840.10045.4.1: ECDSA with SHA-1.
const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];

/// The hash of a certificate (DER) that `tls-server-end-point` binds to (RFC 5929): by the hash of its signature, but never MD5 or
/// SHA-1. `None` where the signature has no hash of its own (Ed25519) or an unknown one.
pub fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_hash(certificate)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// The common name of the subject, the last one if there are several, as PostgreSQL reads it. `None`: none, or not text.
pub fn common_name(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (body, _) = element(certificate, SEQUENCE)?;
    let body = element(body, VERSION).map_or(body, |(_, rest)| rest);
    let (_, body) = element(body, INTEGER)?;
    // The algorithm, the issuer, the validity.
    let (_, body) = element(body, SEQUENCE)?;
    let (_, body) = element(body, SEQUENCE)?;
    let (_, body) = element(body, SEQUENCE)?;
    let (mut subject, _) = element(body, SEQUENCE)?;
    let mut name = None;
    while let Some((mut set, rest)) = element(subject, SET) {
        subject = rest;
        while let Some((pair, others)) = element(set, SEQUENCE) {
            set = others;
            let (kind, value) = element(pair, OBJECT_IDENTIFIER)?;
            if kind == COMMON_NAME {
                let (_, text, _) = any_element(value)?;
                name = Some(
                    std::str::from_utf8(text)
                        .ok()
                        .filter(|text| !text.contains('\0'))?,
                );
            }
        }
    }
    name.map(str::to_owned)
}

fn signature_hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (_, rest) = element(certificate, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (id, _) = element(algorithm, OBJECT_IDENTIFIER)?;
    let (&last, family) = id.split_last()?;
    match (family, last) {
        // MD5 and SHA-1 are replaced by SHA-256.
        (PKCS1, 4 | 5 | 11) | (ECDSA_SHA2, 2) => Some(&SHA256),
        (PKCS1, 12) | (ECDSA_SHA2, 3) => Some(&SHA384),
        (PKCS1, 13) | (ECDSA_SHA2, 4) => Some(&SHA512),
        _ if id == ECDSA_SHA1 => Some(&SHA256),
        _ => None,
    }
}

/// The content of the first element if it has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any_element(der)?;
    (found == tag).then_some((content, rest))
}

/// Tag and content of the first element, and what follows it. Lengths of up to four bytes: certificates are no longer.
fn any_element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let len = bytes
                .iter()
                .fold(0_usize, |len, byte| len << 8 | usize::from(*byte));
            (len, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::{common_name, end_point_hash};
    use aws_lc_rs::digest::{SHA256, SHA384, digest};
    use proptest::prelude::*;
    use rcgen::{
        CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    };

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm, names: &[&str]) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(vec!["host".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Shop");
        for name in names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let der = certificate(&PKCS_ECDSA_P256_SHA256, &["a"]);
        assert_eq!(end_point_hash(&der).unwrap(), digest(&SHA256, &der).as_ref());
        let der = certificate(&PKCS_ECDSA_P384_SHA384, &["a"]);
        assert_eq!(end_point_hash(&der).unwrap(), digest(&SHA384, &der).as_ref());
        assert_eq!(end_point_hash(&certificate(&PKCS_ED25519, &["a"])), None);
    }

    #[test]
    fn the_common_name_is_the_subjects() {
        let name = |names: &[&str]| common_name(&certificate(&PKCS_ECDSA_P256_SHA256, names));
        assert_eq!(name(&["shöp"]).as_deref(), Some("shöp"));
        assert_eq!(name(&[]), None);
    }

    proptest! {
        #[test]
        fn what_is_no_certificate_has_neither(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..300) {
            let _ = (end_point_hash(&bytes), common_name(&bytes));
            let der = certificate(&PKCS_ECDSA_P256_SHA256, &["a"]);
            let _ = (end_point_hash(&der[..cut.min(der.len())]), common_name(&der[..cut.min(der.len())]));
        }
    }
}
