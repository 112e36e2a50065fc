//! The Authentication messages.

use crate::error::{Malformed, WireError};
use crate::read::Reader;
use crate::tag::BackendTag;
use crate::write::{Buffer, frame, put_cstr};

const OK: u32 = 0;
const CLEARTEXT: u32 = 3;
const MD5: u32 = 5;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// What a server asks of a client before it lets it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// The client is in.
    Ok,
    /// The password in clear.
    Cleartext,
    /// The password as an md5 digest with this salt.
    Md5 {
        /// The salt.
        salt: [u8; 4],
    },
    /// One of these SASL mechanisms.
    Sasl(Mechanisms<'a>),
    /// Data of the SASL mechanism.
    SaslContinue(&'a [u8]),
    /// The last data of the SASL mechanism.
    SaslFinal(&'a [u8]),
    /// A method that Ringway doesn't speak (Kerberos, GSSAPI, SSPI), by its code.
    Other(u32),
}

impl<'a> Authentication<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body of another layout.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("Authentication", body);
        match reader.u32()? {
            OK => reader.end().map(|()| Authentication::Ok),
            CLEARTEXT => reader.end().map(|()| Authentication::Cleartext),
            MD5 => {
                let salt = *reader
                    .bytes(4)?
                    .first_chunk::<4>()
                    .ok_or(reader.fault(Malformed::Short))?;
                reader.end().map(|()| Authentication::Md5 { salt })
            }
            SASL => Mechanisms::read(reader).map(Authentication::Sasl),
            SASL_CONTINUE => Ok(Authentication::SaslContinue(reader.rest())),
            SASL_FINAL => Ok(Authentication::SaslFinal(reader.rest())),
            other => Ok(Authentication::Other(other)),
        }
    }
}

/// The SASL mechanisms that a server offers, the preferred one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mechanisms<'a> {
    raw: &'a [u8],
}

impl<'a> Mechanisms<'a> {
    fn read(mut reader: Reader<'a>) -> Result<Self, WireError> {
        let raw = reader.rest();
        while !reader.cstr()?.is_empty() {}
        reader.end()?;
        Ok(Mechanisms { raw })
    }

    /// Their names.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + 'a {
        let mut reader = Reader::new("AuthenticationSASL", self.raw);
        std::iter::from_fn(move || reader.cstr().ok().filter(|name| !name.is_empty()))
    }
}

fn encode(buf: &mut impl Buffer, code: u32, data: &[u8]) {
    frame(buf, BackendTag::Authentication.byte(), |buf| {
        buf.put_u32(code);
        buf.put_slice(data);
    });
}

/// Appends AuthenticationOk.
pub fn encode_authentication_ok(buf: &mut impl Buffer) {
    encode(buf, OK, &[]);
}

/// Appends AuthenticationCleartextPassword.
pub fn encode_authentication_cleartext(buf: &mut impl Buffer) {
    encode(buf, CLEARTEXT, &[]);
}

/// Appends AuthenticationMD5Password.
pub fn encode_authentication_md5(buf: &mut impl Buffer, salt: [u8; 4]) {
    encode(buf, MD5, &salt);
}

/// Appends AuthenticationSASL with the mechanisms that are offered.
pub fn encode_authentication_sasl(buf: &mut impl Buffer, mechanisms: &[&str]) {
    frame(buf, BackendTag::Authentication.byte(), |buf| {
        buf.put_u32(SASL);
        for mechanism in mechanisms {
            put_cstr(buf, mechanism.as_bytes());
        }
        buf.put_u8(0);
    });
}

/// Appends AuthenticationSASLContinue.
pub fn encode_authentication_sasl_continue(buf: &mut impl Buffer, data: &[u8]) {
    encode(buf, SASL_CONTINUE, data);
}

/// Appends AuthenticationSASLFinal.
pub fn encode_authentication_sasl_final(buf: &mut impl Buffer, data: &[u8]) {
    encode(buf, SASL_FINAL, data);
}
